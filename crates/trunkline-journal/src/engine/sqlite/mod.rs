//! The engine of a journal on one machine: a directory with SQLite's files.
//!
//! | file | what |
//! | --- | --- |
//! | `journal.db` | WAL, `synchronous=FULL`: the events, one row each, keyed by offset; subscriptions; dead letters; positions of sources |
//! | `index.db` | identities, conversations, users and sessions to offsets. Derived, written behind, rebuilt when missing or damaged |
//! | `journal.lock` | locked by the process that writes |
//! | `rejected/` | what sources gave that is no event |
//!
//! The tables are in [`schema`]. Nothing of SQLite leaves this module.

mod aside;
mod dead_letters;
mod index;
mod lock;
mod positions;
mod private;
mod read;
pub(crate) mod read_only;
mod retention;
mod row;
mod schema;
mod subscriptions;
pub(crate) mod verify;
mod write;

use std::path::Path;
use std::sync::Arc;

use self::aside::Aside;
use self::index::Index;
use self::lock::Lock;
use self::read::{Connections, Reader};
use self::write::Database;
use super::{Numbering, Opened};
use crate::shared::Health;
use crate::{OpenError, Options, ReadError};

/// Opens the journal in `directory`, or makes one, with so many readers. `tick` is called about once a second until the writer is
/// closed.
pub(crate) fn open(
    directory: &Path,
    options: &Options,
    health: &Arc<Health>,
    readers: usize,
    tick: impl Fn() + Send + 'static,
) -> Result<Opened<Database, Reader>, OpenError> {
    private::make_directory(directory).map_err(|error| OpenError::at(directory, &error))?;
    let lock = Lock::acquire(directory)?;
    let path = directory.join("journal.db");
    private::make_file(&path).map_err(|error| OpenError::at(&path, &error))?;
    let failed = |error: rusqlite::Error| OpenError::at(&path, &error);
    let connection = schema::open_for_writing(directory, options.clock.now())?;
    let id = schema::journal_id(&connection).map_err(failed)?;
    let head = read::head(&connection).map_err(failed)?;
    let layout_2_to = schema::layout_2_to(&connection).map_err(failed)?;
    let (index, thread) = Index::start(directory, &connection, id, head, Arc::clone(health), tick)?;
    let open_reader = || -> Result<Reader, rusqlite::Error> {
        let connections = Connections::open(directory)?;
        Ok(Reader::new(connections, Arc::clone(&index), options.clone()))
    };
    let readers = (0..readers).map(|_| open_reader()).collect::<Result<_, _>>().map_err(failed)?;
    let last_time = read::time_of(&connection, head).map_err(failed)?;
    let numbering = Numbering { journal: id, clock: options.clock.clone(), next: head + 1, last_time };
    let index_file = index::file::open_for_reading(directory).map_err(failed)?;
    let writer = Database::new(directory, lock, connection, index, index_file, numbering, options);
    Ok(Opened { id, head, layout_2_to, writer, readers, aside: Arc::new(Aside::new(directory)), thread })
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A number of rows as SQLite takes it.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
