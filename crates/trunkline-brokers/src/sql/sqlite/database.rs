//! The connection to a SQLite database.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use trunkline_core::{CursorKey, Event, Offset};

use super::schema;
use crate::job::CursorMove;
use crate::paths::{Identity, missing_directory};

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
    /// A table in it, for a person.
    pub(in crate::sql) fn table(&self, name: &str) -> String {
        format!("table {name} in the SQLite database `{self}`")
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

/// The row that a batch stopped at, because the table refused it.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its place in the batch.
    pub(super) index: usize,
    pub(super) offset: Offset,
    pub(super) reason: String,
}

impl Refused {
    /// Those of `events` that came before it.
    fn before<'e>(&self, events: &'e [Arc<Event>]) -> &'e [Arc<Event>] {
        events.get(..self.index).unwrap_or_default()
    }
}

/// An open database with both tables.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// `None` in memory.
    identity: Option<Identity>,
}

impl Database {
    /// Opens or creates the database and its tables.
    pub(super) fn open(location: &Location) -> Result<Self, String> {
        let explain = |error: rusqlite::Error| location.explain(&error);
        let connection = match location {
            Location::Memory => Connection::open_in_memory().map_err(explain)?,
            Location::File(path) => {
                let is_new = path.metadata().map_or(true, |metadata| metadata.len() == 0);
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
        let identity = match location {
            Location::Memory => None,
            Location::File(path) => path.metadata().ok().map(|metadata| Identity::new(&metadata)),
        };
        Ok(Self { connection, identity })
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
        match (location, self.identity) {
            (Location::File(path), Some(identity)) => identity.is_at(path),
            _ => true,
        }
    }

    /// The cursor that was committed last.
    pub(super) fn position(&self, cursor: &CursorKey) -> rusqlite::Result<Option<Offset>> {
        let sql = "SELECT next_offset FROM trunkline_cursors WHERE journal = ?1 AND subscription = ?2";
        let next: Option<i64> =
            self.connection.query_row(sql, (cursor.journal.to_string(), &*cursor.subscription), |row| row.get(0)).optional()?;
        Ok(next.map(i64::cast_unsigned))
    }

    /// Inserts `events` up to the first that the table refuses, and moves the cursor in one transaction: no further than to the
    /// one refused.
    pub(super) fn store(
        &mut self,
        events: &[Arc<Event>],
        cursor: &CursorKey,
        moves: CursorMove,
    ) -> rusqlite::Result<Option<Refused>> {
        // Immediate: a transaction that begins by reading and is overtaken cannot be upgraded by waiting.
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let refused = insert(&transaction, events)?;
        let (inserted, moves) = match (&refused, moves) {
            (Some(refused), CursorMove::To(_)) => (refused.before(events), CursorMove::To(refused.offset)),
            (Some(refused), moves) => (refused.before(events), moves),
            (None, moves) => (events, moves),
        };
        if refused.is_some() && transaction.is_autocommit() {
            // A trigger or constraint rolled the whole transaction back; now without the row that made it do so.
            drop(transaction);
            return Ok(self.store(inserted, cursor, moves)?.or(refused));
        }
        match moves {
            CursorMove::To(next) => move_cursor(&transaction, cursor, next)?,
            CursorMove::PastReplayed => inserted.iter().try_for_each(|event| pass(&transaction, cursor, event.offset))?,
            CursorMove::Stays => {}
        }
        transaction.commit()?;
        Ok(refused)
    }
}

/// Inserts rows up to the first that the table refuses. A refused INSERT undoes itself and leaves the transaction as it was,
/// so no savepoints are needed.
fn insert(transaction: &Transaction<'_>, events: &[Arc<Event>]) -> rusqlite::Result<Option<Refused>> {
    let mut insert = transaction.prepare_cached("INSERT INTO events (sender_id, data) VALUES (?1, ?2)")?;
    for (index, event) in events.iter().enumerate() {
        match insert.execute((event.conversation.as_str(), event.body_str())) {
            Ok(_) => {}
            Err(error) if is_about_the_row(&error) => {
                let reason = format!("the table `events` refused the row: {error}");
                return Ok(Some(Refused { index, offset: event.offset, reason }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn move_cursor(transaction: &Transaction<'_>, cursor: &CursorKey, next: Offset) -> rusqlite::Result<()> {
    let sql = "INSERT INTO trunkline_cursors (journal, subscription, next_offset) VALUES (?1, ?2, ?3) \
               ON CONFLICT (journal, subscription) DO UPDATE SET next_offset = excluded.next_offset";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute((cursor.journal.to_string(), &*cursor.subscription, next.cast_signed()))?;
    Ok(())
}

/// Moves a cursor that stands at a replayed event past it.
fn pass(transaction: &Transaction<'_>, cursor: &CursorKey, offset: Offset) -> rusqlite::Result<()> {
    let sql = "UPDATE trunkline_cursors SET next_offset = next_offset + 1 \
               WHERE journal = ?1 AND subscription = ?2 AND next_offset = ?3";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.execute((cursor.journal.to_string(), &*cursor.subscription, offset.cast_signed()))?;
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
        Ok(Some(objection)) => Err(format!("the database `{location}` cannot be used: {objection}")),
        Err(error) => Err(location.explain(&error)),
    }
}
