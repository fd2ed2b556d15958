//! The two tables in MySQL and MariaDB.

use sqlx::mysql::MySqlConnection;
use sqlx::{Error, Executor as _, SqlSafeStr as _, query_as, query_scalar, raw_sql};

use crate::sql::shape::{Column, Found, Sort};

/// What SQLAlchemy creates for Rasa's broker. The engine is named, because a default one without transactions would not do, and
/// the character set, because the default of MariaDB is latin1, which has no letters for most conversations.
pub(super) const CREATE_EVENTS: &str = "CREATE TABLE IF NOT EXISTS events (id INTEGER NOT NULL AUTO_INCREMENT, \
     sender_id VARCHAR(255), data TEXT, PRIMARY KEY (id)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4";

/// Ours, in the same database so that one transaction covers both.
pub(super) const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (\
     journal CHAR(32) CHARACTER SET ascii NOT NULL, \
     subscription VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
     next_offset BIGINT NOT NULL, PRIMARY KEY (journal, subscription)) ENGINE = InnoDB";

pub(super) const EVENTS: &str = "events";
pub(super) const CURSORS: &str = "trunkline_cursors";

/// Creates what is missing.
pub(super) async fn create(connection: &mut MySqlConnection) -> Result<(), Error> {
    for (table, sql) in [(EVENTS, CREATE_EVENTS), (CURSORS, CREATE_CURSORS)] {
        if !exists(connection, table).await? {
            raw_sql(sql).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

/// What would keep `create` from creating what is missing: an error, or that the server is read-only, which alone does not show
/// in a statement that is only prepared.
pub(super) async fn rehearse_create(connection: &mut MySqlConnection) -> Result<bool, Error> {
    let mut is_any_missing = false;
    for (table, sql) in [(EVENTS, CREATE_EVENTS), (CURSORS, CREATE_CURSORS)] {
        if !exists(connection, table).await? {
            is_any_missing = true;
            connection.prepare(sql.into_sql_str()).await?;
        }
    }
    let is_read_only: i64 = query_scalar("SELECT @@global.read_only + 0").fetch_one(connection).await?;
    Ok(!is_any_missing || is_read_only == 0)
}

pub(super) async fn exists(connection: &mut MySqlConnection, table: &str) -> Result<bool, Error> {
    let sql = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database() AND table_name = ?";
    let count: i64 = query_scalar(sql).bind(table).fetch_one(connection).await?;
    Ok(count > 0)
}

/// What is called `events`, and the name of its storage engine when that has no transactions.
pub(super) async fn find(connection: &mut MySqlConnection) -> Result<Option<(Found, Option<String>)>, Error> {
    // What the views of the schema return has types that differ from version to version; as CHAR they are the same.
    let tables: Vec<(String, Option<String>, Option<String>)> = query_as(
        "SELECT CAST(t.table_type AS CHAR), CAST(t.engine AS CHAR), CAST(e.transactions AS CHAR)
         FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
         WHERE t.table_schema = database() AND t.table_name = 'events'",
    )
    .fetch_all(&mut *connection)
    .await?;
    let Some((kind, engine, transactions)) = tables.into_iter().next() else { return Ok(None) };
    let kind = match kind.as_str() {
        "BASE TABLE" | "SYSTEM VERSIONED" => None,
        "SEQUENCE" => Some("sequence"),
        _ => Some("view"),
    };
    let columns: Vec<(String, String, i64, i64, i64, String)> = query_as(
        "SELECT CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'NO',
                coalesce(column_default, 'NULL') <> 'NULL' OR extra LIKE '%auto_increment%' OR extra LIKE '%GENERATED%',
                column_key = 'PRI', CAST(data_type AS CHAR)
         FROM information_schema.columns WHERE table_schema = database() AND table_name = 'events' ORDER BY ordinal_position",
    )
    .fetch_all(connection)
    .await?;
    let columns = columns.into_iter().map(|(name, kind, is_not_null, fills_itself, is_primary_key, data_type)| Column {
        name,
        kind,
        is_not_null: is_not_null != 0,
        fills_itself: fills_itself != 0,
        is_primary_key: is_primary_key != 0,
        sort: match data_type.as_str() {
            kind if kind.ends_with("int") => Sort::Integer,
            kind if kind == "varchar" || kind.ends_with("text") => Sort::Text,
            _ => Sort::Other,
        },
    });
    let without_transactions = engine.filter(|_| kind.is_none() && transactions.as_deref() != Some("YES"));
    Ok(Some((Found { other_than_table: kind, columns: columns.collect() }, without_transactions)))
}
