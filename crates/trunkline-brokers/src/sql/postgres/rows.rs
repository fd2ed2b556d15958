//! A table that is followed in PostgreSQL.

use std::ops::RangeInclusive;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Error, query, query_as, query_scalar, raw_sql};

use super::error::{explain, is_created_twice};
use super::{connect, schema};
use crate::sql::following::{Row, Rows};
use crate::sql::server::Server;
use crate::sql::session::{Failure, STATEMENT_SECONDS};

/// Reads a table, and stores positions beside it.
pub(in crate::sql) struct PostgresRows {
    server: Server,
    connection: PgConnection,
    table: String,
}

impl PostgresRows {
    pub(in crate::sql) async fn connect(server: &Server, table: &str) -> Result<Self, Failure> {
        Ok(Self { server: server.clone(), connection: connect(server, Some(STATEMENT_SECONDS)).await?, table: table.to_owned() })
    }

    async fn create_positions(&mut self) -> Result<(), Error> {
        if schema::exists(&mut self.connection, "trunkline_positions").await? {
            return Ok(());
        }
        let sql = "CREATE TABLE IF NOT EXISTS trunkline_positions (consumer TEXT NOT NULL, source_table TEXT NOT NULL,
                       last_id BIGINT NOT NULL, PRIMARY KEY (consumer, source_table))";
        match raw_sql(sql).execute(&mut self.connection).await {
            Err(error) if !is_created_twice(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn explain(&self, error: &Error) -> String {
        explain(&self.server, error).reason
    }
}

#[async_trait]
impl Rows for PostgresRows {
    async fn forget_question(&mut self) -> Result<(), String> {
        self.connection = connect(&self.server, Some(STATEMENT_SECONDS)).await.map_err(|failure| failure.reason)?;
        Ok(())
    }

    async fn columns(&mut self) -> Result<Vec<String>, String> {
        query_scalar(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
        )
        .bind(&self.table)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|error| self.explain(&error))
    }

    async fn position(&mut self, group: &str) -> Result<Option<i64>, String> {
        self.create_positions().await.map_err(|error| self.explain(&error))?;
        let sql = "SELECT last_id FROM trunkline_positions WHERE consumer = $1 AND source_table = $2";
        let positions: Vec<i64> = query_scalar(sql)
            .bind(group)
            .bind(&self.table)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| self.explain(&error))?;
        Ok(positions.first().copied())
    }

    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String> {
        let sql = "INSERT INTO trunkline_positions (consumer, source_table, last_id) VALUES ($1, $2, $3)
                   ON CONFLICT (consumer, source_table) DO UPDATE SET last_id = excluded.last_id";
        let done = query(sql).bind(group).bind(&self.table).bind(position).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.explain(&error))
    }

    async fn after(&mut self, id: i64, most: usize) -> Result<Vec<Row>, String> {
        let table = &self.table;
        let sql = format!("SELECT id::bigint, coalesce(data::text, '') FROM {table} WHERE id > $1 ORDER BY id LIMIT $2");
        let rows: Result<Vec<(i64, String)>, Error> = query_as(AssertSqlSafe(sql))
            .bind(id)
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await;
        let rows = rows.map_err(|error| self.explain(&error))?;
        Ok(rows.into_iter().map(|(id, data)| Row { id, data }).collect())
    }

    async fn newest(&mut self) -> Result<i64, String> {
        let sql = format!("SELECT coalesce(max(id), 0)::bigint FROM {}", self.table);
        query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.connection).await.map_err(|error| self.explain(&error))
    }

    async fn next_transaction(&mut self) -> Result<i64, String> {
        query_scalar("SELECT txid_snapshot_xmax(txid_current_snapshot())")
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.explain(&error))
    }

    async fn is_settled(&mut self, next: i64, _ids: RangeInclusive<i64>) -> Result<bool, String> {
        query_scalar("SELECT txid_snapshot_xmin(txid_current_snapshot()) >= $1")
            .bind(next)
            .fetch_one(&mut self.connection)
            .await
            .map_err(|error| self.explain(&error))
    }
}
