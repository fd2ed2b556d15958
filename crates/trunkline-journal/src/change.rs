//! Whatever is written beside events, in the same transactions: cursors, dead letters, positions of sources.

use trunkline_core::Timestamp;

use crate::{DeadLetterId, DeadLetterState, Death, NewDeadLetter, Progress};

/// A change, as data: it can be carried to wherever the journal is kept.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Stores how far a subscription has come, and that it is configured.
    Progress {
        /// The subscription.
        name: String,
        /// How far.
        progress: Progress,
    },
    /// Marks every subscription outside `names` as no longer configured.
    KeepActive {
        /// Those that are configured.
        names: Vec<String>,
    },
    /// Records a dead letter.
    AddLetter(NewDeadLetter),
    /// Changes where a dead letter stands, with `death` when it died again.
    SetLetter {
        /// The letter.
        id: DeadLetterId,
        /// Where it stands then.
        state: DeadLetterState,
        /// How it died again.
        death: Option<Death>,
    },
    /// Removes a dead letter.
    RemoveLetter {
        /// The letter.
        id: DeadLetterId,
    },
    /// Stores how far a source was read.
    Position {
        /// The source.
        source: String,
        /// Where it stands, in its own words.
        position: String,
    },
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// It is done.
    Done,
    /// It is a dead letter with this id.
    Added(DeadLetterId),
    /// Whether there was what was to be changed.
    Found(bool),
}

/// Some changes, and when they were asked for.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(crate) list: Vec<Change>,
    pub(crate) time: Timestamp,
}
