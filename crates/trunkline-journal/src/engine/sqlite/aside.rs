//! What a source gave that is no event: kept in a file, for a person to decide about.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::private;
use crate::engine::{self, SetAside};

/// A file is set aside when it has so many bytes, and what was set aside before is deleted.
const MOST_BYTES: u64 = 64 << 20;

/// The directory `rejected`, with `<source>.jsonl` for each source.
#[derive(Debug)]
pub(super) struct Aside {
    directory: PathBuf,
    most_bytes: u64,
}

impl Aside {
    pub(super) fn new(journal: &Path) -> Self {
        Self { directory: journal.join("rejected"), most_bytes: MOST_BYTES }
    }

    fn write(&self, path: &Path, lines: &str) -> io::Result<bool> {
        fs::create_dir_all(&self.directory)?;
        let deleted = self.make_room(path)?;
        let mut file = OpenOptions::new().create(true).append(true).mode(private::FILE).open(path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        Ok(deleted)
    }

    /// Whether older lines had to be deleted for more.
    fn make_room(&self, path: &Path) -> io::Result<bool> {
        if path.metadata().map_or(0, |metadata| metadata.len()) < self.most_bytes {
            return Ok(false);
        }
        let aside = path.with_extension("jsonl.old");
        let deleted = aside.exists();
        fs::rename(path, aside)?;
        Ok(deleted)
    }
}

impl engine::Aside for Aside {
    fn add(&self, source: &str, lines: &str) -> Result<SetAside, String> {
        let path = self.directory.join(format!("{source}.jsonl"));
        let place = path.display().to_string();
        match self.write(&path, lines) {
            Ok(older_deleted) => Ok(SetAside { place, older_deleted }),
            Err(error) => Err(format!("{place}: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::Aside as _;

    use super::*;

    #[test]
    fn lines_are_kept_up_to_a_bound() {
        let directory = tempfile::tempdir().expect("a directory");
        let aside = Aside { most_bytes: 8, ..Aside::new(directory.path()) };
        let deleted: Vec<_> = ["one\n", "two\n", "three\n", "four\n", "five\n"]
            .map(|line| aside.add("rabbit", line).expect("a write").older_deleted)
            .into();
        assert_eq!(deleted, [false, false, false, false, true]);
        let read = |name: &str| fs::read_to_string(directory.path().join("rejected").join(name)).expect("a file");
        assert_eq!((read("rabbit.jsonl").as_str(), read("rabbit.jsonl.old").as_str()), ("five\n", "three\nfour\n"));
    }
}
