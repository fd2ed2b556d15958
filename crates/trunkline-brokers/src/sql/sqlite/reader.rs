//! A database that is read and never written.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::Location;
use super::database::BUSY_TIMEOUT;
use crate::paths::missing_directory;

/// Opens a database that exists, for reading only.
pub(in crate::sql) fn open_read_only(location: &Location) -> Result<Connection, String> {
    let explain = |error: rusqlite::Error| location.explain(&error);
    let Location::File(path) = location else { return Connection::open_in_memory().map_err(explain) };
    if !path.exists() {
        return Err(format!("there is no database `{location}`{}", because_of_directory(path)));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(explain)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(explain)?;
    Ok(connection)
}

fn because_of_directory(path: &Path) -> String {
    missing_directory(path).map(|reason| format!(": {reason}")).unwrap_or_default()
}
