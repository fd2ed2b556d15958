//! A table that is followed in SQLite. Its writers take turns, so rows appear in the order of their ids.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};

use super::Location;
use super::database::open_for_writing;
use super::open_read_only;
use crate::blocking::Blocking;
use crate::sql::source::{Newest, Row, Rows};

/// Reads a table, and stores positions beside it.
pub(in crate::sql) struct SqliteRows {
    table: String,
    state: Blocking<State>,
}

struct State {
    location: Location,
    reader: Option<Connection>,
    writer: Option<Connection>,
}

impl SqliteRows {
    pub(in crate::sql) fn new(location: Location, table: String) -> Self {
        Self { table, state: Blocking::new(State { location, reader: None, writer: None }) }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.state.call(work).await.flatten()
    }
}

impl State {
    fn read<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => open_read_only(&self.location)?,
        };
        let value = work(&reader).map_err(|error| self.location.explain(&error))?;
        self.reader = Some(reader);
        Ok(value)
    }

    fn write<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        let explain = |error| self.location.explain(&error);
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => open_for_writing(&self.location).map_err(explain)?,
        };
        let value = work(&writer).map_err(explain)?;
        self.writer = Some(writer);
        Ok(value)
    }
}

#[async_trait]
impl Rows for SqliteRows {
    async fn columns(&mut self) -> Result<Vec<String>, String> {
        let table = self.table.clone();
        self.call(move |state| {
            state.read(|connection| {
                let mut statement = connection.prepare("SELECT lower(name) FROM pragma_table_info(?1)")?;
                statement.query_map([table], |row| row.get(0))?.collect()
            })
        })
        .await
    }

    async fn position(&mut self, group: &str) -> Result<Option<i64>, String> {
        let group = group.to_owned();
        self.call(move |state| {
            state.write(|connection| {
                connection.execute_batch(
                    "CREATE TABLE IF NOT EXISTS trunkline_positions (consumer TEXT NOT NULL PRIMARY KEY, last_id INTEGER NOT NULL)",
                )?;
                let sql = "SELECT last_id FROM trunkline_positions WHERE consumer = ?1";
                connection.query_row(sql, [group], |row| row.get(0)).optional()
            })
        })
        .await
    }

    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String> {
        let group = group.to_owned();
        self.call(move |state| {
            state.write(|connection| {
                let sql = "INSERT INTO trunkline_positions (consumer, last_id) VALUES (?1, ?2)
                           ON CONFLICT (consumer) DO UPDATE SET last_id = excluded.last_id";
                connection.execute(sql, (group, position)).map(drop)
            })
        })
        .await
    }

    async fn after(&mut self, id: i64, most: usize) -> Result<Vec<Row>, String> {
        let sql = format!("SELECT id, coalesce(data, '') FROM {} WHERE id > ?1 ORDER BY id LIMIT ?2", self.table);
        self.call(move |state| {
            state.read(|connection| {
                let mut statement = connection.prepare_cached(&sql)?;
                statement.query_map((id, most), |row| Ok(Row { id: row.get(0)?, data: row.get(1)? }))?.collect()
            })
        })
        .await
    }

    async fn newest(&mut self) -> Result<Newest, String> {
        Ok(Newest { id: i64::MAX, transaction: 0 })
    }

    async fn is_settled(&mut self, _newest: Newest, _behind: i64) -> Result<bool, String> {
        Ok(true)
    }
}
