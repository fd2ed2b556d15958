//! A table that is followed in MySQL and MariaDB.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Error, Executor as _, query, query_as, query_scalar, raw_sql};

use super::error::{explain, is_locked};
use super::{connect, schema};
use crate::sql::following::{Row, Rows};
use crate::sql::server::Server;
use crate::sql::session::{Failure, STATEMENT_SECONDS};

/// How far behind the end of the table a transaction may still have rows that nobody sees. Looking further back than this would
/// lock every row of a large table.
const FARTHEST_BACK: i64 = 100_000;

/// Reads a table, and stores positions beside it.
pub(in crate::sql) struct MySqlRows {
    server: Server,
    connection: MySqlConnection,
    table: String,
}

impl MySqlRows {
    pub(in crate::sql) async fn connect(server: &Server, table: &str) -> Result<Self, Failure> {
        Ok(Self { server: server.clone(), connection: connect(server, Some(STATEMENT_SECONDS)).await?, table: table.to_owned() })
    }

    fn explain(&self, error: &Error) -> String {
        explain(&self.server, error).reason
    }

    async fn create_positions(&mut self) -> Result<(), Error> {
        if schema::exists(&mut self.connection, "trunkline_positions").await? {
            return Ok(());
        }
        let sql = "CREATE TABLE IF NOT EXISTS trunkline_positions (
                       consumer VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
                       source_table VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
                       last_id BIGINT NOT NULL, PRIMARY KEY (consumer, source_table)) ENGINE = InnoDB";
        raw_sql(sql).execute(&mut self.connection).await.map(drop)
    }

    /// Waits for the rows with these ids that nobody sees yet. A row stands in the table, locked, from the moment it is inserted.
    async fn wait_for_locks(&mut self, ids: RangeInclusive<i64>) -> Result<(), Error> {
        // Without locks on the gaps, so that writers can go on.
        self.connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
        let sql = format!("SELECT CAST(id AS SIGNED) FROM {} WHERE id >= ? AND id <= ? LOCK IN SHARE MODE", self.table);
        let from = *ids.start().max(&ids.end().saturating_sub(FARTHEST_BACK));
        let _: Vec<i64> = query_scalar(AssertSqlSafe(sql)).bind(from).bind(ids.end()).fetch_all(&mut self.connection).await?;
        Ok(())
    }
}

#[async_trait]
impl Rows for MySqlRows {
    async fn forget_question(&mut self) -> Result<(), String> {
        self.connection = connect(&self.server, Some(STATEMENT_SECONDS)).await.map_err(|failure| failure.reason)?;
        Ok(())
    }

    async fn columns(&mut self) -> Result<Vec<String>, String> {
        let (schema, table) = self.table.split_once('.').unwrap_or(("", &self.table));
        query_scalar(
            "SELECT CAST(lower(column_name) AS CHAR) FROM information_schema.columns
             WHERE table_schema = coalesce(nullif(?, ''), database()) AND table_name = ?",
        )
        .bind(schema)
        .bind(table)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| explain(&self.server, &error).reason)
    }

    async fn position(&mut self, group: &str) -> Result<Option<i64>, String> {
        self.create_positions().await.map_err(|error| self.explain(&error))?;
        let sql = "SELECT last_id FROM trunkline_positions WHERE consumer = ? AND source_table = ?";
        let positions: Vec<i64> = query_scalar(sql)
            .bind(group)
            .bind(&self.table)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.explain(&error))?;
        Ok(positions.first().copied())
    }

    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String> {
        let sql = "INSERT INTO trunkline_positions (consumer, source_table, last_id) VALUES (?, ?, ?)
                   ON DUPLICATE KEY UPDATE last_id = values(last_id)";
        let done = query(sql).bind(group).bind(&self.table).bind(position).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.explain(&error))
    }

    async fn after(&mut self, id: i64, most: usize) -> Result<Vec<Row>, String> {
        let table = &self.table;
        let sql = format!("SELECT CAST(id AS SIGNED), coalesce(data, '') FROM {table} WHERE id > ? ORDER BY id LIMIT ?");
        let rows: Result<Vec<(i64, String)>, Error> = query_as(AssertSqlSafe(sql))
            .bind(id)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await;
        let rows = rows.map_err(|error| self.explain(&error))?;
        Ok(rows.into_iter().map(|(id, data)| Row { id, data }).collect())
    }

    async fn newest(&mut self) -> Result<i64, String> {
        let sql = format!("SELECT CAST(coalesce(max(id), 0) AS SIGNED) FROM {}", self.table);
        query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await.map_err(|error| self.explain(&error))
    }

    async fn next_transaction(&mut self) -> Result<i64, String> {
        Ok(0)
    }

    async fn is_settled(&mut self, _next: i64, ids: RangeInclusive<i64>) -> Result<bool, String> {
        match self.wait_for_locks(ids).await {
            Ok(()) => Ok(true),
            Err(error) if is_locked(&error) => Ok(false),
            Err(error) => Err(self.explain(&error)),
        }
    }
}
