//! What can go wrong, as callers have to tell it apart.

use std::path::PathBuf;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal in {} is in use by another process{}; stop that one first, or give this one a journal of its own", directory.display(), holder.as_deref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// The directory of the journal.
        directory: PathBuf,
        /// The process that has it, when it left its number.
        holder: Option<String>,
    },
    /// There is none here.
    #[error("there is no journal in {}; `trunkline serve` makes one", directory.display())]
    Missing {
        /// The directory that was looked at.
        directory: PathBuf,
    },
    /// A newer Trunkline wrote it.
    #[error("the journal in {} has layout {found}, this program knows layouts up to {known}; use a newer Trunkline", directory.display())]
    Newer {
        /// The directory of the journal.
        directory: PathBuf,
        /// The layout found.
        found: i64,
        /// The newest layout known.
        known: i64,
    },
    /// The directory or lock file could not be made.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite could not open or read it.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// The journal takes no events at the moment. Nothing of the append was recorded; try again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal takes no events at the moment: {reason}")]
pub struct Unavailable {
    /// Why, for the operator.
    pub reason: String,
}

impl Unavailable {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    pub(crate) fn closed() -> Self {
        Self::new("it is closed")
    }
}

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// SQLite could not read.
    #[error("the journal could not be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// The index file cannot be used.
    #[error("the journal could not be read: {0}")]
    Index(String),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}
