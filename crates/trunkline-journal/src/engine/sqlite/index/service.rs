//! The thread that writes the index behind the journal, and the memory it writes from.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use trunkline_core::{JournalId, Offset};

use super::super::read;
use super::super::row::Found;
use super::file;
use super::tail::{BATCH, Entries, Tail};
use crate::engine::Record;
use crate::shared::Health;
use crate::{By, ConversationSummary, OpenError};

/// The writer of the journal waits when so many sets wait for the index, which bounds the memory.
const MOST_WAITING: usize = 8;
/// A smaller set is written after this time.
const REST: Duration = Duration::from_secs(1);
/// A disk that fails so many writes in a row, one in [`REST`], is given up.
const MOST_FAILURES: u32 = 30;

/// The index, shared by the writer, the readers and its own thread.
#[derive(Debug)]
pub(in crate::engine::sqlite) struct Index {
    state: Mutex<IndexState>,
    changed: Condvar,
    health: Arc<Health>,
}

#[derive(Debug, Default)]
struct IndexState {
    tail: Tail,
    closing: bool,
    /// Why the file cannot be used; it is made anew at the next start.
    broken: Option<String>,
    /// Identities and events below these offsets may be removed.
    prune: (Offset, Offset),
}

impl Index {
    /// Opens the file, reads what it has not seen yet from the journal, and starts the thread. `tick` is called about once a
    /// second.
    pub(in crate::engine::sqlite) fn start(
        directory: &Path,
        events: &Connection,
        journal: JournalId,
        head: Offset,
        health: Arc<Health>,
        tick: impl Fn() + Send + 'static,
    ) -> Result<(Arc<Self>, JoinHandle<()>), OpenError> {
        let path = directory.join("index.db");
        let failed = |error: rusqlite::Error| OpenError::at(&path, &error);
        let open = || {
            let mut connection = file::open_for_writing(directory, journal, head)?;
            catch_up(&mut connection, events, journal, head).map(|rest| (connection, rest))
        };
        // Damage in the middle of the file shows itself when it is written.
        let opened = open().or_else(|error| {
            tracing::warn!(%error, "Index file could not be written, it is made anew");
            file::remove(directory);
            open()
        });
        let (connection, rest) = opened.map_err(failed)?;
        let state = IndexState { tail: Tail { filling: rest, writing: None }, ..IndexState::default() };
        let index = Arc::new(Self { state: Mutex::new(state), changed: Condvar::new(), health });
        let (shared, directory) = (Arc::clone(&index), directory.to_owned());
        let thread = std::thread::Builder::new()
            .name("journal-index".to_owned())
            .spawn(move || shared.run(connection, &directory, &tick))
            .map_err(|error| OpenError::at(&path, &error))?;
        Ok((index, thread))
    }

    fn lock(&self) -> MutexGuard<'_, IndexState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the records of a commit. Waits while too many wait already.
    pub(in crate::engine::sqlite) fn extend(&self, records: &[Record]) {
        let mut state = self.lock();
        while state.tail.filling.batches() >= MOST_WAITING && state.broken.is_none() && !state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.broken.is_some() {
            return;
        }
        for record in records {
            state.tail.filling.add(record);
        }
        if state.tail.filling.batches() > 0 {
            self.changed.notify_all();
        }
    }

    /// The offsets of the records of a conversation whose identity may be `identity`, ascending; `file` is a connection to the index
    /// file.
    pub(in crate::engine::sqlite) fn identity(
        &self,
        file: &Connection,
        conversation: &str,
        identity: &str,
    ) -> Result<Vec<Offset>, String> {
        let hash = super::hash(conversation, identity);
        let recent = self.usable()?.tail.identity(hash);
        let mut found = file::identity(file, hash).map_err(|error| self.break_down(&error))?;
        merge(&mut found, recent);
        Ok(found)
    }

    /// Up to `most` offsets of a name from `from` on, ascending.
    pub(in crate::engine::sqlite) fn named(
        &self,
        file: &Connection,
        by: By<'_>,
        from: Offset,
        most: usize,
    ) -> Result<Vec<Offset>, String> {
        let recent = self.usable()?.tail.named(by);
        let mut found = file::named(file, by, from, most).map_err(|error| self.break_down(&error))?;
        merge(&mut found, recent.into_iter().filter(|offset| *offset >= from));
        found.truncate(most);
        Ok(found)
    }

    /// Up to `most` offsets of a name before `before`, descending.
    pub(in crate::engine::sqlite) fn named_back(
        &self,
        file: &Connection,
        by: By<'_>,
        before: Offset,
        most: usize,
    ) -> Result<Vec<Offset>, String> {
        let recent = self.usable()?.tail.named(by);
        let mut found: Vec<_> = recent.into_iter().rev().filter(|offset| *offset < before).take(most).collect();
        if let Some(rest) = most.checked_sub(found.len()).filter(|rest| *rest > 0) {
            // At the seam some are in both.
            let before = found.last().map_or(before, |last| before.min(*last));
            found.extend(file::named_back(file, by, before, rest).map_err(|error| self.break_down(&error))?);
        }
        Ok(found)
    }

    /// The conversations, those with the newest events first.
    pub(in crate::engine::sqlite) fn conversations(
        &self,
        file: &Connection,
        most: usize,
    ) -> Result<Vec<ConversationSummary>, String> {
        let mut recent = self.usable()?.tail.summaries();
        let mut found = file::conversations(file, most).map_err(|error| self.break_down(&error))?;
        for summary in &mut found {
            if let Some((events, _, last)) = recent.remove(summary.conversation.as_str())
                && last > summary.last
            {
                summary.events += events;
                summary.last = last;
            }
        }
        found.extend(recent.into_iter().map(|(name, (events, first, last))| ConversationSummary {
            conversation: name.into(),
            events,
            first,
            last,
        }));
        found.sort_unstable_by_key(|summary| std::cmp::Reverse(summary.last));
        found.truncate(most);
        Ok(found)
    }

    /// Allows identities and events below these offsets to be removed.
    pub(in crate::engine::sqlite) fn allow_pruning(&self, identities: Offset, events: Offset) {
        self.lock().prune = (identities, events);
    }

    /// Lets the thread write what it has and end.
    pub(in crate::engine::sqlite) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    fn usable(&self) -> Result<MutexGuard<'_, IndexState>, String> {
        let state = self.lock();
        match &state.broken {
            Some(reason) => Err(reason.clone()),
            None => Ok(state),
        }
    }

    /// Remembers that the file cannot be used, and says so.
    fn break_down(&self, error: &rusqlite::Error) -> String {
        let reason = format!("its index file index.db cannot be used ({error}); it is made anew at the next start");
        let mut state = self.lock();
        if state.broken.is_none() {
            tracing::error!(%error, "Index file failed");
            self.health.impair(&reason);
            state.broken = Some(reason.clone());
            state.tail = Tail::default();
        }
        self.changed.notify_all();
        reason
    }

    fn run(&self, connection: Connection, directory: &Path, tick: &dyn Fn()) {
        let mut connection = Some(connection);
        let (mut part, mut failures, mut ticked) = (0, 0, Instant::now());
        while let Some(entries) = self.next_set() {
            if let Some(open) = &mut connection
                && entries.records > 0
            {
                self.write(open, &entries, &mut failures);
            }
            self.discard_when_broken(&mut connection, directory);
            if ticked.elapsed() >= REST {
                ticked = Instant::now();
                if let Some(open) = &mut connection {
                    self.prune(open, &mut part);
                }
                tick();
            }
        }
        self.discard_when_broken(&mut connection, directory);
        if let Some(connection) = connection {
            let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    fn write(&self, connection: &mut Connection, entries: &Entries, failures: &mut u32) {
        match file::write(connection, entries) {
            Ok(()) => {
                *failures = 0;
                self.lock().tail.writing = None;
                self.changed.notify_all();
            }
            Err(error) if is_passing(&error, *failures) => {
                tracing::warn!(%error, "Index was not written");
                *failures += 1;
                self.put_back(entries);
            }
            Err(error) => drop(self.break_down(&error)),
        }
    }

    fn prune(&self, connection: &mut Connection, part: &mut u16) {
        let (identities, events) = self.lock().prune;
        if identities > 1 || events > 1 {
            if let Err(error) = file::prune(connection, *part, identities, events) {
                tracing::warn!(%error, "Index was not pruned");
            }
            *part = (*part + 1) % file::PRUNE_PARTS;
        }
    }

    /// Removes a file that cannot be used at once, so that the next start makes it anew even after a kill.
    fn discard_when_broken(&self, connection: &mut Option<Connection>, directory: &Path) {
        if self.lock().broken.is_some() && connection.take().is_some() {
            file::remove(directory);
        }
    }

    /// Waits for a set worth writing, or [`REST`]; `None` when everything is written and the journal closes.
    fn next_set(&self) -> Option<Arc<Entries>> {
        let mut state = self.lock();
        let deadline = Instant::now() + REST;
        while state.tail.filling.batches() == 0 && !state.closing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.closing && (state.tail.filling.records == 0 || state.broken.is_some()) {
            return None;
        }
        let entries = Arc::new(std::mem::take(&mut state.tail.filling));
        state.tail.writing = Some(Arc::clone(&entries));
        Some(entries)
    }

    fn put_back(&self, entries: &Entries) {
        let mut state = self.lock();
        state.tail.writing = None;
        // What is left when the journal closes is read again from it at the next start.
        state.tail.filling = if state.closing { Entries::default() } else { entries.joined(&state.tail.filling) };
        // Not to try again at once.
        drop(self.changed.wait_timeout(state, REST));
    }
}

/// Whether the same write may succeed later, when it has failed so often before: a full disk passes, and the disk that gives errors
/// may, but not for ever, because the writer of the journal waits for the index.
fn is_passing(error: &rusqlite::Error, failures: u32) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull, SystemIoFailure};
    match error.sqlite_error_code() {
        Some(DiskFull | DatabaseBusy | DatabaseLocked) => true,
        Some(SystemIoFailure) => failures < MOST_FAILURES,
        _ => false,
    }
}

/// Adds `recent` to `found`; both ascend, and at the seam some may be in both.
fn merge(found: &mut Vec<Offset>, recent: impl IntoIterator<Item = Offset>) {
    let last = found.last().copied().unwrap_or(0);
    found.extend(recent.into_iter().filter(|offset| *offset > last));
}

/// Reads the records that the file has not seen and writes all but a last, small set, which it returns.
fn catch_up(index: &mut Connection, events: &Connection, journal: JournalId, head: Offset) -> Result<Entries, rusqlite::Error> {
    let from = file::indexed_to(index)? + 1;
    if head.saturating_sub(from) > (MOST_WAITING * BATCH) as Offset {
        tracing::info!(from, head, "Reading the journal to make its index");
    }
    let mut entries = Entries::default();
    let mut result = Ok(());
    read::visit(events, journal, from, head, &mut |found| {
        if let Found::Event(record) = found {
            entries.add(&record);
        }
        if entries.batches() > 0 {
            result = file::write(index, &std::mem::take(&mut entries));
        }
        if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    result.map(|()| entries)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use trunkline_core::{NewEvent, Timestamp};

    use super::*;
    use crate::engine::sqlite::{row, schema};

    /// An index of a journal that is kept beside it.
    struct Indexed {
        directory: TempDir,
        journal: JournalId,
        events: Connection,
        index: Arc<Index>,
        thread: JoinHandle<()>,
        file: Connection,
    }

    impl Indexed {
        fn start() -> Self {
            let directory = TempDir::new().unwrap();
            let events = schema::open_for_writing(directory.path(), Timestamp(0)).unwrap();
            Self::on(directory, JournalId::random(), events, 0)
        }

        fn on(directory: TempDir, journal: JournalId, events: Connection, head: Offset) -> Self {
            let (index, thread) = Index::start(directory.path(), &events, journal, head, Arc::default(), || {}).unwrap();
            let file = file::open_for_reading(directory.path()).unwrap();
            Self { directory, journal, events, index, thread, file }
        }

        /// Appends to the journal, and to its index.
        fn add(&self, records: &[Record]) {
            for record in records {
                row::insert(&self.events, record).unwrap();
            }
            self.index.extend(records);
        }

        fn named(&self, conversation: &str) -> Vec<Offset> {
            self.index.named(&self.file, By::Conversation(conversation), 1, 100).unwrap()
        }

        /// Closes, and starts anew.
        fn again(self, head: Offset) -> Self {
            let Self { directory, journal, events, index, thread, file } = self;
            index.close();
            thread.join().unwrap();
            drop(file);
            Self::on(directory, journal, events, head)
        }
    }

    fn record(journal: JournalId, offset: Offset, conversation: &str) -> Record {
        let event = NewEvent::parse(br#"{"sender_id": "a", "event": "restart"}"#, Some(conversation), 1.0).unwrap();
        let event = Arc::new(event.recorded(journal, Timestamp(1), offset));
        Record { event, identity: Some(format!("k-{offset}")) }
    }

    #[test]
    fn what_is_in_memory_and_what_is_in_the_file_is_found_once_and_in_order() {
        let mut indexed = Indexed::start();
        let id = indexed.journal;
        indexed.add(&[record(id, 1, "a"), record(id, 2, "b"), record(id, 3, "a")]);
        assert_eq!((indexed.named("a"), indexed.named("c")), (vec![1, 3], Vec::new()));
        // After the close all of it is in the file.
        indexed = indexed.again(3);
        assert_eq!(file::indexed_to(&indexed.file).unwrap(), 3);
        indexed.add(&[record(id, 4, "a"), record(id, 5, "c")]);
        assert_eq!(indexed.named("a"), [1, 3, 4]);
        let index = &indexed.index;
        assert_eq!(index.named(&indexed.file, By::Conversation("a"), 2, 1).unwrap(), [3]);
        assert_eq!(index.named_back(&indexed.file, By::Conversation("a"), 5, 2).unwrap(), [4, 3]);
        assert_eq!(index.named_back(&indexed.file, By::Conversation("a"), 4, 9).unwrap(), [3, 1]);
        assert_eq!(index.named_back(&indexed.file, By::Conversation("a"), 9, 1).unwrap(), [4]);
        assert_eq!(index.identity(&indexed.file, "a", "k-1").unwrap(), [1]);
        assert_eq!(index.identity(&indexed.file, "a", "k-4").unwrap(), [4]);
        let summaries = index.conversations(&indexed.file, 2).unwrap();
        let shown: Vec<_> = summaries.iter().map(|it| (it.conversation.as_str(), it.events, it.first, it.last)).collect();
        assert_eq!(shown, [("c", 1, 5, 5), ("a", 3, 1, 4)]);
    }

    #[test]
    fn what_the_file_has_not_seen_is_read_from_the_journal() {
        let indexed = Indexed::start();
        let id = indexed.journal;
        // As when the process was killed: in the journal, and not in the index.
        for offset in 1..=3 {
            row::insert(&indexed.events, &record(id, offset, "a")).unwrap();
        }
        let indexed = indexed.again(3);
        assert_eq!(indexed.named("a"), [1, 2, 3]);
        // The file of another journal is made anew.
        let Indexed { directory, events, index, thread, file, .. } = indexed.again(3);
        index.close();
        thread.join().unwrap();
        drop(file);
        let other = Indexed::on(directory, JournalId::random(), events, 3);
        assert_eq!((file::indexed_to(&other.file).unwrap(), other.named("a")), (0, vec![1, 2, 3]));
    }

    #[test]
    fn what_may_go_is_pruned_part_by_part_and_nothing_when_nothing_may() {
        let (directory, id) = (TempDir::new().unwrap(), JournalId::random());
        let mut connection = file::open_for_writing(directory.path(), id, 3).unwrap();
        let mut entries = Entries::default();
        for record in [record(id, 1, "a"), record(id, 2, "b"), record(id, 3, "a")] {
            entries.add(&record);
        }
        file::write(&mut connection, &entries).unwrap();
        let reader = file::open_for_reading(directory.path()).unwrap();
        // Nobody else works on it.
        let index = Index { state: Mutex::default(), changed: Condvar::new(), health: Arc::default() };
        let mut prune = |identities, events, times: u16| {
            index.allow_pruning(identities, events);
            let mut part = 0;
            (0..times).for_each(|_| index.prune(&mut connection, &mut part));
            part
        };
        let named = |name: &str| index.named(&reader, By::Conversation(name), 1, 9).unwrap();
        let known = |name, key| index.identity(&reader, name, key).unwrap();
        assert_eq!((prune(1, 1, 3), named("a")), (0, vec![1, 3]));
        assert_eq!((prune(3, 1, file::PRUNE_PARTS), named("a")), (0, vec![1, 3]));
        assert_eq!((known("a", "k-1"), known("b", "k-2"), known("a", "k-3")), (vec![], vec![], vec![3]));
        assert_eq!(prune(0, 3, file::PRUNE_PARTS - 1), file::PRUNE_PARTS - 1);
        assert_eq!((prune(0, 3, file::PRUNE_PARTS), named("a"), named("b")), (0, vec![3], vec![]));
        // More names than parts.
        let many = Offset::from(file::PRUNE_PARTS) + 500;
        let mut connection = file::open_for_writing(directory.path(), id, 3).unwrap();
        let mut entries = Entries::default();
        for offset in 4..4 + many {
            entries.add(&record(id, offset, &format!("c{offset}")));
        }
        file::write(&mut connection, &entries).unwrap();
        prune(0, many, file::PRUNE_PARTS);
        let left = (3..4 + many).filter(|offset| !named(&format!("c{offset}")).is_empty());
        assert_eq!(left.collect::<Vec<_>>(), (many..4 + many).collect::<Vec<_>>());
    }

    #[test]
    fn many_records_are_written_while_more_come() {
        let indexed = Indexed::start();
        let id = indexed.journal;
        let most = BATCH as Offset * 3;
        for chunk in (1..=most).collect::<Vec<_>>().chunks(1_000) {
            let records: Vec<_> = chunk.iter().map(|offset| record(id, *offset, "a")).collect();
            indexed.index.extend(&records);
        }
        let found = indexed.index.named(&indexed.file, By::Conversation("a"), 1, usize::MAX).unwrap();
        assert_eq!(found, (1..=most).collect::<Vec<_>>());
        indexed.index.close();
        indexed.thread.join().unwrap();
        assert_eq!(file::indexed_to(&indexed.file).unwrap(), most);
    }

    #[test]
    fn a_file_that_cannot_be_used_is_said_to_be_and_made_anew_at_the_next_start() {
        let directory = TempDir::new().unwrap();
        let (events, id) = (schema::open_for_writing(directory.path(), Timestamp(0)).unwrap(), JournalId::random());
        let health = Arc::new(Health::default());
        let (index, thread) = Index::start(directory.path(), &events, id, 0, Arc::clone(&health), || {}).unwrap();
        let reader = file::open_for_reading(directory.path()).unwrap();
        // Somebody took a table away.
        Connection::open(directory.path().join("index.db")).unwrap().execute_batch("DROP TABLE named_events").unwrap();
        let error = index.named(&reader, By::Conversation("a"), 1, 1).unwrap_err();
        assert!(error.contains("index.db cannot be used") && error.contains("made anew"), "{error}");
        assert_eq!(health.problem().as_deref(), Some(error.as_str()));
        assert_eq!(index.identity(&reader, "a", "k").unwrap_err(), error);
        // Records are not kept for a file that is not written.
        index.extend(&[record(id, 1, "a")]);
        assert_eq!(index.lock().tail.filling.records, 0);
        // It is removed while the process runs, which may be killed.
        while directory.path().join("index.db").exists() {
            std::thread::yield_now();
        }
        index.close();
        thread.join().unwrap();
        drop(reader);
    }

    #[test]
    fn a_file_that_is_damaged_in_the_middle_is_made_anew_when_it_is_written() {
        let indexed = Indexed::start();
        let (id, most) = (indexed.journal, 2 * BATCH as Offset);
        for offset in 1..=most {
            row::insert(&indexed.events, &record(id, offset, &format!("c{offset}"))).unwrap();
        }
        let Indexed { directory, events, index, thread, file, .. } = indexed.again(BATCH as Offset);
        index.close();
        thread.join().unwrap();
        drop(file);
        let path = directory.path().join("index.db");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4_096..].fill(0x5a);
        std::fs::write(&path, bytes).unwrap();
        let indexed = Indexed::on(directory, id, events, most);
        assert_eq!((indexed.named("c1"), indexed.named(&format!("c{most}"))), (vec![1], vec![most]));
    }

    #[test]
    fn a_set_that_was_not_written_is_put_back_in_front_unless_it_closes() {
        let id = JournalId::random();
        let set = |offset| {
            let mut entries = Entries::default();
            entries.add(&record(id, offset, "a"));
            entries
        };
        for closing in [false, true] {
            // Nobody else works on it.
            let tail = Tail { filling: set(2), writing: Some(Arc::new(set(1))) };
            let state = Mutex::new(IndexState { tail, closing, ..IndexState::default() });
            let index = Index { state, changed: Condvar::new(), health: Arc::default() };
            index.put_back(&set(1));
            let found = index.lock().tail.named(By::Conversation("a"));
            assert_eq!(found, if closing { vec![] } else { vec![1, 2] });
        }
    }

    #[test]
    fn a_full_or_busy_disk_passes_and_other_errors_do_not() {
        let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
        for (code, passes) in [
            (rusqlite::ffi::SQLITE_FULL, true),
            (rusqlite::ffi::SQLITE_BUSY, true),
            (rusqlite::ffi::SQLITE_LOCKED, true),
            (rusqlite::ffi::SQLITE_IOERR, true),
            (rusqlite::ffi::SQLITE_CORRUPT, false),
            (rusqlite::ffi::SQLITE_NOTADB, false),
        ] {
            assert_eq!(is_passing(&error(code), 0), passes, "{code}");
        }
        assert!(!is_passing(&error(rusqlite::ffi::SQLITE_IOERR), MOST_FAILURES));
        assert!(is_passing(&error(rusqlite::ffi::SQLITE_FULL), MOST_FAILURES));
        let mut found = vec![1, 3];
        merge(&mut found, [2, 3, 4]);
        assert_eq!(found, [1, 3, 4]);
    }
}
