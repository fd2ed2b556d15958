//! A project in a temporary directory.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A project in a directory of its own, removed at the end.
#[derive(Debug)]
pub struct Project {
    directory: TempDir,
}

impl Project {
    /// An empty project.
    pub fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    /// A project whose events go to the file `events.log` and the SQLite database `events.db`.
    pub fn with_brokers() -> Self {
        Self::new()
            .file("endpoints.yml", "event_broker:\n  - type: file\n    path: events.log\n  - type: sql\n    db: events.db\n")
    }

    /// The same project with one more file.
    #[must_use]
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Default for Project {
    fn default() -> Self {
        Self::new()
    }
}
