//! How far a file was read, remembered in a small file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::rotation::{directory_of, with_suffix};

const VERSION: &str = "trunkline-position 1";

/// How much of what stands before a place is looked at.
const LOOK_BACK: u64 = 512;

/// A place in a file, whatever it is called by now. Devices change their numbers, and inodes are given out again; the digest of
/// what stands before the place tells whether it is the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FilePosition {
    inode: u64,
    pub(super) offset: u64,
    digest: u64,
    /// When the file was last written to then, in nanoseconds since 1970. What was rotated earlier was read before.
    written: u64,
}

impl FilePosition {
    pub(super) fn new(file: &File, offset: u64) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let written = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let written = u64::try_from(written).unwrap_or(u64::MAX);
        Ok(Self { inode: metadata.ino(), offset, digest: digest_before(file, offset)?, written })
    }

    pub(super) fn is_in(&self, file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.ino() == self.inode && self.stands_in(file)?)
    }

    /// Whether `file` is a copy, as it is made by whoever truncates the original then.
    pub(super) fn is_in_copy(&self, file: &File) -> io::Result<bool> {
        Ok(self.offset > 0 && self.stands_in(file)?)
    }

    fn stands_in(&self, file: &File) -> io::Result<bool> {
        Ok(file.metadata()?.len() >= self.offset && digest_before(file, self.offset)? == self.digest)
    }

    pub(super) fn written(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.written)
    }

    /// What the file at `position` says; nothing when there is none yet.
    pub(super) fn load(position: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read_to_string(position) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let wrong = || io::Error::new(ErrorKind::InvalidData, "it is no position of ours; remove it to begin anew");
        Self::read(&text).map(Some).ok_or_else(wrong)
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Self::read(text).ok_or_else(|| format!("the position that is kept for it is none of ours: {text:?}"))
    }

    fn read(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix(VERSION)?.split_ascii_whitespace();
        let mut field = |name: &str| numbers.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
        Some(Self { inode: field("inode")?, offset: field("offset")?, digest: field("digest")?, written: field("written")? })
    }

    /// Replaces the file at `position`, durably.
    pub(super) fn store(&self, position: &Path) -> io::Result<()> {
        let unfinished = with_suffix(position, ".tmp");
        fs::create_dir_all(directory_of(position))?;
        fs::write(&unfinished, format!("{self}\n"))?;
        File::open(&unfinished)?.sync_all()?;
        fs::rename(&unfinished, position)?;
        File::open(directory_of(position))?.sync_all()
    }

    /// Whether the file at `path` remembers a place, ours or that of another reader.
    pub(super) fn is_remembered_at(path: &Path) -> bool {
        let mut start = [0; VERSION.len()];
        File::open(path).and_then(|file| read_at_most(&file, &mut start, 0)).is_ok() && start == *VERSION.as_bytes()
    }
}

impl fmt::Display for FilePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inode, offset, digest, written } = self;
        write!(f, "{VERSION} inode={inode} offset={offset} digest={digest} written={written}")
    }
}

fn digest_before(file: &File, offset: u64) -> io::Result<u64> {
    let start = offset.saturating_sub(LOOK_BACK);
    let mut bytes = vec![0; usize::try_from(offset - start).unwrap_or_default()];
    let count = read_at_most(file, &mut bytes, start)?;
    let digest = Sha256::digest(bytes.get(..count).unwrap_or_default());
    Ok(digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Reads what there is from `start` on, until `bytes` are full.
pub(super) fn read_at_most(file: &File, bytes: &mut [u8], start: u64) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = bytes.get_mut(count..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, start + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
