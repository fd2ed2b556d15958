//! The tables of `journal.db`, and how a journal of an older layout becomes one of today's.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use trunkline_core::{JournalId, Timestamp};

use super::{positions, read};
use crate::OpenError;

/// A step from one layout to the next; the layout is SQLite's `user_version`, and step `n` makes layout `n + 1`.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE journal (
        key TEXT PRIMARY KEY,               -- `id`: the identity of the journal; `floor`: no offset below it will be given out;
                                            -- `layout_2_to`: the newest record of layout 2
        value TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE events (
        offset INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,              -- of the append, milliseconds since 1970
        kind INTEGER NOT NULL,              -- 0 event, 1 message, 2 prompt, 3 replacement
        conversation TEXT NOT NULL,
        type TEXT NOT NULL,
        channel TEXT,
        identity TEXT,                      -- what makes the append the same as an earlier one
        body TEXT NOT NULL,                 -- the JSON object
        checksum INTEGER NOT NULL           -- CRC-32 over all the above
    );
    CREATE TABLE subscriptions (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL,          -- the next offset to read
        low INTEGER NOT NULL,               -- everything below it is settled
        unsettled TEXT NOT NULL,            -- JSON: what lies below it and is not settled yet
        active INTEGER NOT NULL,            -- 0: no longer configured, holds nothing back
        updated INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE dead_letters (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        subscription TEXT NOT NULL,
        offset INTEGER NOT NULL,
        event_id TEXT NOT NULL,
        time INTEGER NOT NULL,              -- of the event
        kind INTEGER NOT NULL,
        conversation TEXT NOT NULL,
        type TEXT NOT NULL,
        channel TEXT,
        body TEXT NOT NULL,                 -- a copy: retention does not wait for dead letters
        reason TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        died INTEGER NOT NULL,
        state TEXT NOT NULL                 -- dead, held (its conversation waits), replay (to be delivered once more)
    );
",
    "
    -- The state lies behind the body, so that looking for it would read all bodies.
    CREATE INDEX dead_letters_by_state ON dead_letters (subscription, state, offset);
",
    "
    ALTER TABLE events ADD COLUMN shape INTEGER;        -- where the members of the body stand; null: flat
    ALTER TABLE events ADD COLUMN user TEXT;            -- the person behind the conversation, where the event names one
    ALTER TABLE events ADD COLUMN session TEXT;         -- the session, where the event names one
    ALTER TABLE events ADD COLUMN answers INTEGER;      -- the offset of the message that it answers
    ALTER TABLE dead_letters ADD COLUMN shape INTEGER;
    ALTER TABLE dead_letters ADD COLUMN user TEXT;
    ALTER TABLE dead_letters ADD COLUMN session TEXT;
    ALTER TABLE dead_letters ADD COLUMN answers INTEGER;
    CREATE TABLE positions (
        source TEXT PRIMARY KEY,
        position TEXT NOT NULL,             -- how far it was read, in its own words
        updated INTEGER NOT NULL
    ) WITHOUT ROWID;
",
];

/// The key of the table `journal` under which stands the newest record that was written under layout 2: until there, answers do
/// not say what they answer, and an identity may stand for events of several conversations.
const LAYOUT_2_TO: &str = "layout_2_to";

/// Small pages and a small log: larger ones double the bytes written and bring p99 from 7 to 40 ms and more.
const WAL_PAGES: i64 = 2_000;

/// Opens `journal.db` for writing, makes or migrates its tables, and copies what a crash left in the log into it.
///
/// The copy is what makes an earlier failed sync harmless: pages that the kernel dropped after it are read from its cache
/// once more, written anew and synced before anybody relies on them.
pub(super) fn open_for_writing(directory: &Path, now: Timestamp) -> Result<Connection, OpenError> {
    let path = directory.join("journal.db");
    let failed = |error: rusqlite::Error| OpenError::at(&path, &error);
    let mut connection = Connection::open(&path).map_err(failed)?;
    connection.busy_timeout(std::time::Duration::from_secs(2)).map_err(failed)?;
    connection
        .execute_batch(&format!(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = {WAL_PAGES}; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;
             PRAGMA cache_size = -2048;"
        ))
        .map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::Newer { place: directory.display().to_string(), found, known });
    }
    let positions = if found < 3 { positions::in_files(directory)? } else { Vec::new() };
    migrate(&mut connection, found, &positions, now).map_err(failed)?;
    let busy: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
    if busy != 0 {
        tracing::debug!("The log was not emptied because somebody reads");
    }
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Opens `journal.db` for reading.
pub(super) fn open_for_reading(directory: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.join("journal.db"), flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.execute_batch("PRAGMA cache_size = -1024")?;
    Ok(connection)
}

/// Lets a journal of an older layout, open for reading, be read as if it had the newest one.
pub(super) fn see_as_newest(connection: &Connection, directory: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::at(&directory.join("journal.db"), &error);
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(OpenError::Newer { place: directory.display().to_string(), found, known });
    }
    if found < 3 {
        // A view of the connection's own hides the table of the same name.
        let more = "*, NULL AS shape, NULL AS user, NULL AS session, NULL AS answers";
        let views =
            ["events", "dead_letters"].map(|table| format!("CREATE TEMP VIEW {table} AS SELECT {more} FROM main.{table};"));
        connection.execute_batch(&views.concat()).map_err(failed)?;
    }
    Ok(())
}

/// Makes the tables, or those that an older program did not have. `positions` are how far it had read its sources.
fn migrate(
    connection: &mut Connection,
    found: i64,
    positions: &[(String, String)],
    now: Timestamp,
) -> Result<(), rusqlite::Error> {
    let done = usize::try_from(found).unwrap_or(0);
    for (step, script) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        if step == 0 {
            transaction.execute("INSERT INTO journal (key, value) VALUES ('id', ?1)", [JournalId::random().to_string()])?;
        }
        if step == 2 {
            let head = read::head(&transaction)?;
            for (source, position) in positions {
                positions::save(&transaction, source, position, now)?;
            }
            transaction.execute("INSERT INTO journal (key, value) VALUES (?1, ?2)", (LAYOUT_2_TO, head.to_string()))?;
        }
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// The identity of the journal.
pub(super) fn journal_id(connection: &Connection) -> Result<JournalId, rusqlite::Error> {
    let text: String = connection.query_row("SELECT value FROM journal WHERE key = 'id'", [], |row| row.get(0))?;
    JournalId::parse(&text).ok_or_else(|| rusqlite::Error::InvalidColumnName("journal.id".to_owned()))
}

/// The lowest offset that may be given out, as retention left it.
pub(super) fn floor(connection: &Connection) -> Result<u64, rusqlite::Error> {
    Ok(number(connection, "floor")?.unwrap_or(1))
}

/// The newest record that was written under layout 2; 0 when there is none.
pub(super) fn layout_2_to(connection: &Connection) -> Result<u64, rusqlite::Error> {
    Ok(number(connection, LAYOUT_2_TO)?.unwrap_or(0))
}

fn number(connection: &Connection, key: &str) -> Result<Option<u64>, rusqlite::Error> {
    let text: Option<String> =
        connection.query_row("SELECT value FROM journal WHERE key = ?1", [key], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// Remembers that no offset below `floor` will be given out, though no row may be left to say so.
pub(super) fn set_floor(connection: &Connection, floor: u64) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("INSERT INTO journal (key, value) VALUES ('floor', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1")?
        .execute([floor.to_string()])
        .map(drop)
}
