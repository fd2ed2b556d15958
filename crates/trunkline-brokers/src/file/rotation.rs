//! When a file is rotated, and what the old one is called then.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// When a file is rotated, and what becomes of the old ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Before it grows beyond so many bytes. A single batch that is larger gets a file of its own.
    pub size: Option<u64>,
    /// With the first event of a new period; periods of this length are counted from 1970-01-01T00:00:00Z, so that days begin
    /// at midnight UTC.
    pub every: Option<Duration>,
    /// How many rotated files are kept; all when there is no number.
    pub keep: Option<usize>,
    /// Whether rotated files are compressed with gzip.
    pub compress: bool,
}

impl Rotation {
    /// Whether a file of `length` bytes that was written to at `written` is rotated before `more` bytes are written at `now`.
    pub(super) fn is_due(&self, length: u64, more: usize, written: SystemTime, now: SystemTime) -> bool {
        let is_full = self.size.is_some_and(|size| length.saturating_add(more as u64) > size);
        let is_old = self.every.is_some_and(|every| period(written, every) < period(now, every));
        length > 0 && (is_full || is_old)
    }
}

fn period(time: SystemTime, every: Duration) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() / every.as_millis().max(1)
}

/// The moment of a rotation as it stands in a name, `20261121T140503.250Z`. Names sort as the moments do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(String);

const FORM: &str = "%Y%m%dT%H%M%S.%3fZ";

impl Stamp {
    fn new(time: Timestamp) -> Self {
        Self(time.strftime(FORM).to_string())
    }

    fn time(&self) -> Option<Timestamp> {
        let civil = DateTime::strptime("%Y%m%dT%H%M%S%.fZ", &self.0).ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    fn parse(text: &str) -> Option<Self> {
        let stamp = Self(text.to_owned());
        (Self::new(stamp.time()?) == stamp).then_some(stamp)
    }

    /// What the file at `path` is called that was rotated at this moment.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        with_suffix(path, &format!(".{}", self.0))
    }

    /// The moments at which the file at `path` was rotated, as far as the files are still there, compressed or not. What is
    /// not called as we call it is none of ours.
    pub(super) fn all(path: &Path) -> io::Result<BTreeSet<Self>> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(directory_of(path))? {
            let entry = entry?.file_name();
            let rest = entry.as_encoded_bytes().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"."));
            let rest = rest.and_then(|rest| std::str::from_utf8(rest).ok());
            found.extend(rest.and_then(|rest| Self::parse(rest.strip_suffix(".gz").unwrap_or(rest))));
        }
        Ok(found)
    }

    /// A moment that nothing is called after yet: now, or just after the newest when the clock went back.
    pub(super) fn next(path: &Path, now: SystemTime) -> io::Result<Self> {
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now =
            i64::try_from(millis).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or(Timestamp::MAX);
        let newest = Self::all(path)?.pop_last().and_then(|stamp| stamp.time());
        let behind = newest.and_then(|newest| newest.checked_add(Duration::from_millis(1)).ok());
        Ok(Self::new(behind.map_or(now, |behind| behind.max(now))))
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory in which `path` lies.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_file_is_rotated_before_it_grows_too_large_and_never_when_it_is_empty() {
        let rotation = Rotation { size: Some(100), ..Rotation::default() };
        let is_due = |length, more| rotation.is_due(length, more, at(0), at(1_000_000));
        assert!(!is_due(0, 1000) && !is_due(60, 40) && is_due(60, 41) && is_due(100, 1));
    }

    #[test]
    fn periods_begin_at_midnight_utc_and_a_clock_that_goes_back_rotates_nothing() {
        let day = Rotation { every: Some(Duration::from_hours(24)), ..Rotation::default() };
        let midnight = 1_795_219_200;
        let is_due = |written, now| day.is_due(1, 1, at(written), at(now));
        assert!(is_due(midnight - 1, midnight) && !is_due(midnight, midnight + 86_399) && is_due(midnight, midnight + 86_400));
        assert!(!is_due(midnight, midnight - 1));
        assert!(!day.is_due(0, 1, at(0), at(midnight)));
    }

    #[test]
    fn names_sort_by_time_and_are_never_given_twice() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let touch = |name: &str| std::fs::write(directory.path().join(name), "").expect("a file");
        let now = at(1_795_273_503) + Duration::from_millis(250);
        let name = |stamp: Stamp| stamp.path(Path::new("log")).display().to_string();
        assert_eq!(name(Stamp::next(&path, now).expect("a name")), "log.20261121T150503.250Z");
        touch("log.20261121T150503.250Z");
        assert_eq!(name(Stamp::next(&path, now).expect("a name")), "log.20261121T150503.251Z");
        touch("log.20270101T000000.999Z.gz");
        assert_eq!(name(Stamp::next(&path, now).expect("a name")), "log.20270101T000001.000Z");
        for theirs in [
            "log",
            "log.1",
            "log.cursor",
            "log.20261121T150503Z",
            "log.20261341T150503.250Z",
            "log.20261121T150503.250Z.bz2",
            "log.20261121T150503.250Z.gz.tmp",
            "log.20261121T150503.2500Z",
            "other.20281121T150503.250Z",
            "log20281121T150503.250Z",
        ] {
            touch(theirs);
        }
        assert_eq!(Stamp::all(&path).expect("a list").len(), 2);
    }
}
