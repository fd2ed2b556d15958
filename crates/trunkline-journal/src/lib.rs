//! The journal: the durable, append-only record of all events.
//!
//! # Layout
//!
//! A journal is a directory with these files:
//!
//! | file | what |
//! | --- | --- |
//! | `journal.db` | SQLite, WAL, `synchronous=FULL`: the events, one row each, keyed by offset; subscriptions; dead letters |
//! | `index.db` | SQLite: identity and conversation to offsets. Derived, written behind, rebuilt when missing or damaged |
//! | `journal.lock` | locked by the process that writes |
//!
//! The tables are in `schema.rs`. Offsets are given out by the writer, one after another; the time of an event never
//! decreases along them, so reading by time is a binary search and needs no index.
//!
//! # What holds
//!
//! - [`Journal::append`] resolves when the events are synced to disk. All events of one [`Append`] are committed together.
//! - A reader sees an event only then. Readers in other processes too: SQLite shows a commit after its sync.
//! - An identity is remembered in the row it came with. A second append of it, within the window, is answered with the
//!   offset of the first and appends nothing; while the first is in flight it waits for it.
//! - Every row carries a checksum that is verified when it is read; a damaged one is left out and reported by its offset.
//! - When a commit fails, nothing of it is acknowledged. When the disk was full the writer goes on by itself once there is
//!   room. When a write or a sync failed otherwise, the connection is closed for good, and the writer works again only after
//!   a fresh one has copied the whole write-ahead log into the database and synced that.
//!
//! Nothing here knows what an event means, and nothing here knows HTTP.

mod append;
mod dead_letter;
mod error;
mod handle;
mod index;
mod lock;
mod metrics;
mod offline;
mod options;
mod read;
mod recent;
mod retention;
mod row;
mod schema;
mod subscription;
mod verify;
mod writer;

pub use append::{Append, Appended};
pub use dead_letter::{DeadLetter, DeadLetterState, Death, NewDeadLetter, OpenDeadLetter};
pub use error::{OpenError, ReadError, Unavailable};
pub use handle::{Journal, Status};
pub use offline::OfflineJournal;
pub use options::{Options, Retention};
pub use read::{Chunk, ConversationSummary, Limits, Stats};
pub use subscription::{Progress, StoredSubscription, Unsettled};
pub use verify::Verification;
