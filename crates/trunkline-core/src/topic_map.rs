//! Which names a topic goes to: an ordered list of patterns, each with a [`Template`].
//!
//! The rules are those of ACA-Py's `event_topic_maps`. A pattern matches from the beginning of the topic and need not reach its
//! end, as Python's `re.match`. Every pattern that matches counts, not only the first. Two that lead to the same name give it
//! once; there ACA-Py, which subscribes with each pattern, would deliver twice.

use regex::Regex;

use crate::Template;

/// Patterns over topics, in order, with the template of the name that each leads to.
#[derive(Clone, Debug, Default)]
pub struct TopicMap {
    rows: Vec<(Regex, Template)>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no regular expression that can be used: {}", reason.trim_end())]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl TopicMap {
    /// Adds a pattern behind the others.
    ///
    /// The syntax is that of Python's `re` as far as a search in linear time can go: look-around and backreferences are errors.
    pub fn push(&mut self, pattern: &str, template: Template) -> Result<(), PatternError> {
        let regex = Regex::new(pattern)
            .map_err(|error| PatternError { pattern: pattern.to_owned(), reason: last_line(&error.to_string()) })?;
        self.rows.push((regex, template));
        Ok(())
    }

    /// The templates, in order.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        self.rows.iter().map(|(_, template)| template)
    }

    /// The templates of all patterns that match `topic`, in order.
    pub fn matching(&self, topic: &str) -> Vec<&Template> {
        self.rows.iter().filter(|(regex, _)| matches_from_the_beginning(regex, topic)).map(|(_, template)| template).collect()
    }

    /// The names that [`matching`](Self::matching) templates lead to, in order, each once; `render` fills in a template.
    pub fn names<'t, N: PartialEq>(
        templates: impl IntoIterator<Item = &'t Template>,
        mut render: impl FnMut(&'t Template) -> N,
    ) -> Vec<N> {
        let mut names = Vec::new();
        for template in templates {
            let name = render(template);
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// If any match begins at the beginning, the leftmost one does. Putting `^(?:…)` around the pattern instead would go wrong with
/// a comment at its end.
fn matches_from_the_beginning(regex: &Regex, topic: &str) -> bool {
    regex.find(topic).is_some_and(|found| found.start() == 0)
}

/// The sentence below the picture that points at the place.
fn last_line(text: &str) -> String {
    text.trim_end().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["wallet_id", "state", "topic", "category", "payload"];

    /// What ACA-Py's plugin has when nothing is configured.
    const ACAPY: [(&str, &str); 15] = [
        ("^acapy::webhook::(.*)$", "acapy-webhook-$wallet_id"),
        ("^acapy::record::([^:]*)::([^:]*)$", "acapy-record-with-state-$wallet_id"),
        ("^acapy::record::([^:])?", "acapy-record-$wallet_id"),
        ("acapy::basicmessage::received", "acapy-basicmessage-received"),
        ("acapy::problem_report", "acapy-problem_report"),
        ("acapy::ping::received", "acapy-ping-received"),
        ("acapy::ping::response_received", "acapy-ping-response_received"),
        ("acapy::actionmenu::received", "acapy-actionmenu-received"),
        ("acapy::actionmenu::get-active-menu", "acapy-actionmenu-get-active-menu"),
        ("acapy::actionmenu::perform-menu-action", "acapy-actionmenu-perform-menu-action"),
        ("acapy::keylist::updated", "acapy-keylist-updated"),
        ("acapy::revocation-notification::received", "acapy-revocation-notification-received"),
        ("acapy::revocation-notification-v2::received", "acapy-revocation-notification-v2-received"),
        ("acapy::forward::received", "acapy-forward-received"),
        ("acapy::outbound-message::queued_for_delivery", "acapy-outbound-message-queued-for-delivery"),
    ];

    fn map<'r>(rows: impl IntoIterator<Item = (&'r str, &'r str)>) -> TopicMap {
        let mut map = TopicMap::default();
        for (pattern, template) in rows {
            map.push(pattern, Template::parse(template, &NAMES).unwrap()).unwrap();
        }
        map
    }

    fn names(map: &TopicMap, topic: &str) -> Vec<String> {
        let state = topic.rsplit("::").next().unwrap_or_default();
        TopicMap::names(map.matching(topic), |template| {
            template.render(|name| match name {
                "wallet_id" => "base".into(),
                "state" => state.into(),
                _ => "?".into(),
            })
        })
    }

    #[test]
    fn the_map_of_acapy_leads_where_it_does_there() {
        let map = map(ACAPY);
        for (topic, expected) in [
            ("acapy::webhook::connections", &["acapy-webhook-base"][..]),
            ("acapy::record::connections::active", &["acapy-record-with-state-base", "acapy-record-base"]),
            ("acapy::record::connections", &["acapy-record-base"]),
            ("acapy::record::", &["acapy-record-base"]),
            ("acapy::record::a::b::c", &["acapy-record-base"]),
            ("acapy::basicmessage::received", &["acapy-basicmessage-received"]),
            ("acapy::basicmessage::received::twice", &["acapy-basicmessage-received"]),
            ("acapy::ping::response_received", &["acapy-ping-response_received"]),
            ("acapy::actionmenu::get-active-menu", &["acapy-actionmenu-get-active-menu"]),
            ("acapy::revocation-notification-v2::received", &["acapy-revocation-notification-v2-received"]),
            ("acapy::outbound-message::queued_for_delivery", &["acapy-outbound-message-queued-for-delivery"]),
            ("not-acapy::basicmessage::received", &[]),
            ("acapy::unknown", &[]),
            ("", &[]),
        ] {
            assert_eq!(names(&map, topic), expected, "{topic}");
        }
    }

    #[test]
    fn every_pattern_that_matches_counts_in_order_and_a_name_once() {
        let map = map([("user", "a"), ("u.*", "b"), ("us(?x) # as Python has it", "c"), (".*r", "a"), ("ser", "d")]);
        assert_eq!(names(&map, "user"), ["a", "b", "c"]);
    }

    #[test]
    fn values_are_put_into_the_name() {
        assert_eq!(names(&map([("^acapy::record", "rec-$state-${wallet_id}")]), "acapy::record::x::done"), ["rec-done-base"]);
    }

    #[test]
    fn a_pattern_that_cannot_be_used_is_refused_with_its_reason() {
        let refused =
            |pattern: &str| TopicMap::default().push(pattern, Template::parse("a", &[]).unwrap()).unwrap_err().to_string();
        assert_eq!(refused("a("), "`a(` is no regular expression that can be used: unclosed group");
        assert!(refused("(?!user)").contains("look-around"), "{}", refused("(?!user)"));
        assert!(refused(r"(a)\1").contains("backreferences"), "{}", refused(r"(a)\1"));
    }
}
