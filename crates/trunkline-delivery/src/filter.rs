//! Which events a subscription wants.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use trunkline_core::{Event, Kind};

/// Which events a subscription wants: those of a kind, and of these all that no list excludes.
#[derive(Clone, Debug)]
pub struct Filter {
    kinds: fn(Kind) -> bool,
    types: Vec<String>,
    excluded_types: Vec<String>,
    conversations: Option<GlobSet>,
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
        Self::kinds(Kind::is_published)
    }

    /// All messages that wait for an answer.
    pub fn wanting_answers() -> Self {
        Self::kinds(Kind::wants_answer)
    }

    fn kinds(kinds: fn(Kind) -> bool) -> Self {
        Self { kinds, types: Vec::new(), excluded_types: Vec::new(), conversations: None, channels: Vec::new() }
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

    /// Only conversations that match one of these patterns (`*` any characters, `?` one, `[a-z]` one of a set, `{a,b}` one of
    /// several); an empty list means all.
    pub fn with_conversations(self, patterns: &[String]) -> Result<Self, FilterError> {
        if patterns.is_empty() {
            return Ok(Self { conversations: None, ..self });
        }
        let error =
            |pattern: &str, error: &globset::Error| FilterError { pattern: pattern.to_owned(), reason: error.kind().to_string() };
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            set.add(GlobBuilder::new(pattern).build().map_err(|cause| error(pattern, &cause))?);
        }
        let set = set.build().map_err(|cause| error(&patterns.join(", "), &cause))?;
        Ok(Self { conversations: Some(set), ..self })
    }

    /// Only events of conversations that go through these channels; an empty list means all.
    #[must_use]
    pub fn with_channels(self, channels: Vec<String>) -> Self {
        Self { channels, ..self }
    }

    /// Whether it wants `event`.
    pub fn accepts(&self, event: &Event) -> bool {
        let is_in = |list: &[String], word: &str| list.iter().any(|entry| entry == word);
        (self.kinds)(event.kind)
            && (self.types.is_empty() || is_in(&self.types, &event.event_type))
            && !is_in(&self.excluded_types, &event.event_type)
            && self.conversations.as_ref().is_none_or(|set| set.is_match(event.conversation.as_str()))
            && (self.channels.is_empty() || event.channel.as_ref().is_some_and(|channel| is_in(&self.channels, channel)))
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::{EventId, JournalId, Timestamp};

    use super::*;

    fn event(conversation: &str, event_type: &str, channel: Option<&str>, kind: Kind) -> Event {
        Event {
            offset: 1,
            id: EventId::derive(JournalId::random(), Timestamp(1), 1),
            time: Timestamp(1),
            kind,
            conversation: conversation.into(),
            event_type: event_type.into(),
            channel: channel.map(Into::into),
            body: "{}".into(),
        }
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
        assert_eq!(Filter::published().with_conversations(&words(&["[a"])).unwrap_err().pattern, "[a");
    }
}
