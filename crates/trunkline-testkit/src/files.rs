//! What arrived: the lines of a file broker, the rows of an SQL broker, the records of a journal.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The lines that a file broker wrote.
pub fn file_events(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{} ends in the middle of a line", path.display());
    text.lines().map(str::to_owned).collect()
}

/// The `data` of the rows that an SQL broker wrote, in order.
pub fn sql_events(path: &Path) -> Vec<String> {
    column(path, "SELECT data FROM events ORDER BY id")
}

/// The bodies of the tracker events in a journal, in order.
pub fn journal_bodies(directory: &Path) -> Vec<String> {
    column(&directory.join("journal.db"), "SELECT body FROM events WHERE kind IN (0, 1) ORDER BY offset")
}

fn column(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}
