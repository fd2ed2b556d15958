//! Broker `file`: Rasa's line format, one JSON document and a line feed per event.
//!
//! `Delivered` means that the line is written and synced to disk (`fdatasync`).
//!
//! What makes a redelivery harmless: beside `<path>` lies `<path>.cursor`, one line that says which event comes next and
//! how long the file was then. It is written after the lines are synced and is not synced itself, so it may be older than
//! the file, never newer. What the file holds beyond that length was therefore written by us after the last cursor, and
//! must begin with the lines of the events that come next. Those are compared byte by byte; what is there is skipped, a
//! torn last line is completed, and only the rest is written. So each event stands in the file exactly once across
//! `kill -9` and power cuts.
//!
//! It is at least once, with a warning in the log, when somebody else writes into the file or cuts it while a crash
//! happens, when the cursor file is lost, and when the file is rotated between a crash and the next start.
//!
//! With `rotate` the file is renamed to `<path>.<moment>` before a batch that would make it too large, or that is the first of
//! a new period; the cursor is on the disk before, and speaks of the new file before anything is written there, so that each
//! event stands in exactly one of the files, once, whenever the process dies. With `fsync: never` the same holds for the death
//! of the process, and nothing is promised about a power cut: `Delivered` then means handed to the system.
//!
//! Other programs may rename or remove the file at any time: each call looks whether the path still leads to the open
//! file and otherwise goes on in a new one, so no signal is needed after a rotation. A failed write is cut back, so a full
//! disk leaves no half line. A path to a device or pipe, such as `/dev/stdout`, has no cursor and no promise: there
//! `Delivered` means written.

mod append;
mod broker;
mod cursor;
mod log;
mod place;
mod rotation;
mod settings;
mod siblings;
mod source;
mod tidy;

pub use broker::FileBroker;
pub use rotation::Rotation;
pub use settings::{file_from_section, file_source_from_section};
pub use source::{FileSource, Start};

fn place(path: &std::path::Path) -> trunkline_core::Place {
    trunkline_core::Place::File(crate::paths::absolute(path))
}

/// What can be chosen about a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// When it is rotated; never by default.
    pub rotate: Option<Rotation>,
    /// When it is synced.
    pub fsync: Fsync,
}

/// When a file is synced to disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// At the end of every batch, before it counts as delivered.
    #[default]
    Batch,
    /// When the system likes to. A power cut then loses or tears lines that counted as delivered; the death of the process
    /// alone does not.
    Never,
}
