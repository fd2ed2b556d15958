//! How far sources were read, for those that can remember nowhere else.

use std::fs;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};
use trunkline_core::Timestamp;

pub(super) fn save(events: &Connection, source: &str, position: &str, now: Timestamp) -> Result<(), rusqlite::Error> {
    events
        .prepare_cached(
            "INSERT INTO positions (source, position, updated) VALUES (?1, ?2, ?3)
             ON CONFLICT (source) DO UPDATE SET position = ?2, updated = ?3",
        )?
        .execute((source, position, now.0))
        .map(drop)
}

pub(super) fn load(events: &Connection, source: &str) -> Result<Option<String>, rusqlite::Error> {
    events.prepare_cached("SELECT position FROM positions WHERE source = ?1")?.query_row([source], |row| row.get(0)).optional()
}

/// Takes over what programs of layout 2 kept in the directory `positions`: a file for each source. The files stay; nothing looks at
/// them any more.
pub(super) fn take_over(directory: &Path, events: &Connection, now: Timestamp) -> Result<(), rusqlite::Error> {
    let Ok(entries) = fs::read_dir(directory.join("positions")) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        // What a crash left half written has another ending than a name.
        let (Ok(source), Ok(position)) = (entry.file_name().into_string(), fs::read_to_string(&path)) else { continue };
        if position.starts_with("trunkline-position ") && path.extension().is_none_or(|extension| extension != "tmp") {
            save(events, &source, position.trim_end(), now)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_in_files_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let positions = directory.path().join("positions");
        fs::create_dir(&positions).unwrap();
        for (name, text) in
            [("log", "trunkline-position 1 inode=7\n"), ("log.tmp", "trunkline-position 1 inode=8"), ("notes", "mine")]
        {
            fs::write(positions.join(name), text).unwrap();
        }
        let events = Connection::open_in_memory().unwrap();
        events.execute_batch("CREATE TABLE positions (source PRIMARY KEY, position, updated)").unwrap();
        take_over(directory.path(), &events, Timestamp(5)).unwrap();
        assert_eq!(load(&events, "log").unwrap().as_deref(), Some("trunkline-position 1 inode=7"));
        let count: u64 = events.query_row("SELECT count(*) FROM positions", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
        save(&events, "log", "elsewhere", Timestamp(6)).unwrap();
        assert_eq!((load(&events, "log").unwrap().as_deref(), load(&events, "none").unwrap()), (Some("elsewhere"), None));
    }
}
