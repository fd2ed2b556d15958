//! What is read, and how much of it.

use std::sync::Arc;

use serde::Serialize;
use trunkline_core::{Event, Offset};

/// Whose events are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By<'n> {
    /// Those of a conversation.
    Conversation(&'n str),
    /// Those that name a user.
    User(&'n str),
    /// Those that name a session.
    Session(&'n str),
}

impl By<'_> {
    /// Whether `event` is one of those.
    pub(crate) fn has(self, event: &Event) -> bool {
        match self {
            Self::Conversation(name) => event.conversation == name,
            Self::User(name) => event.user.as_deref() == Some(name),
            Self::Session(name) => event.session.as_deref() == Some(name),
        }
    }
}

/// How much a read may answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events at the most.
    pub events: usize,
    /// Bytes of bodies at the most, but always one event.
    pub bytes: usize,
}

impl Default for Limits {
    /// 512 events, 1 MiB.
    fn default() -> Self {
        Self { events: 512, bytes: 1 << 20 }
    }
}

/// Events in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// The offsets of records that could not be read, or not as they were written.
    pub damaged: Vec<Offset>,
    /// Where the next read starts.
    pub next: Offset,
}

/// One conversation, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConversationSummary {
    /// Its id.
    pub conversation: String,
    /// How many records it has or had, those that retention removed included.
    pub events: u64,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset of its last record.
    pub last: Offset,
}

/// The journal in figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// The identity of the journal.
    pub id: String,
    /// The offset of the oldest record kept; one more than `head` when there is none.
    pub first: Offset,
    /// The offset of the newest record.
    pub head: Offset,
    /// When the oldest was appended, in milliseconds since 1970.
    pub first_time: Option<i64>,
    /// When the newest was appended, in milliseconds since 1970.
    pub head_time: Option<i64>,
    /// The bytes that the records take where they are kept.
    pub bytes: u64,
    /// Up to which offset the index reaches.
    pub indexed_to: Offset,
    /// How many conversations there are.
    pub conversations: u64,
}
