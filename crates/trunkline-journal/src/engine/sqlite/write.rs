//! The half that writes: one connection, one transaction for a batch.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode};
use trunkline_core::Timestamp;

use super::index::Index;
use super::lock::Lock;
use super::read::{self, Window};
use super::retention::{self, RetentionPlan};
use super::row::{self, Found};
use super::{dead_letters, positions, schema, subscriptions};
use crate::Options;
use crate::change::{Change, Changed, Changes};
use crate::engine::{Batch, Committed, Failed, Maintained, Numbering, Record, Removed, Write};

/// How many events retention removes in one transaction of its own.
const REMOVE_AT_ONCE: u64 = 4_096;

/// `journal.db`, open for writing.
#[derive(Debug)]
pub(crate) struct Database {
    directory: PathBuf,
    /// Held until the last write is done.
    lock: Option<Lock>,
    /// `None` after a failed write or sync: that connection is never used again.
    connection: Option<Connection>,
    index: Arc<Index>,
    /// For look-ups of identities.
    index_file: Connection,
    numbering: Numbering,
    options: Options,
    retention: RetentionPlan,
}

/// What a transaction did, and how it ended.
struct Transacted {
    committed: Committed,
    /// Whether the commit itself failed, so that nobody knows what became of it.
    failed_commit: Option<rusqlite::Error>,
}

impl Database {
    pub(super) fn new(
        directory: &Path,
        lock: Lock,
        connection: Connection,
        index: Arc<Index>,
        index_file: Connection,
        numbering: Numbering,
        options: &Options,
    ) -> Self {
        Self {
            directory: directory.to_owned(),
            lock: Some(lock),
            connection: Some(connection),
            index,
            index_file,
            numbering,
            options: options.clone(),
            retention: RetentionPlan::default(),
        }
    }

    fn transact(&self, connection: &mut Connection, batch: Batch) -> Result<Transacted, rusqlite::Error> {
        let window = Window::new(&self.options, self.numbering.next - 1);
        // Before the transaction: after a damaged page was read in one, SQLite writes nothing more in it.
        let numbered = self.numbering.number(batch.appends, |conversation, identity| {
            let candidates = self.index.identity(&self.index_file, conversation, identity)?;
            read::find_identity(connection, self.numbering.journal, window, &candidates, conversation, identity)
                .map_err(|error| error.to_string())
        });
        let transaction = connection.transaction()?;
        for record in &numbered.records {
            row::insert(&transaction, record)?;
        }
        let changes = batch.changes.iter().map(|changes| apply(&transaction, changes)).collect::<Result<_, _>>()?;
        let mut removed = Removed::default();
        if self.retention.keep_from > 0 {
            // Deleting keeps up with appending when it takes twice as many.
            removed = retention::remove(&transaction, &self.retention, numbered.records.len() as u64 * 2)?;
        }
        let failed_commit = transaction.commit().err();
        let committed = Committed { appends: numbered.appends, changes, records: numbered.records, removed };
        Ok(Transacted { committed, failed_commit })
    }

    /// After a failed transaction: keeps the connection when only the disk was full, and never uses it again otherwise.
    fn give_up(&mut self, connection: Connection, error: &rusqlite::Error, in_commit: bool) -> Failed {
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            self.connection = Some(connection);
            return Failed { reason: "the disk is full".to_owned(), maybe_recorded: false, is_broken: false };
        }
        drop(connection);
        Failed { reason: format!("a write failed ({error})"), maybe_recorded: in_commit, is_broken: true }
    }

    fn make_plan(&mut self, connection: &Connection) {
        let now = self.options.clock.now().max(self.numbering.last_time);
        match retention::plan(connection, &self.options.retention, now) {
            Ok(plan) => self.retention = plan,
            Err(error) => return tracing::warn!(%error, "Retention could not be planned"),
        }
        let first = read::bounds(connection).ok().flatten().map_or(self.numbering.next, |(first, _)| first);
        let by_age = read::offset_at(connection, now.minus(self.options.deduplication_window)).unwrap_or(1);
        let by_count = self.numbering.next.saturating_sub(self.options.deduplication_events);
        self.index.allow_pruning(by_age.max(by_count), first);
        if self.retention.keep_from <= first {
            self.retention.keep_from = 0;
        }
    }

    /// Removes what may go; and while appends are refused, proves with a small transaction that they would succeed.
    fn clean_up(&self, connection: &mut Connection, is_refused: bool) -> Result<Removed, rusqlite::Error> {
        if self.retention.keep_from == 0 && !is_refused {
            return Ok(Removed::default());
        }
        let transaction = connection.transaction()?;
        let removed = retention::remove(&transaction, &self.retention, REMOVE_AT_ONCE)?;
        if is_refused {
            schema::set_floor(&transaction, schema::floor(&transaction)?)?;
        }
        transaction.commit()?;
        Ok(removed)
    }
}

impl Write for Database {
    fn commit(&mut self, batch: Batch) -> Result<Committed, Failed> {
        let Some(mut connection) = self.connection.take() else {
            let reason = "its database has to be opened again".to_owned();
            return Err(Failed { reason, maybe_recorded: false, is_broken: true });
        };
        match self.transact(&mut connection, batch) {
            Ok(Transacted { committed, failed_commit: None }) => {
                self.connection = Some(connection);
                self.numbering.advance(&committed.records);
                self.index.extend(&committed.records);
                Ok(committed)
            }
            Ok(Transacted { failed_commit: Some(error), .. }) => Err(self.give_up(connection, &error, true)),
            Err(error) => Err(self.give_up(connection, &error, false)),
        }
    }

    fn maintain(&mut self, is_refused: bool) -> Result<Maintained, Failed> {
        let Some(mut connection) = self.connection.take() else { return Ok(Maintained::default()) };
        self.make_plan(&connection);
        match self.clean_up(&mut connection, is_refused) {
            Ok(removed) => {
                self.connection = Some(connection);
                Ok(Maintained { removed, full: self.retention.full.clone(), bytes: self.retention.bytes })
            }
            Err(error) => Err(self.give_up(connection, &error, false)),
        }
    }

    /// A fresh connection first copies the whole log into the database and syncs that; then what a failed commit left behind and is
    /// readable is durable.
    fn recover(&mut self) -> Result<Vec<Record>, String> {
        let connection =
            schema::open_for_writing(&self.directory, self.options.clock.now()).map_err(|error| error.to_string())?;
        let head = read::head(&connection).map_err(|error| error.to_string())?;
        let mut records = Vec::new();
        read::visit(&connection, self.numbering.journal, self.numbering.next, head, &mut |found| {
            if let Found::Event(record) = found {
                records.push(record);
            }
            ControlFlow::Continue(())
        })
        .map_err(|error| error.to_string())?;
        self.numbering.advance(&records);
        self.numbering.next = head + 1;
        self.index.extend(&records);
        self.connection = Some(connection);
        Ok(records)
    }

    fn close(&mut self) {
        self.index.close();
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "Log was not copied into the database; it is at the next start");
        }
        self.lock = None;
    }
}

/// Makes some changes, inside a transaction.
fn apply(events: &Connection, changes: &Changes) -> Result<Vec<Changed>, rusqlite::Error> {
    let time = changes.time;
    changes.list.iter().map(|change| apply_one(events, change, time)).collect()
}

fn apply_one(events: &Connection, change: &Change, time: Timestamp) -> Result<Changed, rusqlite::Error> {
    Ok(match change {
        Change::Progress { name, progress } => {
            subscriptions::save(events, name, progress, time)?;
            Changed::Done
        }
        Change::KeepActive { names } => {
            subscriptions::keep_active(events, names)?;
            Changed::Done
        }
        Change::AddLetter(letter) => Changed::Added(dead_letters::insert(events, letter, time)?),
        Change::SetLetter { id, state, death } => {
            Changed::Found(dead_letters::set_state(events, id, *state, death.as_ref(), time)?)
        }
        Change::RemoveLetter { id } => Changed::Found(dead_letters::delete(events, id)?),
        Change::Position { source, position } => {
            positions::save(events, source, position, time)?;
            Changed::Done
        }
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use trunkline_core::NewEvent;

    use super::*;
    use crate::Append;
    use crate::engine::sqlite;

    fn append(identity: &str) -> Append {
        let event = NewEvent::parse(br#"{"sender_id": "a", "event": "x"}"#, None, 1.0).unwrap();
        Append::one(event).known_by(Some(identity.to_owned()))
    }

    #[test]
    fn what_a_commit_left_that_nobody_saw_end_is_found_and_numbering_goes_on_behind_it() {
        let directory = TempDir::new().unwrap();
        let opened = sqlite::open(directory.path(), &Options::default(), &Arc::default(), 0, || {}).unwrap();
        let (mut writer, thread) = (opened.writer, opened.thread);
        let commit = |writer: &mut Database, identity: &str| {
            let committed = writer.commit(Batch { appends: vec![append(identity)], changes: Vec::new() });
            committed.map(|committed| committed.appends[0].clone().map(|appended| (appended.last, appended.duplicate)))
        };
        assert_eq!(commit(&mut writer, "one"), Ok(Ok((1, false))));
        // It was written, and the sync failed.
        let connection = writer.connection.take().unwrap();
        let left = writer.numbering.number(vec![append("two")], |_, _| Ok(None)).records;
        row::insert(&connection, &left[0]).unwrap();
        drop(connection);
        let broken = commit(&mut writer, "three").unwrap_err();
        assert!(broken.is_broken && !broken.maybe_recorded, "{broken:?}");
        let found: Vec<_> = writer.recover().unwrap().iter().map(|record| record.event.offset).collect();
        assert_eq!(found, [2]);
        assert_eq!(commit(&mut writer, "two"), Ok(Ok((2, true))));
        assert_eq!(commit(&mut writer, "three"), Ok(Ok((3, false))));
        assert!(writer.recover().unwrap().is_empty());
        writer.close();
        thread.join().unwrap();
    }
}
