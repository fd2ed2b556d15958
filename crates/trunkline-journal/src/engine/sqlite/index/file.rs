//! `index.db`: its tables, written in sorted batches, and the look-ups in them.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use trunkline_core::{JournalId, Offset};

use super::super::{limit, private};
use super::numbered;
use super::tail::Entries;
use crate::{By, ConversationSummary};

const LAYOUT: i64 = 2;
const TABLES: &str = "
    CREATE TABLE progress (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        journal TEXT NOT NULL,
        indexed_to INTEGER NOT NULL
    );
    CREATE TABLE identities (hash INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (hash, offset)) WITHOUT ROWID;
    CREATE TABLE names (
        id INTEGER PRIMARY KEY,
        kind INTEGER NOT NULL,              -- 0 conversation, 1 user, 2 session
        name TEXT NOT NULL,
        events INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        UNIQUE (name, kind)
    );
    CREATE TABLE named_events (
        name INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        PRIMARY KEY (name, offset)
    ) WITHOUT ROWID;
";

/// Into how many parts the keys are divided for pruning: one part at a time keeps each transaction short.
pub(super) const PRUNE_PARTS: u16 = 1024;

/// Opens the file for writing and makes it anew when it is missing, damaged, of another layout or of another journal, or when
/// it knows more than the journal.
pub(in crate::engine::sqlite) fn open_for_writing(
    directory: &Path,
    journal: JournalId,
    head: Offset,
) -> Result<Connection, rusqlite::Error> {
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
    let path = directory.join("index.db");
    // What keeps it from being made keeps SQLite from opening it, which says so.
    let _ = private::make_file(&path);
    let mut connection = Connection::open(path)?;
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
pub(in crate::engine::sqlite) fn remove(directory: &Path) {
    for name in ["index.db", "index.db-wal", "index.db-shm"] {
        let _ = std::fs::remove_file(directory.join(name));
    }
}

pub(in crate::engine::sqlite) fn open_for_reading(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join("index.db"), flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA cache_size = -1024")?;
    Ok(connection)
}

/// Lets a file of layout 1, which knows conversations only, be read as if it had the newest one.
pub(in crate::engine::sqlite) fn see_as_newest(index: &Connection) -> Result<(), rusqlite::Error> {
    let layout: i64 = index.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if layout == 1 {
        index.execute_batch(
            "CREATE TEMP VIEW names AS SELECT id, 0 AS kind, name, events, first, last FROM main.conversations;
             CREATE TEMP VIEW named_events AS SELECT conversation AS name, offset FROM main.conversation_events;",
        )?;
    }
    Ok(())
}

/// Up to which offset the file reaches.
pub(in crate::engine::sqlite) fn indexed_to(index: &Connection) -> Result<Offset, rusqlite::Error> {
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

        let mut upsert = transaction.prepare_cached(
            "INSERT INTO names (kind, name, events, first, last) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (name, kind) DO UPDATE SET events = events + ?3, last = ?5 RETURNING id",
        )?;
        let mut by_id = Vec::new();
        for (kind, named) in entries.names.iter().enumerate() {
            let mut named: Vec<_> = named.iter().collect();
            named.sort_unstable();
            for (name, offsets) in named {
                let (first, last) = (offsets.first(), offsets.last());
                let id: i64 = upsert.query_row((kind, name.as_str(), offsets.len(), first, last), |row| row.get(0))?;
                by_id.push((id, offsets));
            }
        }
        by_id.sort_unstable();
        let mut insert = transaction.prepare_cached("INSERT OR IGNORE INTO named_events (name, offset) VALUES (?1, ?2)")?;
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
    let most: i64 = transaction.query_row("SELECT coalesce(max(id), 0) FROM names", [], |row| row.get(0))?;
    let share = most / i64::from(PRUNE_PARTS) + 1;
    let (from, to) = (i64::from(part) * share, (i64::from(part) + 1) * share - 1);
    transaction
        .prepare_cached("DELETE FROM named_events WHERE name BETWEEN ?1 AND ?2 AND offset < ?3")?
        .execute((from, to, events))?;
    transaction.prepare_cached("DELETE FROM names WHERE id BETWEEN ?1 AND ?2 AND last < ?3")?.execute((from, to, events))?;
    transaction.commit()
}

/// The offsets of the records whose identity hashes to `hash`, ascending.
pub(in crate::engine::sqlite) fn identity(index: &Connection, hash: i64) -> Result<Vec<Offset>, rusqlite::Error> {
    index
        .prepare_cached("SELECT offset FROM identities WHERE hash = ?1 ORDER BY offset")?
        .query_map([hash], |row| row.get(0))?
        .collect()
}

/// Up to `most` offsets of a name from `from` on, ascending.
pub(in crate::engine::sqlite) fn named(
    index: &Connection,
    by: By<'_>,
    from: Offset,
    most: usize,
) -> Result<Vec<Offset>, rusqlite::Error> {
    let (kind, name) = numbered(by);
    index
        .prepare_cached(
            "SELECT offset FROM named_events
             WHERE name = (SELECT id FROM names WHERE name = ?1 AND kind = ?2) AND offset >= ?3 ORDER BY offset LIMIT ?4",
        )?
        .query_map((name, kind, from, limit(most)), |row| row.get(0))?
        .collect()
}

/// Up to `most` offsets of a name before `before`, descending.
pub(in crate::engine::sqlite) fn named_back(
    index: &Connection,
    by: By<'_>,
    before: Offset,
    most: usize,
) -> Result<Vec<Offset>, rusqlite::Error> {
    let (kind, name) = numbered(by);
    index
        .prepare_cached(
            "SELECT offset FROM named_events
             WHERE name = (SELECT id FROM names WHERE name = ?1 AND kind = ?2) AND offset < ?3 ORDER BY offset DESC LIMIT ?4",
        )?
        .query_map((name, kind, before, limit(most)), |row| row.get(0))?
        .collect()
}

/// The conversations, those with the newest events first.
pub(in crate::engine::sqlite) fn conversations(
    index: &Connection,
    most: usize,
) -> Result<Vec<ConversationSummary>, rusqlite::Error> {
    index
        .prepare_cached("SELECT name, events, first, last FROM names WHERE kind = 0 ORDER BY last DESC LIMIT ?1")?
        .query_map([limit(most)], |row| {
            Ok(ConversationSummary { conversation: row.get(0)?, events: row.get(1)?, first: row.get(2)?, last: row.get(3)? })
        })?
        .collect()
}

/// How many conversations there are.
pub(in crate::engine::sqlite) fn count_conversations(index: &Connection) -> Result<u64, rusqlite::Error> {
    index.query_row("SELECT count(*) FROM names WHERE kind = 0", [], |row| row.get(0))
}
