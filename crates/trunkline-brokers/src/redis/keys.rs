//! Which key an event goes to, and which part of a key decides about the slot of a cluster.

use std::borrow::Cow;
use std::collections::HashMap;

use compact_str::CompactString;
use trunkline_core::{Event, Template, TopicMap};

/// The keys of events.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Over the types of events.
    pub(super) topics: TopicMap,
    /// For events whose type no topic matches.
    pub(super) otherwise: Template,
}

/// Finds the keys of one event after the other; the patterns are tried once for each type.
pub(super) struct Finder<'k> {
    keys: &'k Keys,
    by_type: HashMap<CompactString, Vec<&'k Template>>,
}

impl<'k> Finder<'k> {
    /// Gives each key of an event to `add`, at least one, each once.
    pub(super) fn each(&mut self, event: &Event, add: impl FnMut(Cow<'k, str>)) {
        let Self { keys, by_type } = self;
        let templates = by_type.entry(event.event_type.clone()).or_insert_with(|| {
            let found = keys.topics.matching(&event.event_type);
            if found.is_empty() { vec![&keys.otherwise] } else { found }
        });
        let render = |template: &'k Template| match template.constant() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(template.render_event(event)),
        };
        TopicMap::names(templates.iter().copied(), render).into_iter().for_each(add);
    }
}

impl Keys {
    pub(super) fn finder(&self) -> Finder<'_> {
        Finder { keys: self, by_type: HashMap::new() }
    }

    /// The keys that are known without an event.
    pub(super) fn constants(&self) -> Vec<&str> {
        let mut keys: Vec<&str> =
            self.topics.templates().chain([&self.otherwise]).filter_map(|template| template.constant()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }
}

/// The part of a key that decides about its slot: what stands in the first braces, or all of it.
pub(super) fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The hash tag of all keys that a template can make, when it is always the same and can be put into braces.
pub(super) fn fixed_tag(template: &str) -> Option<&str> {
    let tag = match template.split_once('$') {
        None => hash_tag(template),
        // What comes before decides only when the braces are closed there.
        Some((before, _)) => Some(hash_tag(before)).filter(|tag| tag.len() < before.len())?,
    };
    (!tag.is_empty() && !tag.contains('}')).then_some(tag)
}

/// A key in the slot of `key` that no other key leads to. `None` when there is no way to write it.
pub(super) fn beside(key: &str, name: &str) -> Option<String> {
    let tag = hash_tag(key);
    if tag.len() < key.len() { Some(format!("{key}:{name}")) } else { (!tag.contains('}')).then(|| format!("{{{key}}}:{name}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_tags_are_those_of_redis() {
        for (key, tag) in [
            ("a", "a"),
            ("{a}b", "a"),
            ("b{a}", "a"),
            ("{}a", "{}a"),
            ("{a", "{a"),
            ("a}", "a}"),
            ("x{{a}}", "{a"),
            ("{a}{b}", "a"),
        ] {
            assert_eq!(hash_tag(key), tag, "{key}");
        }
    }

    #[test]
    fn a_tag_is_fixed_when_no_placeholder_can_change_it() {
        for (template, tag) in [
            ("events", Some("events")),
            ("{rasa}.events", Some("rasa")),
            ("{rasa}.$event", Some("rasa")),
            ("rasa.$event", None),
            ("{$event}", None),
            ("$event.{rasa}", None),
            ("{rasa$$}", None),
            ("a}b", None),
        ] {
            assert_eq!(fixed_tag(template), tag, "{template}");
        }
    }

    #[test]
    fn a_key_beside_another_has_its_slot() {
        for (key, expected) in [("a", Some("{a}:p")), ("{t}a", Some("{t}a:p")), ("a{", Some("{a{}:p")), ("a}", None)] {
            let beside = beside(key, "p");
            assert_eq!(beside.as_deref(), expected);
            assert!(beside.is_none_or(|beside| hash_tag(&beside) == hash_tag(key)));
        }
    }
}
