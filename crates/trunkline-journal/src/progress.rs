//! How far a subscription has come, as it is stored.

use serde::{Deserialize, Serialize};
use trunkline_core::{Offset, Timestamp};

/// How far a subscription has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The next offset to read.
    pub position: Offset,
    /// What was read and is not settled: neither delivered nor dead. Ascending.
    pub unsettled: Vec<Unsettled>,
}

/// One event that a subscription still owes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// Its offset.
    pub offset: Offset,
    /// How many attempts were made in vain.
    #[serde(default)]
    pub attempts: u32,
    /// When the first of them was made, in milliseconds since 1970; 0 when there was none.
    #[serde(default)]
    pub since: i64,
}

impl Progress {
    /// The progress of a subscription that starts at `position`.
    pub fn at(position: Offset) -> Self {
        Self { position, unsettled: Vec::new() }
    }

    /// Everything below this offset is settled.
    pub fn low(&self) -> Offset {
        self.unsettled.first().map_or(self.position, |first| first.offset)
    }

    /// Whether the event at `offset` is still to be delivered.
    pub(crate) fn owes(&self, offset: Offset) -> bool {
        offset >= self.position || self.unsettled.binary_search_by_key(&offset, |owed| owed.offset).is_ok()
    }
}

/// A subscription as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub progress: Progress,
    /// Whether it is configured; one that is not holds nothing back from retention.
    pub active: bool,
    /// When this was stored.
    pub updated: Timestamp,
}
