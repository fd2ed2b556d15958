//! Files by name and by identity.

use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

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

/// The path from the root without `.` and `..`, so that two ways to write it become one. Links are not followed, and nothing is
/// looked at.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match component {
            Component::ParentDir => drop(absolute.pop()),
            component => absolute.push(component),
        }
    }
    absolute
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_a_path_become_one() {
        for path in ["/a/b.log", "/a/./b.log", "/a/c/../b.log", "/../a//b.log"] {
            assert_eq!(absolute(Path::new(path)), Path::new("/a/b.log"), "{path}");
        }
        assert_eq!(absolute(Path::new("./b.log")), std::env::current_dir().unwrap().join("b.log"));
    }
}
