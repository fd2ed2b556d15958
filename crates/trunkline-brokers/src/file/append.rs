//! A file that grows at its end and nowhere else.

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::Fsync;

/// The open file, and where it ends as far as we know.
#[derive(Debug)]
pub(super) struct AppendFile {
    file: File,
    end: u64,
}

/// What others did to a file since we last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Grown,
    Shrunk,
}

impl AppendFile {
    /// Opens or creates the file; a new one gets the permissions `mode`, less what the process withholds from all its files.
    pub(super) fn open(path: &Path, mode: u32) -> io::Result<(Self, Metadata)> {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(mode).open(path)?;
        let metadata = file.metadata()?;
        let end = metadata.len();
        Ok((Self { file, end }, metadata))
    }

    #[cfg(test)]
    pub(super) fn read_only(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, end })
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Looks where the file ends by now.
    pub(super) fn look(&mut self) -> io::Result<Change> {
        let length = self.file.metadata()?.len();
        let change = match length.cmp(&self.end) {
            std::cmp::Ordering::Less => Change::Shrunk,
            std::cmp::Ordering::Equal => Change::Nothing,
            std::cmp::Ordering::Greater => Change::Grown,
        };
        self.end = length;
        Ok(change)
    }

    /// How many of `bytes` stand at `at`, one after the other.
    pub(super) fn count_same(&self, at: u64, bytes: &[u8]) -> io::Result<usize> {
        let mut found = vec![0; bytes.len()];
        self.file.read_exact_at(&mut found, at)?;
        Ok(found.iter().zip(bytes).take_while(|(found, byte)| found == byte).count())
    }

    /// Writes `bytes` to a device or pipe, where nothing can be synced or taken back.
    pub(super) fn stream(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Writes `bytes` at the end, and syncs them unless it is to do without. When that fails, the file is as it was.
    ///
    /// A failed removal is told with the error, because somebody has to look at the file then.
    pub(super) fn append(&mut self, bytes: &[u8], fsync: Fsync) -> io::Result<()> {
        match self.file.write_all(bytes).and_then(|()| self.sync(fsync)) {
            Ok(()) => {
                self.end += bytes.len() as u64;
                Ok(())
            }
            Err(error) => match self.cut_back(bytes) {
                Ok(()) => Err(error),
                Err(why) => Err(io::Error::new(error.kind(), format!("{error}, and part of it was left behind: {why}"))),
            },
        }
    }

    /// Ends a line that somebody left open, so that ours begins a line.
    pub(super) fn finish_last_line(&mut self) -> io::Result<()> {
        let mut last = [b'\n'];
        if let Some(at) = self.end.checked_sub(1) {
            self.file.read_exact_at(&mut last, at)?;
        }
        if last != [b'\n'] {
            self.file.write_all(b"\n")?;
            self.end += 1;
        }
        Ok(())
    }

    pub(super) fn sync(&self, fsync: Fsync) -> io::Result<()> {
        match fsync {
            Fsync::Batch => self.file.sync_data(),
            Fsync::Never => Ok(()),
        }
    }

    pub(super) fn set_permissions(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(Permissions::from_mode(mode))
    }

    /// What the system knows about the file.
    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Removes what a failed write left. Also after a failed sync: the system then forgets that the bytes are not on the
    /// disk, and only writing them again makes it try again. What is not ours is left alone.
    fn cut_back(&self, bytes: &[u8]) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let left = usize::try_from(length.saturating_sub(self.end)).unwrap_or(usize::MAX);
        match bytes.get(..left) {
            Some([]) => Ok(()),
            Some(ours) if self.count_same(self.end, ours)? == left => self.file.set_len(self.end),
            _ => Err(io::Error::other("somebody else wrote into the file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_failed_write_left_is_cut_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let check = |left: &[u8], succeeds: bool, expected: &[u8]| {
            std::fs::write(&path, "old\n").expect("a file");
            let (file, _) = AppendFile::open(&path, 0o666).expect("an open file");
            std::fs::write(&path, [b"old\n", left].concat()).expect("a file");
            assert_eq!(file.cut_back(b"new\n").is_ok(), succeeds);
            assert_eq!(std::fs::read(&path).expect("a file"), expected);
        };
        check(b"", true, b"old\n");
        check(b"ne", true, b"old\n");
        check(b"new\n", true, b"old\n");
        check(b"new\ntheirs", false, b"old\nnew\ntheirs");
        check(b"no", false, b"old\nno");
    }
}
