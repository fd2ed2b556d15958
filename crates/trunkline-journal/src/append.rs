//! What is asked of the journal: events to be appended.

use trunkline_core::{NewEvent, Offset};

/// Events of one conversation to be appended together: all of them or none.
#[derive(Clone, Debug)]
pub struct Append {
    events: Vec<NewEvent>,
    identity: Option<String>,
}

impl Append {
    /// The events, in order, without an identity.
    ///
    /// # Panics
    ///
    /// When there is none, or when they are of different conversations: nothing keeps the parts of such an append together in a
    /// journal that has several partitions.
    pub fn new(events: Vec<NewEvent>) -> Self {
        let conversation = events.first().map(|event| &event.conversation);
        assert!(conversation.is_some(), "an append has at least one event");
        assert!(events.iter().all(|event| Some(&event.conversation) == conversation), "an append is of one conversation");
        Self { events, identity: None }
    }

    /// One event without an identity.
    pub fn one(event: NewEvent) -> Self {
        Self { events: vec![event], identity: None }
    }

    /// The same append, known by `identity`: a second one of the same conversation that has it is not recorded. It is stored with
    /// the last of the events.
    #[must_use]
    pub fn known_by(self, identity: Option<String>) -> Self {
        Self { identity, ..self }
    }

    /// The conversation of the events.
    pub fn conversation(&self) -> &str {
        self.events.first().map_or("", |event| &event.conversation)
    }

    /// The events and the identity.
    pub(crate) fn into_parts(self) -> (Vec<NewEvent>, Option<String>) {
        (self.events, self.identity)
    }

    /// What it weighs in the queue and in a commit.
    pub(crate) fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.body.len() + 64).sum()
    }
}

/// Where the events of an append stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first of them; that of the last when it is a duplicate.
    pub first: Offset,
    /// The offset of the last of them.
    pub last: Offset,
    /// Whether an earlier append had the same identity, so that nothing was appended now. The offsets are then that one's.
    pub duplicate: bool,
}
