//! `index.db`: its tables, written in sorted batches, and the look-ups in them.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use trunkline_core::{JournalId, Offset};

use super::tail::Entries;
use crate::ConversationSummary;

const LAYOUT: i64 = 1;
const TABLES: &str = "
    CREATE TABLE progress (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        journal TEXT NOT NULL,
        indexed_to INTEGER NOT NULL
    );
    CREATE TABLE identities (hash INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (hash, offset)) WITHOUT ROWID;
    CREATE TABLE conversations (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        events INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL
    );
    CREATE TABLE conversation_events (
        conversation INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        PRIMARY KEY (conversation, offset)
    ) WITHOUT ROWID;
";

/// Into how many parts the keys are divided for pruning: one part at a time keeps each transaction short.
pub(super) const PRUNE_PARTS: u16 = 1024;

/// Opens the file for writing and makes it anew when it is missing, damaged, of another layout or of another journal, or when
/// it knows more than the journal.
pub(crate) fn open_for_writing(directory: &Path, journal: JournalId, head: Offset) -> Result<Connection, rusqlite::Error> {
    match open_existing(directory, journal, head) {
        Ok(Some(connection)) => return Ok(connection),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "Index file could not be used, it is made anew"),
    }
    remove(directory);
    let connection = open(directory)?;
    connection.execute_batch(TABLES)?;
    connection.execute("INSERT INTO progress (id, journal, indexed_to) VALUES (1, ?1, 0)", [journal.to_string()])?;
    connection.pragma_update(None, "user_version", LAYOUT)?;
    Ok(connection)
}

/// `None`: there is none that fits.
fn open_existing(directory: &Path, journal: JournalId, head: Offset) -> Result<Option<Connection>, rusqlite::Error> {
    if !directory.join("index.db").exists() {
        return Ok(None);
    }
    let connection = open(directory)?;
    let layout: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if layout != LAYOUT {
        return Ok(None);
    }
    let named: String = connection.query_row("SELECT journal FROM progress", [], |row| row.get(0))?;
    let fits = named == journal.to_string() && indexed_to(&connection)? <= head;
    Ok(fits.then_some(connection))
}

fn open(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let mut connection = Connection::open(directory.join("index.db"))?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    // Not synced at every commit: what a power cut takes is read from the journal again.
    connection.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 2000; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -2048;",
    )?;
    connection.set_prepared_statement_cache_capacity(32);
    // A file that is no database, or whose first page is damaged, shows itself here.
    connection.transaction()?.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

/// Removes the file, so that the next opening makes it anew.
pub(crate) fn remove(directory: &Path) {
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
}

pub(crate) fn open_for_reading(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join("index.db"), flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA cache_size = -1024")?;
    Ok(connection)
}

/// Up to which offset the file reaches.
pub(crate) fn indexed_to(index: &Connection) -> Result<Offset, rusqlite::Error> {
    index.query_row("SELECT indexed_to FROM progress", [], |row| row.get(0))
}

/// Writes a set of entries, keys in order, in one transaction.
pub(super) fn write(index: &mut Connection, entries: &Entries) -> Result<(), rusqlite::Error> {
    let transaction = index.transaction()?;
    {
        let mut identities: Vec<_> =
            entries.identities.iter().flat_map(|(hash, offsets)| offsets.iter().map(move |offset| (*hash, *offset))).collect();
        identities.sort_unstable();
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO identities (hash, offset) VALUES (?1, ?2)")?;
        for entry in identities {
            insert.execute(entry)?;
        }

        let mut conversations: Vec<_> = entries.conversations.iter().collect();
        conversations.sort_unstable();
        let mut upsert = transaction.prepare_cached(
            "INSERT INTO conversations (name, events, first, last) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET events = events + ?2, last = ?4 RETURNING id",
        )?;
        let mut by_id = Vec::with_capacity(conversations.len());
        for (name, offsets) in conversations {
            let bounds = (offsets.first(), offsets.last());
            let id: i64 = upsert.query_row((name.as_str(), offsets.len(), bounds.0, bounds.1), |row| row.get(0))?;
            by_id.push((id, offsets));
        }
        by_id.sort_unstable();
        let mut insert =
            transaction.prepare_cached("INSERT OR IGNORE INTO conversation_events (conversation, offset) VALUES (?1, ?2)")?;
        for (id, offsets) in by_id {
            for offset in offsets {
                insert.execute((id, offset))?;
            }
        }
        transaction.prepare_cached("UPDATE progress SET indexed_to = ?1")?.execute([entries.last])?;
    }
    transaction.commit()
}

/// Removes entries of one part of the keys: identities below `identities`, and events below `events`.
pub(super) fn prune(index: &mut Connection, part: u16, identities: Offset, events: Offset) -> Result<(), rusqlite::Error> {
    let width = u64::MAX / u64::from(PRUNE_PARTS) + 1;
    let from = (u64::from(part) * width).wrapping_add(i64::MIN.cast_unsigned()).cast_signed();
    let to = from.saturating_add((width - 1).cast_signed());
    let transaction = index.transaction()?;
    transaction
        .prepare_cached("DELETE FROM identities WHERE hash BETWEEN ?1 AND ?2 AND offset < ?3")?
        .execute((from, to, identities))?;
    let most: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM conversations", [], |row| row.get(0))?;
    let share = most / i64::from(PRUNE_PARTS) + 1;
    let (from, to) = (i64::from(part) * share, (i64::from(part) + 1) * share - 1);
    transaction
        .prepare_cached("DELETE FROM conversation_events WHERE conversation BETWEEN ?1 AND ?2 AND offset < ?3")?
        .execute((from, to, events))?;
    transaction
        .prepare_cached("DELETE FROM conversations WHERE id BETWEEN ?1 AND ?2 AND last < ?3")?
        .execute((from, to, events))?;
    transaction.commit()
}

/// The offsets of the records whose identity hashes to `hash`, ascending.
pub(crate) fn identity(index: &Connection, hash: i64) -> Result<Vec<Offset>, rusqlite::Error> {
    index
        .prepare_cached("SELECT offset FROM identities WHERE hash = ?1 ORDER BY offset")?
        .query_map([hash], |row| row.get(0))?
        .collect()
}

/// Up to `most` offsets of a conversation from `from` on, ascending.
pub(crate) fn conversation(index: &Connection, name: &str, from: Offset, most: usize) -> Result<Vec<Offset>, rusqlite::Error> {
    index
        .prepare_cached(
            "SELECT offset FROM conversation_events
             WHERE conversation = (SELECT id FROM conversations WHERE name = ?1) AND offset >= ?2 ORDER BY offset LIMIT ?3",
        )?
        .query_map((name, from, most), |row| row.get(0))?
        .collect()
}

/// The offset of the last record of a conversation before `before`.
pub(crate) fn last_of_conversation(index: &Connection, name: &str, before: Offset) -> Result<Option<Offset>, rusqlite::Error> {
    index
        .prepare_cached(
            "SELECT offset FROM conversation_events
             WHERE conversation = (SELECT id FROM conversations WHERE name = ?1) AND offset < ?2 ORDER BY offset DESC LIMIT 1",
        )?
        .query_row((name, before), |row| row.get(0))
        .optional()
}

/// The conversations, those with the newest events first.
pub(crate) fn conversations(index: &Connection, most: usize) -> Result<Vec<ConversationSummary>, rusqlite::Error> {
    index
        .prepare_cached("SELECT name, events, first, last FROM conversations ORDER BY last DESC LIMIT ?1")?
        .query_map([most], |row| {
            Ok(ConversationSummary { conversation: row.get(0)?, events: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
        })?
        .collect()
}
