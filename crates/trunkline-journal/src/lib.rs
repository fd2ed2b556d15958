//! The journal: the durable, append-only record of all events.
//!
//! Offsets are given out by the writer, one after another; the time of an event never decreases along them, so reading by time is a
//! binary search and needs no index. Where the records lie is the business of an engine: a directory with SQLite's files, or, for
//! tests, the memory of the process.
//!
//! # What holds
//!
//! - [`Appender::append`] resolves when the events are synced to disk. All events of one [`Append`] are committed together, and
//!   are of one conversation.
//! - A reader sees an event only then. Readers in other processes too: SQLite shows a commit after its sync.
//! - An identity is remembered in the row it came with. A second append of it in the same conversation, within the window, is
//!   answered with the offset of the first and appends nothing; while the first is in flight it waits for it.
//! - Every row carries a checksum that is verified when it is read; a damaged one is left out and reported by its offset.
//! - When a commit fails, nothing of it is acknowledged, and each waiter is told whether it may have been recorded all the same.
//!   When the disk was full the writer goes on by itself once there is room. When a write or a sync failed otherwise, the connection
//!   is closed for good, and the writer works again only after a fresh one has copied the whole write-ahead log into the database and
//!   synced that.
//! - There is one [`Appender`] for a journal, and it is not cloned.
//!
//! Nothing here knows what an event means, and nothing here knows HTTP.

mod append;
mod change;
mod dead_letter;
mod engine;
mod error;
mod handle;
mod metrics;
mod options;
mod progress;
mod read;
mod recent;
mod shared;
mod writer;

pub use append::{Append, Appended};
pub use dead_letter::{DeadLetter, DeadLetterId, DeadLetterState, Death, NewDeadLetter, OpenDeadLetter};
pub use engine::SetAside;
#[cfg(feature = "memory")]
pub use engine::memory::Faults;
pub use engine::sqlite::read_only::ReadOnlyJournal;
pub use engine::sqlite::verify::Verification;
pub use error::{OpenError, ReadError, Unavailable};
pub use handle::{Appender, Journal, Queued, Status};
pub use options::{Options, Retention};
pub use progress::{Progress, StoredSubscription, Unsettled};
pub use read::{By, Chunk, ConversationSummary, Limits, Stats};
