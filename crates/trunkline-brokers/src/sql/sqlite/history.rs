//! The table of Rasa's tracker store.

use rusqlite::{Connection, Statement};

use super::{Location, open_read_only};
use crate::sql::tracker_store::StoredEvent;

/// The database of a tracker store, opened when it is first needed.
#[derive(Debug)]
pub(in crate::sql) struct History {
    location: Location,
    connection: Option<Connection>,
}

impl History {
    pub(in crate::sql) fn new(location: Location) -> Self {
        Self { location, connection: None }
    }

    /// The columns of the table, in lower case; empty when there is none.
    pub(in crate::sql) fn columns(&mut self) -> Result<Vec<String>, String> {
        self.query("SELECT lower(name) FROM pragma_table_info('events')", |statement| {
            statement.query_map((), |row| row.get(0))?.collect()
        })
    }

    pub(in crate::sql) fn conversations(&mut self) -> Result<Vec<String>, String> {
        self.query("SELECT sender_id FROM events GROUP BY sender_id ORDER BY min(id)", |statement| {
            statement.query_map((), |row| row.get(0))?.collect()
        })
    }

    pub(in crate::sql) fn ids(&mut self, sender_id: &str) -> Result<Vec<i64>, String> {
        self.query("SELECT id FROM events WHERE sender_id = ?1 ORDER BY timestamp, id", |statement| {
            statement.query_map([sender_id], |row| row.get(0))?.collect()
        })
    }

    pub(in crate::sql) fn rows(&mut self, ids: &[i64]) -> Result<Vec<StoredEvent>, String> {
        self.query("SELECT id, timestamp, coalesce(data, '') FROM events WHERE id = ?1", |statement| {
            let mut events = Vec::with_capacity(ids.len());
            for id in ids {
                for event in statement
                    .query_map([id], |row| Ok(StoredEvent { id: row.get(0)?, timestamp: row.get(1)?, data: row.get(2)? }))?
                {
                    events.push(event?);
                }
            }
            Ok(events)
        })
    }

    fn query<T>(&mut self, sql: &str, read: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<T>) -> Result<T, String> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open_read_only(&self.location)?,
        };
        let result = connection.prepare_cached(sql).and_then(|mut statement| read(&mut statement));
        match result {
            Ok(value) => {
                self.connection = Some(connection);
                Ok(value)
            }
            Err(error) => Err(self.location.explain(&error)),
        }
    }
}
