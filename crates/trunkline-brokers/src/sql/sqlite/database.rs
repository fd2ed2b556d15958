//! The connection to a SQLite database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior};
use trunkline_core::{CursorKey, Event, Offset};

use super::schema;
use crate::cursor::{Astray, Cursor, Known};
use crate::paths::{Identity, absolute, missing_directory};
use crate::sql::refused::Refused;

/// How long a call waits for another writer. Short, because the delivery tries again and meanwhile the call holds a thread.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a SQLite database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In memory, gone with the process: for trying things out.
    Memory,
    /// In a file, which is created when it is missing; its directory is not.
    File(PathBuf),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str(":memory:"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl Location {
    /// The same place with a path from the root.
    pub(in crate::sql) fn absolute(&self) -> Self {
        match self {
            Self::Memory => Self::Memory,
            Self::File(path) => Self::File(absolute(path)),
        }
    }

    /// A table in it, for a person.
    pub(in crate::sql) fn table(&self, name: &str) -> String {
        format!("table {name} in the SQLite database `{self}`")
    }

    /// Which file it is at this moment; `None` when there is none.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Memory => None,
            Self::File(path) => path.metadata().ok().map(|metadata| Identity::new(&metadata)),
        }
    }

    /// Whether there is nothing yet.
    fn is_new(&self) -> bool {
        match self {
            Self::Memory => true,
            Self::File(path) => path.metadata().map_or(true, |metadata| metadata.len() == 0),
        }
    }

    /// That its tables do not have the right shape, for a person.
    pub(super) fn objects(&self, objection: &str) -> String {
        format!("the database `{self}` cannot be used: {objection}")
    }

    /// What went wrong, for a person.
    pub(in crate::sql) fn explain(&self, error: &rusqlite::Error) -> String {
        match (error.sqlite_error_code(), self) {
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => {
                format!("the database `{self}` is locked by another process")
            }
            (Some(ErrorCode::CannotOpen), Self::File(path)) if missing_directory(path).is_some() => {
                format!("cannot open the database `{self}`: {}", missing_directory(path).unwrap_or_default())
            }
            _ => format!("the database `{self}` failed: {error}"),
        }
    }
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Appended {
    /// So many events were there already, and what is known of the cursor now. Committed up to the refused row, if there is one.
    Done { there: usize, refused: Option<Refused>, known: Known },
    /// Nothing was done, because the cursor is where it cannot be; at this offset, if it is anywhere.
    Astray(Astray, Option<Offset>),
}

/// An open database with both tables.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// Whether there was nothing in it when it was opened.
    pub(super) is_new: bool,
    /// `None` in memory.
    identity: Option<Identity>,
}

impl Database {
    /// Opens or creates the database and its tables.
    pub(super) fn open(location: &Location) -> Result<Self, String> {
        let explain = |error: rusqlite::Error| location.explain(&error);
        let is_new = location.is_new();
        let connection = match location {
            Location::Memory => Connection::open_in_memory().map_err(explain)?,
            Location::File(path) => {
                let connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(explain)?;
                if is_new {
                    // One sync per commit instead of several, and readers never stand in our way. What exists keeps its
                    // mode: somebody may copy the one file, or read it where shared memory does not work.
                    connection.pragma_update(None, "journal_mode", "WAL").map_err(explain)?;
                }
                connection
            }
        };
        prepare(&connection).map_err(explain)?;
        object(&connection, location)?;
        schema::create(&connection).map_err(explain)?;
        Ok(Self { connection, is_new, identity: location.identity() })
    }

    /// Whether [`open`](Self::open) would succeed, without creating or writing anything.
    pub(super) fn check(location: &Location) -> Result<(), String> {
        let Location::File(path) = location else { return Ok(()) };
        if !path.exists() {
            let missing = missing_directory(path);
            return missing.map_or(Ok(()), |reason| Err(format!("cannot create the database `{location}`: {reason}")));
        }
        let explain = |error: rusqlite::Error| location.explain(&error);
        let connection = connect(path, OpenFlags::empty()).map_err(explain)?;
        object(&connection, location)?;
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK").map_err(explain)
    }

    /// Whether `location` still leads to this database.
    pub(super) fn is_at(&self, location: &Location) -> bool {
        self.identity == location.identity()
    }

    /// A sentence when the tables do not have the right shape any more.
    pub(super) fn objection(&self) -> rusqlite::Result<Option<String>> {
        schema::objection(&self.connection)
    }

    /// The cursor that was committed last.
    pub(super) fn cursor(&self, key: &CursorKey) -> rusqlite::Result<Option<Cursor>> {
        cursor(&self.connection, key)
    }

    /// Inserts what of `events` is not there yet, up to the first that the table refuses, and moves the cursor to that one, or to
    /// `to` when there is none, in one transaction. `known` is what this run knows of the cursor.
    pub(super) fn append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        known: Option<&Known>,
        to: &Cursor,
    ) -> rusqlite::Result<Appended> {
        let transaction = self.begin()?;
        let found = cursor(&transaction, key)?;
        let position = found.as_ref().map(|found| found.next);
        let current = match known {
            None => Known::first(found, &to.writer),
            Some(known) => match known.find(found, &to.writer) {
                Ok(current) => current,
                Err(astray) => return Ok(Appended::Astray(astray, position)),
            },
        };
        let there = current.there(events);
        if there > 0 && there == events.len() {
            return Ok(Appended::Done { there, refused: None, known: current });
        }
        let fresh = events.get(there..).unwrap_or_default();
        let refused = insert(&transaction, fresh)?;
        let next = refused.as_ref().map_or(to.next, |refused| refused.offset);
        let to = Cursor { next, writer: to.writer.clone() };
        if refused.is_some() && transaction.is_autocommit() {
            // A trigger or constraint rolled the whole transaction back; now without the row that made it do so.
            drop(transaction);
            let taken = refused.as_ref().map_or(fresh, |refused| refused.before(fresh));
            return Ok(match self.append(taken, key, known, &to)? {
                Appended::Done { known, .. } => Appended::Done { there, refused, known },
                astray @ Appended::Astray(..) => astray,
            });
        }
        move_cursor(&transaction, key, &to)?;
        transaction.commit()?;
        Ok(Appended::Done { there, refused, known: Known::left(to) })
    }

    /// Inserts `events` up to the first that the table refuses, which is answered. The cursor `passes`, when it stands at one of
    /// them, is moved past it, by a writer.
    pub(super) fn replay(
        &mut self,
        events: &[Arc<Event>],
        passes: Option<(&CursorKey, &str)>,
    ) -> rusqlite::Result<Option<Refused>> {
        let transaction = self.begin()?;
        let refused = insert(&transaction, events)?;
        let inserted = refused.as_ref().map_or(events, |refused| refused.before(events));
        if refused.is_some() && transaction.is_autocommit() {
            drop(transaction);
            return Ok(self.replay(inserted, passes)?.or(refused));
        }
        for (event, (key, writer)) in inserted.iter().zip(passes.into_iter().cycle()) {
            pass(&transaction, key, event.offset, writer)?;
        }
        transaction.commit()?;
        Ok(refused)
    }

    /// Immediate: a transaction that begins by reading and is overtaken cannot be upgraded by waiting.
    fn begin(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.connection.transaction_with_behavior(TransactionBehavior::Immediate)
    }
}

/// Inserts rows up to the first that the table refuses. A refused INSERT undoes itself and leaves the transaction as it was,
/// so no savepoints are needed.
fn insert(transaction: &Transaction<'_>, events: &[Arc<Event>]) -> rusqlite::Result<Option<Refused>> {
    let mut insert = transaction.prepare_cached("INSERT INTO events (sender_id, data) VALUES (?1, ?2)")?;
    for (index, event) in events.iter().enumerate() {
        match insert.execute((event.conversation.as_str(), event.body_str())) {
            Ok(_) => {}
            Err(error) if is_about_the_row(&error) => return Ok(Some(Refused::new(index, event, error))),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn cursor(connection: &Connection, key: &CursorKey) -> rusqlite::Result<Option<Cursor>> {
    let sql = "SELECT next_offset, writer FROM trunkline_cursors WHERE journal = ?1 AND subscription = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| Ok(Cursor { next: row.get::<_, i64>(0)?.cast_unsigned(), writer: row.get(1)? });
    statement.query_row((key.journal.to_string(), &*key.subscription), read).optional()
}

fn move_cursor(transaction: &Transaction<'_>, key: &CursorKey, to: &Cursor) -> rusqlite::Result<()> {
    let sql = "INSERT INTO trunkline_cursors (journal, subscription, next_offset, writer) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (journal, subscription) DO UPDATE SET next_offset = excluded.next_offset, writer = excluded.writer";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute((key.journal.to_string(), &*key.subscription, to.next.cast_signed(), &to.writer))?;
    Ok(())
}

/// Moves a cursor that stands at a replayed event past it.
fn pass(transaction: &Transaction<'_>, key: &CursorKey, offset: Offset, writer: &str) -> rusqlite::Result<()> {
    let sql = "UPDATE trunkline_cursors SET next_offset = next_offset + 1, writer = ?4
               WHERE journal = ?1 AND subscription = ?2 AND next_offset = ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute((key.journal.to_string(), &*key.subscription, offset.cast_signed(), writer))?;
    Ok(())
}

/// Whether another row could succeed where this one failed.
fn is_about_the_row(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch))
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Without the flag for URIs: a file may be called `file:x`.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | flags;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Opens a database that exists, for writing beside its other users.
pub(super) fn open_for_writing(location: &Location) -> rusqlite::Result<Connection> {
    let connection = match location {
        Location::Memory => Connection::open_in_memory()?,
        Location::File(path) => connect(path, OpenFlags::empty())?,
    };
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // With a write-ahead log the same as FULL: a commit is on the disk before we say so. With a rollback journal also the
    // directory is synced, without which a power cut can bring the journal back and undo the commit.
    connection.pragma_update(None, "synchronous", "EXTRA")?;
    // As in the original, whose rows no foreign key ever refused.
    connection.pragma_update(None, "foreign_keys", false)
}

fn object(connection: &Connection, location: &Location) -> Result<(), String> {
    match schema::objection(connection) {
        Ok(None) => Ok(()),
        Ok(Some(objection)) => Err(location.objects(&objection)),
        Err(error) => Err(location.explain(&error)),
    }
}
