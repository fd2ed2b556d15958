//! Files by name and by identity.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
}

impl Identity {
    pub(crate) fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Whether `path` still leads to this file.
    pub(crate) fn is_at(self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| Self::new(&metadata) == self)
    }
}

/// Why something with `path` failed, for a person. The system's own words do not say that the directory is missing.
pub(crate) fn describe(action: &str, path: &Path, error: &io::Error) -> String {
    match missing_directory(path) {
        Some(reason) if error.kind() == ErrorKind::NotFound => format!("cannot {action} `{}`: {reason}", path.display()),
        _ => format!("cannot {action} `{}`: {error}", path.display()),
    }
}

/// A sentence when the directory that `path` lies in does not exist. We do not create it, as the originals do not: a
/// misspelt path would go unnoticed.
pub(crate) fn missing_directory(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty())?;
    (!directory.exists()).then(|| format!("the directory `{}` does not exist", directory.display()))
}
