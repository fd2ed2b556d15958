//! A table that is followed in SQLite. Its writers take turns, so rows appear in the order of their ids.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _};

use super::Location;
use super::database::open_for_writing;
use super::open_read_only;
use crate::blocking::Blocking;
use crate::paths::Identity;
use crate::sql::following::{Row, Rows};

/// Reads a table, and stores positions beside it.
pub(in crate::sql) struct SqliteRows {
    table: String,
    state: Blocking<TableReader>,
}

struct TableReader {
    location: Location,
    /// Which file it was that was read at first.
    identity: Option<Identity>,
    reader: Option<Connection>,
    writer: Option<Connection>,
}

impl SqliteRows {
    pub(in crate::sql) fn new(location: Location, table: String) -> Self {
        Self { table, state: Blocking::new(TableReader { location, identity: None, reader: None, writer: None }) }
    }

    async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TableReader) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        self.state.call(work).await.flatten()
    }
}

impl TableReader {
    fn read<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        self.stay()?;
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => open_read_only(&self.location)?,
        };
        let value = work(&reader).map_err(|error| self.location.explain(&error))?;
        self.reader = Some(reader);
        Ok(value)
    }

    fn write<T>(&mut self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, String> {
        self.stay()?;
        let explain = |error| self.location.explain(&error);
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => open_for_writing(&self.location).map_err(explain)?,
        };
        let value = work(&writer).map_err(explain)?;
        self.writer = Some(writer);
        Ok(value)
    }

    /// Demands that it is still the same file. In another one other rows have the same ids, so the next reader begins anew there.
    fn stay(&mut self) -> Result<(), String> {
        let found = self.location.identity();
        if self.identity.is_some() && self.identity != found {
            return Err(format!("the database `{}` was moved away or replaced", self.location));
        }
        self.identity = found;
        Ok(())
    }
}

#[async_trait]
impl Rows for SqliteRows {
    async fn forget_question(&mut self) -> Result<(), String> {
        // Each has its answer to itself.
        Ok(())
    }

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
        let (group, table) = (group.to_owned(), self.table.clone());
        self.call(move |state| {
            state.write(|connection| {
                connection.execute_batch(
                    "CREATE TABLE IF NOT EXISTS trunkline_positions (consumer TEXT NOT NULL, source_table TEXT NOT NULL,
                         last_id INTEGER NOT NULL, PRIMARY KEY (consumer, source_table))",
                )?;
                let sql = "SELECT last_id FROM trunkline_positions WHERE consumer = ?1 AND source_table = ?2";
                connection.query_row(sql, (group, table), |row| row.get(0)).optional()
            })
        })
        .await
    }

    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String> {
        let (group, table) = (group.to_owned(), self.table.clone());
        self.call(move |state| {
            state.write(|connection| {
                let sql = "INSERT INTO trunkline_positions (consumer, source_table, last_id) VALUES (?1, ?2, ?3)
                           ON CONFLICT (consumer, source_table) DO UPDATE SET last_id = excluded.last_id";
                connection.execute(sql, (group, table, position)).map(drop)
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

    async fn newest(&mut self) -> Result<i64, String> {
        Ok(i64::MAX)
    }

    async fn next_transaction(&mut self) -> Result<i64, String> {
        Ok(0)
    }

    async fn is_settled(&mut self, _next: i64, _ids: RangeInclusive<i64>) -> Result<bool, String> {
        Ok(true)
    }
}
