//! The open file: what is there is compared, what is missing is appended.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{info, warn};
use trunkline_core::{CursorKey, Event, Offset};

use super::append::{AppendFile, Change};
use super::cursor::{CursorFile, Record};
use super::rotation::{Stamp, directory_of};
use super::{Fsync, Options};
use crate::paths::{Identity, describe};

/// A file that lines are appended to, with its cursor.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: AppendFile,
    identity: Identity,
    /// `None` for devices and pipes, which have no end to compare.
    cursor: Option<CursorFile>,
    key: CursorKey,
    /// What the cursor says comes next.
    next: Option<Offset>,
    /// What an earlier process wrote after its last cursor and the coming events have not yet been compared with.
    unread: Range<u64>,
    /// Whether the cursor on disk describes the file well enough for a crash in the next write.
    settled: bool,
    strangers_reported: bool,
    options: Options,
    has_rotated: bool,
    /// What the lines of a batch are put into, so that memory is not asked for every time.
    buffer: Vec<u8>,
}

/// The most bytes that are kept for the next batch; by default none is much larger.
const MOST_KEPT: usize = 2 << 20;

/// The permissions of a file that is new, as everywhere.
const USUAL_MODE: u32 = 0o666;

impl Log {
    /// Opens or creates the file and its cursor, and finds out what the cursor does not cover.
    pub(super) fn open(path: &Path, key: &CursorKey, options: &Options) -> Result<Self, String> {
        let (file, metadata) = AppendFile::open(path, USUAL_MODE).map_err(|error| describe("open", path, &error))?;
        let end = file.end();
        let mut log = Self {
            path: path.to_owned(),
            file,
            identity: Identity::new(&metadata),
            cursor: None,
            key: key.clone(),
            next: None,
            unread: end..end,
            settled: false,
            strangers_reported: false,
            options: options.clone(),
            has_rotated: false,
            buffer: Vec::new(),
        };
        if metadata.is_file() {
            let (cursor, record) = CursorFile::open(&CursorFile::path_for(path))?;
            // What an earlier process wrote last is not on the disk for that alone.
            cursor.sync(options.fsync).map_err(|error| describe("sync the cursor of", path, &error))?;
            log.cursor = Some(cursor);
            log.believe(record);
            if !log.settled {
                log.file.finish_last_line().map_err(|error| describe("write", path, &error))?;
            }
        }
        Ok(log)
    }

    /// The offset of the next event, when the cursor is that of the subscription.
    pub(super) fn next(&self) -> Option<Offset> {
        self.next
    }

    /// Whether this is the log for `key`, and its path still leads to this file and to its cursor.
    pub(super) fn is_current(&self, key: &CursorKey) -> bool {
        self.key == *key
            && self.identity.is_at(&self.path)
            && self.cursor.as_ref().is_none_or(|cursor| cursor.is_at(&CursorFile::path_for(&self.path)))
    }

    /// Whether the file was rotated since the last call.
    pub(super) fn take_has_rotated(&mut self) -> bool {
        std::mem::take(&mut self.has_rotated)
    }

    /// Sees to it that the lines of `events` are in the file and on the disk, and moves the cursor to `next`.
    ///
    /// After an error the log must be opened anew.
    pub(super) fn append(&mut self, events: &[Arc<Event>], next: Option<Offset>) -> io::Result<()> {
        let mut lines = std::mem::take(&mut self.buffer);
        put_lines(events, &mut lines);
        self.put(events, &lines, next)?;
        if lines.capacity() <= MOST_KEPT {
            self.buffer = lines;
        }
        Ok(())
    }

    fn put(&mut self, events: &[Arc<Event>], lines: &[u8], next: Option<Offset>) -> io::Result<()> {
        if self.cursor.is_none() {
            return self.file.stream(lines);
        }
        self.notice_strangers()?;
        let there = if next.is_some() { self.skip_what_is_there(lines)? } else { self.leave_what_is_there()? };
        let (there, missing) = lines.split_at(there);
        if missing.is_empty() {
            // The process that wrote them may have died before it synced them.
            self.file.sync(self.options.fsync)?;
        } else {
            let first = next.map(|_| first_behind(there.len(), events));
            // Not while a line is torn, or while it is not known what the end of the file is.
            if there.last().is_none_or(|&byte| byte == b'\n') && self.unread.is_empty() && self.is_rotation_due(missing.len())? {
                self.rotate(first.or(self.next))?;
            }
            if let Some(first) = first.filter(|_| !self.settled) {
                self.settle(first)?;
            }
            self.file.append(missing, self.options.fsync)?;
        }
        self.move_cursor(next);
        if next.is_none() {
            // A power cut may set the cursor back before the replay, and the next events are not those replayed.
            self.settled = false;
        }
        Ok(())
    }

    /// Takes over what the cursor says, as far as it can be true.
    fn believe(&mut self, record: Option<Record>) {
        let path = self.path.display();
        let Some(record) = record else { return };
        if record.key != self.key {
            warn!(%path, "Cursor of another journal or subscription was found and is begun anew");
            return;
        }
        self.next = Some(record.next);
        if record.length <= self.file.end() {
            self.unread = record.length..self.file.end();
            self.settled = true;
        } else if record.identity == self.identity {
            warn!(%path, length = self.file.end(), recorded = record.length, "File is shorter than it was");
        } else {
            info!(%path, "File was rotated");
        }
    }

    /// Takes account of what others did to the file since the last call.
    fn notice_strangers(&mut self) -> io::Result<()> {
        let recorded = self.file.end();
        let change = self.file.look()?;
        let length = self.file.end();
        match change {
            Change::Nothing => return Ok(()),
            Change::Shrunk => {
                warn!(path = %self.path.display(), length, recorded, "File is shorter than it was");
                self.unread = length..length;
            }
            Change::Grown if self.strangers_reported => {}
            Change::Grown => {
                warn!(path = %self.path.display(), "Somebody else writes into the file");
                self.strangers_reported = true;
            }
        }
        self.settled = false;
        self.file.finish_last_line()
    }

    /// How many bytes of `lines` are in the file already; what follows them belongs at its end.
    fn skip_what_is_there(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Ok(0);
        }
        let length = usize::try_from(self.unread.end - self.unread.start).map_or(lines.len(), |left| left.min(lines.len()));
        let same = self.file.count_same(self.unread.start, lines.get(..length).unwrap_or_default())?;
        let whole = lines.iter().take(same).rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        // A line that ends too early can be completed only while nothing stands behind it.
        if same == length && (same == whole || self.unread.end == self.file.end()) {
            self.unread.start += length as u64;
            return Ok(length);
        }
        warn!(path = %self.path.display(), at = self.unread.start, "End of the file was not what was written last; events may be repeated");
        self.unread = self.file.end()..self.file.end();
        self.settled = false;
        self.file.finish_last_line()?;
        Ok(whole)
    }

    /// A replay is written in any case, but not into the middle of a torn line.
    fn leave_what_is_there(&mut self) -> io::Result<usize> {
        if !self.unread.is_empty() {
            let is_last = self.unread.end == self.file.end();
            self.file.finish_last_line()?;
            if is_last {
                // It may have lacked nothing but its end.
                self.unread.end = self.file.end();
            }
        }
        Ok(0)
    }

    fn is_rotation_due(&self, more: usize) -> io::Result<bool> {
        let Some(rotation) = &self.options.rotate else { return Ok(false) };
        Ok(rotation.is_due(self.file.end(), more, self.file.metadata()?.modified()?, SystemTime::now()))
    }

    /// Gives the file another name and goes on in a new one; `next` is the first event for the new one, where there is a
    /// cursor.
    ///
    /// At whatever point this is cut short, the cursor on the disk is right: it speaks of the end of the old file until the
    /// new one has its name, and an empty file at the path is the new one. Nothing is written to that before the cursor
    /// speaks of it.
    fn rotate(&mut self, next: Option<Offset>) -> io::Result<()> {
        let explain = |error: io::Error| io::Error::new(error.kind(), format!("it cannot be rotated: {error}"));
        self.file.sync(self.options.fsync)?;
        if let Some(next) = next {
            self.settle(next)?;
        }
        // Of a symbolic link, what it leads to is renamed, so that the link goes on leading to the newest.
        let path = fs::canonicalize(&self.path).map_err(explain)?;
        let rotated = Stamp::next(&path, SystemTime::now()).map_err(explain)?.path(&path);
        let mode = self.file.metadata()?.mode();
        fs::rename(&path, &rotated).map_err(explain)?;
        let (file, metadata) = AppendFile::open(&self.path, mode & 0o7777).map_err(explain)?;
        if metadata.mode() != mode {
            file.set_permissions(mode).map_err(explain)?;
        }
        info!(path = %self.path.display(), rotated = %rotated.display(), "File was rotated");
        let end = file.end();
        (self.file, self.identity, self.unread) = (file, Identity::new(&metadata), end..end);
        (self.settled, self.strangers_reported, self.has_rotated) = (false, false, true);
        if let Some(next) = next {
            self.settle(next)?;
        }
        Ok(())
    }

    /// Puts the cursor at the end of the file and on the disk, behind the directories that name both files: a power cut must
    /// not leave lines behind that no cursor accounts for.
    fn settle(&mut self, next: Offset) -> io::Result<()> {
        let Some(cursor) = &self.cursor else { return Ok(()) };
        if self.options.fsync == Fsync::Batch {
            for directory in directories(&self.path) {
                // Where the directory may be written but not read, its entries are safe a little later.
                if let Err(error) = File::open(&directory).and_then(|directory| directory.sync_all()) {
                    warn!(%error, path = %directory.display(), "Directory was not synced");
                }
            }
        }
        cursor.write(&self.record(next))?;
        cursor.sync(self.options.fsync)?;
        self.settled = true;
        Ok(())
    }

    /// Writes the cursor after a batch. The lines are safe by now, so a failure only makes the next start compare more.
    fn move_cursor(&mut self, next: Option<Offset>) {
        // A replay lengthens the file and leaves the cursor where it is; as long as something is to be compared, the
        // length must stay in front of it.
        let Some(next) = next.or(self.next.filter(|_| self.settled && self.unread.is_empty())) else { return };
        self.next = Some(next);
        let Some(cursor) = &self.cursor else { return };
        if let Err(error) = cursor.write(&self.record(next)) {
            warn!(%error, path = %self.path.display(), "Cursor file was not written");
        }
    }

    fn record(&self, next: Offset) -> Record {
        let length = if self.unread.is_empty() { self.file.end() } else { self.unread.start };
        Record { key: self.key.clone(), next, identity: self.identity, length }
    }
}

/// Where the cursor and the file have their names: a symbolic link leads elsewhere.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let its_own = fs::canonicalize(directory_of(path)).unwrap_or_else(|_| directory_of(path).to_owned());
    let real = fs::canonicalize(path).map_or_else(|_| its_own.clone(), |file| directory_of(&file).to_owned());
    [its_own, real].into()
}

/// Puts a line for each event into `lines`, and nothing else.
fn put_lines(events: &[Arc<Event>], lines: &mut Vec<u8>) {
    lines.clear();
    lines.reserve(events.iter().map(|event| event.body.len() + 1).sum());
    for event in events {
        lines.extend_from_slice(&event.body);
        lines.push(b'\n');
    }
}

/// The offset of the first of `events` whose line is not complete in `length` bytes.
fn first_behind(length: usize, events: &[Arc<Event>]) -> Offset {
    let mut end = 0;
    let is_behind = |event: &&Arc<Event>| {
        end += event.body.len() + 1;
        end > length
    };
    events.iter().find(is_behind).map_or(0, |event| event.offset)
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

    use super::super::Rotation;
    use super::*;

    fn event(offset: Offset) -> Arc<Event> {
        let body = format!("{{\"sender_id\": \"u\", \"event\": \"restart\", \"timestamp\": {offset}}}");
        Arc::new(NewEvent::new(Kind::Event, "u", "restart", body).recorded(JournalId::random(), Timestamp(1), offset))
    }

    fn lines(events: &[Arc<Event>]) -> Vec<u8> {
        let mut lines = Vec::new();
        put_lines(events, &mut lines);
        lines
    }

    /// What stands in the rotated files and in the last one.
    fn everything(path: &Path) -> Vec<u8> {
        let stamps = Stamp::all(path).expect("a directory");
        let rotated = stamps.iter().map(|stamp| stamp.path(path)).chain([path.to_owned()]);
        rotated.flat_map(|file| std::fs::read(file).expect("a file")).collect()
    }

    #[test]
    fn a_crash_at_any_step_of_a_rotation_loses_and_doubles_nothing() {
        let events: Vec<_> = (1..6).map(event).collect();
        let expected = lines(&events);
        let options = Options { rotate: Some(Rotation { size: Some(100), ..Rotation::default() }), ..Options::default() };
        let torn = lines(&events[2..4]);
        for step in 0..=4 + torn.len() {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("log");
            let key = CursorKey { journal: JournalId::random(), subscription: "s".into() };
            let mut log = Log::open(&path, &key, &Options::default()).expect("a log");
            log.append(&events[..2], Some(3)).expect("a write");
            if step >= 1 {
                log.settle(3).expect("a cursor");
            }
            if step >= 2 {
                std::fs::rename(&path, Stamp::next(&path, SystemTime::now()).expect("a name").path(&path)).expect("a rename");
            }
            if step >= 3 {
                drop(AppendFile::open(&path, USUAL_MODE).expect("a file"));
            }
            drop(log);
            if step >= 4 {
                Log::open(&path, &key, &options).expect("a log").settle(3).expect("a cursor");
                std::fs::write(&path, &torn[..step - 4]).expect("what reached the disk");
            }

            let mut log = Log::open(&path, &key, &options).expect("a log");
            assert_eq!(log.next(), Some(3), "step {step}");
            log.append(&events[2..4], Some(5)).expect("a write");
            log.append(&events[4..], Some(6)).expect("a write");
            assert_eq!(everything(&path), expected, "step {step}");
        }
    }

    #[test]
    fn a_crash_at_any_byte_of_the_very_first_write_doubles_nothing() {
        let events = [event(7), event(8)];
        let expected = lines(&events);
        for length in 0..=expected.len() {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("log");
            let key = CursorKey { journal: JournalId::random(), subscription: "s".into() };
            let mut log = Log::open(&path, &key, &Options::default()).expect("a log");
            log.file = AppendFile::read_only(&path).expect("a file that cannot be written");
            log.append(&events, Some(9)).expect_err("no write");
            drop(log);
            std::fs::write(&path, &expected[..length]).expect("what reached the disk");

            let mut log = Log::open(&path, &key, &Options::default()).expect("a log");
            assert_eq!(log.next(), Some(7));
            log.append(&events, Some(9)).expect("a write");
            assert_eq!(std::fs::read(&path).expect("the file"), expected, "crash at {length}");
        }
    }

    #[test]
    fn a_power_cut_at_any_byte_of_the_write_behind_a_replay_doubles_nothing() {
        let (events, replayed) = ((1..5).map(event).collect::<Vec<_>>(), [event(100)]);
        let torn = lines(&events[2..]);
        for length in 0..=torn.len() {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("log");
            let key = CursorKey { journal: JournalId::random(), subscription: "s".into() };
            let mut log = Log::open(&path, &key, &Options::default()).expect("a log");
            log.append(&events[..2], Some(3)).expect("a write");
            let cursor = std::fs::read(CursorFile::path_for(&path)).expect("a cursor");
            log.append(&replayed, None).expect("a write");
            // What was not synced did not reach the disk.
            std::fs::write(CursorFile::path_for(&path), cursor).expect("the cursor as it was");
            let before = std::fs::read(&path).expect("the file");
            log.file = AppendFile::read_only(&path).expect("a file that cannot be written");
            log.append(&events[2..], Some(5)).expect_err("no write");
            drop(log);
            std::fs::write(&path, [&before, &torn[..length]].concat()).expect("what reached the disk");

            let mut log = Log::open(&path, &key, &Options::default()).expect("a log");
            assert_eq!(log.next(), Some(3));
            log.append(&events[2..], Some(5)).expect("a write");
            assert_eq!(std::fs::read(&path).expect("the file"), [before, torn.clone()].concat(), "power cut at {length}");
        }
    }

    #[test]
    fn both_directories_of_a_symbolic_link_are_synced() {
        let (directory, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (link, real) = (directory.path().join("log"), elsewhere.path().join("real"));
        std::fs::write(&real, "").expect("a file");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        let paths = |directories: &[&Path]| directories.iter().map(|path| path.to_path_buf()).collect();
        assert_eq!(directories(&link), paths(&[directory.path(), elsewhere.path()]));
        assert_eq!(directories(&real), paths(&[elsewhere.path()]));
    }
}
