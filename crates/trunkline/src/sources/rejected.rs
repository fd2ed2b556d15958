//! What a source gave that is no event: kept in a file, for a person to decide about.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

/// The file is set aside when it has so many bytes, and what was set aside before is deleted.
const MOST_BYTES: u64 = 64 << 20;

/// One message that is no event, as a line of the file.
#[derive(Debug, Serialize)]
pub(super) struct Rejected<'a> {
    pub(super) time: String,
    pub(super) origin: &'a str,
    pub(super) id: Option<&'a str>,
    pub(super) reason: &'a str,
    #[serde(flatten)]
    pub(super) body: Body<'a>,
}

/// The body as text where it is one.
#[derive(Debug, Serialize)]
pub(super) enum Body<'a> {
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "body_base64")]
    Bytes(String),
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Bytes(STANDARD.encode(bytes)), Self::Text)
    }
}

/// `rejected/<source>.jsonl` beside the journal.
#[derive(Clone, Debug)]
pub(super) struct RejectedFile {
    path: PathBuf,
    most_bytes: u64,
}

impl RejectedFile {
    pub(super) fn new(journal: &Path, source: &str) -> Self {
        Self { path: journal.join("rejected").join(format!("{source}.jsonl")), most_bytes: MOST_BYTES }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds `lines`, each with its newline, and syncs them to disk. Answers whether older ones had to be deleted.
    pub(super) fn add(&self, lines: &str) -> io::Result<bool> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let deleted = self.make_room()?;
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(deleted)
    }

    fn make_room(&self) -> io::Result<bool> {
        if self.path.metadata().map_or(0, |metadata| metadata.len()) < self.most_bytes {
            return Ok(false);
        }
        let aside = self.path.with_extension("jsonl.old");
        let deleted = aside.exists();
        fs::rename(&self.path, aside)?;
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_kept_up_to_a_bound() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = RejectedFile { most_bytes: 8, ..RejectedFile::new(directory.path(), "rabbit") };
        let deleted: Vec<_> =
            ["one\n", "two\n", "three\n", "four\n", "five\n"].map(|line| file.add(line).expect("a write")).into();
        assert_eq!(deleted, [false, false, false, false, true]);
        let read = |name: &str| fs::read_to_string(directory.path().join("rejected").join(name)).expect("a file");
        assert_eq!((read("rabbit.jsonl").as_str(), read("rabbit.jsonl.old").as_str()), ("five\n", "three\nfour\n"));
    }

    #[test]
    fn a_body_is_kept_whatever_it_is() {
        let line = |body: &[u8]| {
            let rejected = Rejected { time: "now".into(), origin: "delivery 1", id: None, reason: "no", body: body.into() };
            serde_json::to_string(&rejected).expect("JSON")
        };
        assert_eq!(line(b"{\"a"), r#"{"time":"now","origin":"delivery 1","id":null,"reason":"no","body":"{\"a"}"#);
        assert_eq!(line(b"\xff"), r#"{"time":"now","origin":"delivery 1","id":null,"reason":"no","body_base64":"/w=="}"#);
    }
}
