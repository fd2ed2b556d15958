//! How far sources were read, for those that can remember nowhere else.

use std::path::Path;
use std::{fs, io};

use rusqlite::{Connection, OptionalExtension as _};
use trunkline_core::Timestamp;

use crate::OpenError;

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

/// What programs of layout 2 kept in the directory `positions`: a file for each source, with how far it was read. The files stay, and
/// after the migration nothing looks at them any more.
///
/// # Errors
///
/// When one of them cannot be read: without it a source would begin anew.
pub(super) fn in_files(directory: &Path) -> Result<Vec<(String, String)>, OpenError> {
    let directory = directory.join("positions");
    let entries = match fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| OpenError::at(&directory, &error))?,
    };
    let mut positions = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| OpenError::at(&directory, &error))?.path();
        // What a crash left half written has another ending than a name.
        let is_whole = path.extension().is_none_or(|extension| extension != "tmp");
        let Some(source) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_whole) else { continue };
        let position = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => continue,
            position => position.map_err(|error| OpenError::at(&path, &error))?,
        };
        if let Ok(position) = String::from_utf8(position)
            && position.starts_with("trunkline-position ")
        {
            positions.push((source.to_owned(), position.trim_end().to_owned()));
        }
    }
    Ok(positions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_files_is_found_or_said_to_be_unreadable() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(in_files(directory.path()).unwrap(), []);
        let positions = directory.path().join("positions");
        fs::create_dir(&positions).unwrap();
        for (name, text) in
            [("log", "trunkline-position 1 inode=7\n"), ("log.tmp", "trunkline-position 1 inode=8"), ("notes", "mine")]
        {
            fs::write(positions.join(name), text).unwrap();
        }
        fs::create_dir(positions.join("directory")).unwrap();
        assert_eq!(in_files(directory.path()).unwrap(), [("log".to_owned(), "trunkline-position 1 inode=7".to_owned())]);
        std::os::unix::fs::symlink(positions.join("gone"), positions.join("other")).unwrap();
        let error = in_files(directory.path()).unwrap_err().to_string();
        assert!(error.contains("positions/other: No such file"), "{error}");
    }

    #[test]
    fn the_newest_position_of_a_source_is_kept() {
        let events = Connection::open_in_memory().unwrap();
        events.execute_batch("CREATE TABLE positions (source PRIMARY KEY, position, updated)").unwrap();
        save(&events, "log", "here", Timestamp(5)).unwrap();
        save(&events, "log", "elsewhere", Timestamp(6)).unwrap();
        assert_eq!((load(&events, "log").unwrap().as_deref(), load(&events, "none").unwrap()), (Some("elsewhere"), None));
    }
}
