//! What can be chosen about a subscription.

use std::time::Duration;

use trunkline_core::Offset;
use trunkline_journal::{Journal, Progress, ReadError, Unavailable};

use crate::{Backoff, Filter};

/// What can be chosen about a subscription.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Its name, for ever: the cursor is stored under it.
    pub name: String,
    /// Which events it wants.
    pub filter: Filter,
    /// How events are sorted into lanes.
    pub lanes: LaneMode,
    /// How many batches may be under way, each from lanes of its own. With a single lane it is one.
    pub concurrency: usize,
    /// How much goes into one call of the receiver.
    pub batch: BatchLimits,
    /// What happens to an event that is not delivered at once.
    pub retry: Retry,
    /// Where it starts when it has no cursor yet.
    pub start: Start,
    /// How many events may be read and not settled. Beyond that it stops reading. Of lanes that wait, only the offset and the
    /// attempts of each count against the memory.
    pub most_unsettled: usize,
}

impl Subscription {
    /// A subscription to what `filter` wants: one lane, batches of up to 512 events, retry for ever, from the beginning.
    pub fn new(name: impl Into<String>, filter: Filter) -> Self {
        Self {
            name: name.into(),
            filter,
            lanes: LaneMode::One,
            concurrency: 1,
            batch: BatchLimits::default(),
            retry: Retry::default(),
            start: Start::Beginning,
            most_unsettled: 10_000,
        }
    }
}

impl Subscription {
    /// Stores where it starts when it is new. A gateway does so before it takes events: [`Start::Now`] then means now, and not
    /// the moment when the receiver is ready, or when a crash allows.
    pub async fn register(&self, journal: &Journal) -> Result<(), RegisterError> {
        if journal.subscriptions().await?.iter().any(|stored| stored.name == self.name) {
            return Ok(());
        }
        Ok(journal.save_progress(&self.name, self.beginning(journal.head() + 1)).await?)
    }

    /// Where it starts without a cursor; `next` is the offset of the next event to be appended.
    pub(crate) fn beginning(&self, next: Offset) -> Progress {
        Progress::at(if self.start == Start::Now { next } else { 1 })
    }
}

/// Why the start of a subscription was not stored.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal could not be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// How events are sorted into lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneMode {
    /// All in one: the order of the journal, and the only mode for receivers that store our cursor. What fails holds up all.
    One,
    /// Each conversation in one of its own. Batches are in the order of the journal too, as long as nothing fails; what fails holds
    /// up its conversation alone.
    Conversations,
}

/// How much goes into one call of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Events at the most; at least 1. Default: 512.
    pub events: usize,
    /// Bytes of bodies at the most, but always one event. Default: 1 MiB.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { events: 512, bytes: 1 << 20 }
    }
}

/// What happens to an event that is not delivered at once.
#[derive(Clone, Debug)]
pub struct Retry {
    /// How long its lane waits before each attempt.
    pub backoff: Backoff,
    /// After so many attempts it is given up, provided that it was alone in the last of them and that the receiver is ready for
    /// others. Default: never.
    pub max_attempts: Option<u32>,
    /// The longest that one attempt may take. Default: 60 s.
    pub timeout: Duration,
    /// What happens to the conversation of an event that is given up.
    pub on_exhausted: OnExhausted,
}

impl Default for Retry {
    fn default() -> Self {
        Self { backoff: Backoff::default(), max_attempts: None, timeout: Duration::from_mins(1), on_exhausted: OnExhausted::GoOn }
    }
}

/// What happens to the lane of an event that became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExhausted {
    /// It goes on with the next event.
    GoOn,
    /// It waits until the dead letter is replayed or dropped.
    Hold,
}

/// Where a subscription without a cursor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest event kept.
    Beginning,
    /// After the newest event of the moment.
    Now,
}
