//! The small file beside the log.
//!
//! One line of text, overwritten in place:
//!
//! ```text
//! trunkline-cursor 1 journal=… next=… device=… inode=… length=… subscription="…" crc32=…
//! ```
//!
//! Numbers have a fixed width, so each line covers the one before. The file is also what two writers of one log meet at:
//! it is locked as long as it is open.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tracing::{debug, warn};
use trunkline_core::json::{Layout, quote, unquote};
use trunkline_core::{CursorKey, JournalId, Offset};

use super::Fsync;
use crate::paths::{Identity, describe};

const VERSION: &str = "trunkline-cursor 1";

/// Longer than any line that we write.
const MOST_BYTES: usize = 4096;

/// What the line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: CursorKey,
    /// The next event to publish.
    pub(super) next: Offset,
    /// The file that held all events before. It tells a rotated file from a truncated one and does not take part in the
    /// decision what to compare: device numbers change at a reboot, inodes when a volume is restored, while a file that
    /// goes on exactly with our lines is ours.
    pub(super) identity: Identity,
    /// How long that file was.
    pub(super) length: u64,
}

impl Record {
    fn to_line(&self) -> String {
        let Self { key, next, identity, length } = self;
        let text = format!(
            "{VERSION} journal={} next={next:020} device={:020} inode={:020} length={length:020} subscription={}",
            key.journal,
            identity.device,
            identity.inode,
            quote(&key.subscription, Layout::Dumps)
        );
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text} crc32={checksum:08x}\n")
    }

    fn parse(line: &str) -> Option<Self> {
        let (text, checksum) = line.rsplit_once(" crc32=")?;
        if u32::from_str_radix(checksum, 16).ok()? != crc32fast::hash(text.as_bytes()) {
            return None;
        }
        let (numbers, subscription) = text.strip_prefix(VERSION)?.split_once(" subscription=")?;
        let mut numbers = numbers.split_ascii_whitespace();
        let mut field = |name: &str| numbers.next()?.strip_prefix(name)?.strip_prefix('=');
        let journal = JournalId::parse(field("journal")?)?;
        let next = field("next")?.parse().ok()?;
        let identity = Identity { device: field("device")?.parse().ok()?, inode: field("inode")?.parse().ok()? };
        let length = field("length")?.parse().ok()?;
        let subscription = unquote(subscription)?.into();
        Some(Self { key: CursorKey { journal, subscription }, next, identity, length })
    }
}

/// The open and locked file.
#[derive(Debug)]
pub(super) struct CursorFile {
    file: File,
    identity: Identity,
}

impl CursorFile {
    /// The name of the file that belongs to the log at `path`.
    pub(super) fn path_for(path: &Path) -> PathBuf {
        let mut name = path.as_os_str().to_owned();
        name.push(".cursor");
        name.into()
    }

    /// Opens or creates the file, locks it, and reads what it says: nothing when it is new or damaged.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Record>), String> {
        let explain = |error: &io::Error| describe("open", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(path).map_err(|error| explain(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("`{}` is locked: another process or broker writes to the same file", path.display()));
            }
            // Some network file systems know no locks, and a log there is better than none.
            Err(TryLockError::Error(error)) => warn!(%error, path = %path.display(), "Cursor file was not locked"),
        }
        let identity = Identity::new(&file.metadata().map_err(|error| explain(&error))?);
        let record = read(&file).map_err(|error| explain(&error))?;
        let record = match record.as_slice() {
            [] => None,
            bytes => {
                let line = bytes.split(|&byte| byte == b'\n').next().and_then(|line| std::str::from_utf8(line).ok());
                let record = line.and_then(Record::parse);
                if record.is_none() {
                    warn!(path = %path.display(), "Cursor file was damaged and is begun anew");
                }
                record
            }
        };
        Ok((Self { file, identity }, record))
    }

    /// Whether `path` still leads to this file.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        self.identity.is_at(path)
    }

    pub(super) fn write(&self, record: &Record) -> io::Result<()> {
        self.file.write_all_at(record.to_line().as_bytes(), 0)
    }

    pub(super) fn sync(&self, fsync: Fsync) -> io::Result<()> {
        match fsync {
            Fsync::Batch => self.file.sync_data(),
            Fsync::Never => Ok(()),
        }
    }
}

impl Drop for CursorFile {
    /// Gives the lock back now. Closing alone leaves it with a child process that is just being started, until that
    /// runs its program.
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            debug!(%error, "Cursor file was not unlocked");
        }
    }
}

fn read(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; MOST_BYTES];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(subscription: &str, next: u64, length: u64) -> Record {
        Record {
            key: CursorKey { journal: JournalId::random(), subscription: subscription.into() },
            next,
            identity: Identity { device: 64_768, inode: u64::MAX },
            length,
        }
    }

    #[test]
    fn a_damaged_byte_is_noticed_wherever_it_is() {
        let line = record("brokers", 17, 2048).to_line();
        let line = line.trim_end();
        for at in 0..line.len() {
            let mut damaged = line.as_bytes().to_vec();
            damaged[at] ^= 1;
            let parsed = std::str::from_utf8(&damaged).ok().and_then(Record::parse);
            assert_eq!(parsed, None, "byte {at}");
        }
    }

    #[test]
    fn a_shorter_line_over_a_longer_one_counts_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.cursor");
        let (file, none) = CursorFile::open(&path).unwrap();
        assert_eq!(none, None);
        file.write(&record("a long name of a subscription", 1, 1)).unwrap();
        let short = record("s", u64::MAX, 0);
        file.write(&short).unwrap();
        drop(file);
        assert_eq!(CursorFile::open(&path).unwrap().1, Some(short));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(subscription in ".{0,40}", next in any::<u64>(), length in any::<u64>()) {
            let record = record(&subscription, next, length);
            let line = record.to_line();
            prop_assert_eq!(Record::parse(line.strip_suffix('\n').unwrap()), Some(record));
        }
    }
}
