//! Events that a subscription gave up on, kept until a person decides.

use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use serde::Serialize;
use trunkline_core::{Event, Offset, Timestamp};

/// Names a dead letter for ever, as commands and clients do. What stands in it is the journal's own business.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeadLetterId(CompactString);

impl DeadLetterId {
    /// What a person or a client has given as the id of a dead letter.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the letter that is kept under `number`.
    pub(crate) fn of(number: i64) -> Self {
        Self(CompactString::from(number.to_string()))
    }

    /// The number that the letter is kept under; `None` when there can be no such letter.
    pub(crate) fn number(&self) -> Option<i64> {
        let number = self.0.parse().ok()?;
        // `+7` and `07` are no ids of ours.
        (Self::of(number) == *self).then_some(number)
    }
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterState {
    /// Given up; its conversation went on.
    Dead,
    /// Given up; its conversation waits for it to be replayed or dropped.
    Held,
    /// To be delivered once more.
    Replay,
}

impl DeadLetterState {
    /// The word for it, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Replay => "replay",
        }
    }

    /// The state that is stored as `word`.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "replay" => Self::Replay,
            "held" => Self::Held,
            _ => Self::Dead,
        }
    }
}

/// An event that a subscription gave up on, to be recorded.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The name of the subscription.
    pub subscription: String,
    /// The event.
    pub event: Arc<Event>,
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// `Dead` or `Held`.
    pub state: DeadLetterState,
}

/// How a dead letter that was replayed died again.
#[derive(Clone, Debug)]
pub struct Death {
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made since it was replayed.
    pub attempts: u32,
}

/// A dead letter that a lane waits for or that is to be delivered once more, without its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The offset of the event.
    pub offset: Offset,
    /// The conversation of the event.
    pub conversation: CompactString,
    /// `Held` or `Replay`.
    pub state: DeadLetterState,
}

/// An event that a subscription gave up on.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The name of the subscription.
    pub subscription: String,
    /// The event, from the copy that was made.
    pub event: Arc<Event>,
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made, replays included.
    pub attempts: u32,
    /// When it was last given up.
    pub died: Timestamp,
    /// Where it stands.
    pub state: DeadLetterState,
}
