//! The files beside the one that is followed that may be earlier ones.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::place::FilePosition;
use super::rotation::directory_of;

/// A file that may be an earlier one.
pub(super) struct Sibling {
    written: SystemTime,
    pub(super) path: PathBuf,
    inode: u64,
}

/// The files whose names go on behind that of `path`, the oldest first. Compressed ones and our own helpers are left out.
pub(super) fn siblings(path: &Path) -> io::Result<Vec<Sibling>> {
    // Where the path is a symbolic link, the others lie beside what it leads to.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir(directory_of(&path))? {
        let entry = entry?;
        let rest = entry.file_name();
        let Some(rest) = rest.as_encoded_bytes().strip_prefix(name).filter(|rest| !rest.is_empty()) else { continue };
        let is_other = [&b".cursor"[..], b".gz", b".bz2", b".xz", b".zst", b".tmp"].iter().any(|end| rest.ends_with(end));
        let Some(metadata) = entry.metadata().ok().filter(|metadata| metadata.is_file() && !is_other) else { continue };
        // What is read there would be remembered there, and so read for ever.
        if !FilePosition::is_remembered_at(&entry.path()) {
            found.push(Sibling { written: metadata.modified()?, path: entry.path(), inode: metadata.ino() });
        }
    }
    found.sort_by(|one, other| (one.written, &one.path).cmp(&(other.written, &other.path)));
    Ok(found)
}

/// What was written after a file that was last written to at `written`: the oldest of the rotated files that are not older and
/// not `finished`, or else the one at `path`.
pub(super) fn next_file(path: &Path, finished: &VecDeque<u64>, written: SystemTime) -> io::Result<PathBuf> {
    let mut siblings = siblings(path)?.into_iter();
    let next = siblings.find(|sibling| sibling.written >= written && !finished.contains(&sibling.inode));
    Ok(next.map_or_else(|| path.to_owned(), |sibling| sibling.path))
}
