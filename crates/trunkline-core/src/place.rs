//! Where events are read or written.

use std::fmt;
use std::path::PathBuf;

/// Where events are read or written, for a person and to compare with others. Contains no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A file, by its path from the root.
    File(PathBuf),
    /// Anything else, as in `queue rasa_core_events at localhost:5672`.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl From<String> for Place {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl From<&str> for Place {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}
