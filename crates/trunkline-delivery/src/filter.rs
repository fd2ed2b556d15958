//! Which events a subscription wants.

use glob::Pattern;
use trunkline_core::Event;

/// Which events a subscription wants: those for its sort of receiver, and of these all that no list excludes.
#[derive(Clone, Debug)]
pub struct Filter {
    concerns: fn(&Event) -> bool,
    types: Vec<String>,
    excluded_types: Vec<String>,
    conversations: Vec<Pattern>,
    channels: Vec<String>,
}

/// A pattern that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is no pattern: {reason}")]
pub struct FilterError {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Filter {
    /// All tracker events: what brokers publish.
    pub fn published() -> Self {
        Self::all_that(|event| event.kind.is_published())
    }

    /// All messages that wait for an answer.
    pub fn wanting_answers() -> Self {
        Self::all_that(|event| event.kind.wants_answer())
    }

    /// What is said in answer to messages of a channel.
    pub fn answers_through(channel: &str) -> Self {
        let answers = Self::all_that(|event| event.kind.is_published() && event.event_type == "bot" && event.answers.is_some());
        answers.with_channels(vec![channel.to_owned()])
    }

    fn all_that(concerns: fn(&Event) -> bool) -> Self {
        Self { concerns, types: Vec::new(), excluded_types: Vec::new(), conversations: Vec::new(), channels: Vec::new() }
    }

    /// Only events of these types; an empty list means all.
    #[must_use]
    pub fn with_types(self, types: Vec<String>) -> Self {
        Self { types, ..self }
    }

    /// No events of these types.
    #[must_use]
    pub fn without_types(self, excluded_types: Vec<String>) -> Self {
        Self { excluded_types, ..self }
    }

    /// Only conversations that match one of these patterns (`*` any characters, `?` one, `[a-z]` one of a set, `[!a-z]` one that is
    /// not in it); an empty list means all.
    pub fn with_conversations(self, patterns: &[String]) -> Result<Self, FilterError> {
        let pattern = |text: &String| {
            Pattern::new(text).map_err(|error| FilterError {
                pattern: text.clone(),
                reason: format!("{} at character {}", error.msg, error.pos + 1),
            })
        };
        Ok(Self { conversations: patterns.iter().map(pattern).collect::<Result<_, _>>()?, ..self })
    }

    /// Only events whose conversation went through one of these channels when they were appended; an empty list means all.
    #[must_use]
    pub fn with_channels(self, channels: Vec<String>) -> Self {
        Self { channels, ..self }
    }

    /// Whether it wants `event`.
    pub fn accepts(&self, event: &Event) -> bool {
        let is_in = |list: &[String], word: &str| list.iter().any(|entry| entry == word);
        (self.concerns)(event)
            && (self.types.is_empty() || is_in(&self.types, &event.event_type))
            && !is_in(&self.excluded_types, &event.event_type)
            && (self.conversations.is_empty() || self.conversations.iter().any(|pattern| pattern.matches(&event.conversation)))
            && (self.channels.is_empty() || event.channel.as_ref().is_some_and(|channel| is_in(&self.channels, channel)))
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Offset, Timestamp};

    use super::*;

    fn event(conversation: &str, event_type: &str, channel: Option<&str>, kind: Kind) -> Event {
        let event = NewEvent::new(kind, conversation, event_type, "{}").with_channel(channel);
        event.recorded(JournalId::random(), Timestamp(1), 1)
    }

    #[test]
    fn every_list_narrows() {
        let user = event("shop/ann", "user", Some("rest"), Kind::Message);
        let accepts = |filter: Filter| filter.accepts(&user);
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert!(accepts(Filter::published()) && accepts(Filter::wanting_answers()));
        assert!(!Filter::published().accepts(&event("a", "user", None, Kind::Prompt)));
        assert!(!Filter::published().accepts(&event("a", "user", None, Kind::Replacement)));
        assert!(!Filter::wanting_answers().accepts(&event("a", "user", None, Kind::Event)));
        assert!(accepts(Filter::published().with_types(words(&["bot", "user"]))));
        assert!(!accepts(Filter::published().with_types(words(&["bot"]))));
        assert!(!accepts(Filter::published().without_types(words(&["user"]))));
        assert!(accepts(Filter::published().with_conversations(&words(&["x", "shop*"])).unwrap()));
        assert!(!accepts(Filter::published().with_conversations(&words(&["shop"])).unwrap()));
        assert!(accepts(Filter::published().with_channels(words(&["rest"]))));
        assert!(!accepts(Filter::published().with_channels(words(&["socketio"]))));
    }

    #[test]
    fn a_channel_gets_what_answers_its_messages() {
        let accepts = |event_type: &str, channel: &str, kind: Kind, answers: Option<Offset>| {
            let event = Event { answers, ..event("ann", event_type, Some(channel), kind) };
            Filter::answers_through("callback").accepts(&event)
        };
        assert!(accepts("bot", "callback", Kind::Event, Some(7)));
        assert!(!accepts("bot", "callback", Kind::Event, None));
        assert!(!accepts("bot", "rest", Kind::Event, Some(7)));
        assert!(!accepts("action", "callback", Kind::Event, Some(7)));
        assert!(!accepts("bot", "callback", Kind::Replacement, Some(7)));
    }

    #[test]
    fn patterns_are_of_characters_and_not_of_bytes() {
        let matches = |pattern: &str, conversation: &str| {
            let filter = Filter::published().with_conversations(&[pattern.to_owned()]).unwrap();
            filter.accepts(&event(conversation, "user", None, Kind::Event))
        };
        for (pattern, conversation) in
            [("us?r", "usér"), ("[é]x", "éx"), ("[а-я]*", "жук/1"), ("*", ""), ("a*c", "a\nb/c"), ("[!a]", "😀"), ("[*]", "*")]
        {
            assert!(matches(pattern, conversation), "{pattern} {conversation}");
        }
        for (pattern, conversation) in [("us?r", "usr"), ("User", "user"), ("[!a]", "a"), ("a", "ab"), ("{a,b}", "a")] {
            assert!(!matches(pattern, conversation), "{pattern} {conversation}");
        }
        let error = Filter::published().with_conversations(&["a".to_owned(), "[a".to_owned()]).unwrap_err();
        assert_eq!((error.pattern.as_str(), error.reason.as_str()), ("[a", "invalid range pattern at character 1"));
    }
}
