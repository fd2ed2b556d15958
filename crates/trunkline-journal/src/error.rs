//! What can go wrong, as callers have to tell it apart.

use std::fmt;
use std::path::Path;

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the journal in {place} is in use by another process{}; stop that one first, or give this one a journal of its own", holder.as_deref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    InUse {
        /// Where the journal is.
        place: String,
        /// The process that has it, when it left its number.
        holder: Option<String>,
    },
    /// There is none here.
    #[error("there is no journal in {place}; `trunkline serve` makes one")]
    Missing {
        /// Where it was looked for.
        place: String,
    },
    /// A newer Trunkline wrote it.
    #[error("the journal in {place} has layout {found}, this program knows layouts up to {known}; use a newer Trunkline")]
    Newer {
        /// Where the journal is.
        place: String,
        /// The layout found.
        found: i64,
        /// The newest layout known.
        known: i64,
    },
    /// Something of it could not be made, opened or read.
    #[error("{place}: {reason}")]
    Failed {
        /// The file, or whatever it was.
        place: String,
        /// What the system or the database said.
        reason: String,
    },
}

impl OpenError {
    /// What went wrong with the file or directory at `path`.
    pub(crate) fn at(path: &Path, reason: &dyn fmt::Display) -> Self {
        Self::Failed { place: path.display().to_string(), reason: reason.to_string() }
    }
}

/// The journal takes no events at the moment; try again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal takes no events at the moment: {reason}")]
pub struct Unavailable {
    /// Why, for the operator.
    pub reason: String,
    /// Whether what was asked for may have been recorded all the same: its write was under way when the journal lost sight of it.
    /// Who asks again under the same identity finds out, and does nothing twice.
    pub maybe_recorded: bool,
}

impl Unavailable {
    /// Nothing was recorded, because of `reason`.
    pub(crate) fn refused(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), maybe_recorded: false }
    }

    pub(crate) fn closed() -> Self {
        Self::refused("it is closed")
    }

    /// The journal went away before it answered.
    pub(crate) fn lost() -> Self {
        Self { maybe_recorded: true, ..Self::closed() }
    }
}

/// Why a read failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// What holds the events could not be read.
    #[error("the journal could not be read: {0}")]
    Failed(String),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}
