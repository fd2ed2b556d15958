//! What is asked of the writer, and what it answers.

use trunkline_core::{NewEvent, Offset};

/// Events to be appended together: all of them or none.
#[derive(Clone, Debug)]
pub struct Append {
    /// The events, in order; at least one.
    pub events: Vec<NewEvent>,
    /// What makes this append the same as an earlier one. It is stored with the last of the events.
    pub identity: Option<String>,
}

impl Append {
    /// One event without an identity.
    pub fn one(event: NewEvent) -> Self {
        Self { events: vec![event], identity: None }
    }

    /// Several events without an identity.
    pub fn many(events: Vec<NewEvent>) -> Self {
        Self { events, identity: None }
    }

    /// The same append, known by `identity`.
    #[must_use]
    pub fn with_identity(self, identity: impl Into<String>) -> Self {
        Self { identity: Some(identity.into()), ..self }
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
