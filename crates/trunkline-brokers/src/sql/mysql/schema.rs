//! The two tables in MySQL and MariaDB.

use sqlx::mysql::MySqlConnection;
use sqlx::{Error, Executor as _, SqlSafeStr as _, query_as, query_scalar, raw_sql};

use crate::sql::shape::{self, Column, Found, Sort, Table};

/// What SQLAlchemy creates for Rasa's broker. The engine is named, because a default one without transactions would not do, and
/// the character set, because the default of MariaDB is latin1, which has no letters for most conversations.
const CREATE_EVENTS: &str = "CREATE TABLE IF NOT EXISTS events (id INTEGER NOT NULL AUTO_INCREMENT, \
     sender_id VARCHAR(255), data TEXT, PRIMARY KEY (id)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4";

/// Compared byte by byte: the usual collations take `Audit` and `audit` for one.
const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (\
     journal VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
     subscription VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, \
     next_offset BIGINT NOT NULL, \
     writer VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
     PRIMARY KEY (journal, subscription)) ENGINE = InnoDB";

const CREATE: [(Table, &str); 2] = [(Table::Events, CREATE_EVENTS), (Table::Cursors, CREATE_CURSORS)];

/// Creates what was not found.
pub(super) async fn create(connection: &mut MySqlConnection, found: &[Found]) -> Result<(), Error> {
    for (_, sql) in CREATE.iter().filter(|(table, _)| found.iter().all(|found| found.table != *table)) {
        raw_sql(*sql).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What would keep `create` from creating what is missing: an error, or that the server is read-only, which alone does not show
/// in a statement that is only prepared.
pub(super) async fn rehearse_create(connection: &mut MySqlConnection) -> Result<bool, Error> {
    let mut is_any_missing = false;
    for (table, sql) in CREATE {
        if !exists(connection, table.name()).await? {
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

/// A sentence when our rows do not fit into what was found.
pub(super) fn objection(found: &[Found]) -> Option<String> {
    shape::objection(found, |table| match table {
        Table::Events => "events (id INTEGER AUTO_INCREMENT PRIMARY KEY, sender_id VARCHAR(255), data TEXT)",
        Table::Cursors => {
            "trunkline_cursors (journal VARCHAR(32) COLLATE ascii_bin PRIMARY KEY, subscription VARCHAR(255) COLLATE utf8mb4_bin \
             PRIMARY KEY, next_offset BIGINT, writer VARCHAR(32) COLLATE ascii_bin)"
        }
    })
}

/// What there is under the names of the tables.
pub(super) async fn find(connection: &mut MySqlConnection) -> Result<Vec<Found>, Error> {
    // What the views of the schema return has types that differ from version to version; as CHAR they are the same.
    let tables: Vec<(String, String, Option<String>)> = query_as(
        "SELECT CAST(t.table_name AS CHAR), CAST(t.table_type AS CHAR),
                CAST(CASE WHEN e.transactions = 'YES' THEN NULL ELSE t.engine END AS CHAR)
         FROM information_schema.tables t LEFT JOIN information_schema.engines e ON e.engine = t.engine
         WHERE t.table_schema = database() AND t.table_name IN ('events', 'trunkline_cursors')",
    )
    .fetch_all(&mut *connection)
    .await?;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let columns = columns(connection).await?;
    let found = Table::ALL.into_iter().filter_map(|table| {
        let (_, kind, engine) = tables.iter().find(|(name, ..)| name == table.name())?;
        let other_than_table = match kind.as_str() {
            "BASE TABLE" | "SYSTEM VERSIONED" => None,
            "SEQUENCE" => Some("sequence"),
            _ => Some("view"),
        };
        let columns = columns.iter().filter(|described| described.0 == table.name()).map(|described| column(table, described));
        Some(Found { table, other_than_table, engine_without_transactions: engine.clone(), columns: columns.collect() })
    });
    Ok(found.collect())
}

/// Table, name, type, whether it is not null, fills itself, is part of the primary key; the type alone with its collation.
type Described = (String, String, String, i64, i64, i64, String);

async fn columns(connection: &mut MySqlConnection) -> Result<Vec<Described>, Error> {
    query_as(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR), is_nullable = 'NO',
                coalesce(column_default, 'NULL') <> 'NULL' OR extra LIKE '%auto_increment%' OR extra LIKE '%GENERATED%',
                column_key = 'PRI', CAST(concat_ws(' ', data_type, collation_name) AS CHAR)
         FROM information_schema.columns
         WHERE table_schema = database() AND table_name IN ('events', 'trunkline_cursors') ORDER BY ordinal_position",
    )
    .fetch_all(connection)
    .await
}

fn column(table: Table, described: &Described) -> Column {
    let (_, name, kind, is_not_null, fills_itself, is_primary_key, data_type) = described;
    let (data_type, collation) = data_type.split_once(' ').unwrap_or((data_type, ""));
    let has_collation = table == Table::Cursors && !collation.is_empty();
    let is_by_bytes = !has_collation || collation.ends_with("_bin");
    Column {
        name: name.clone(),
        kind: if has_collation { format!("{kind} COLLATE {collation}") } else { kind.clone() },
        is_not_null: *is_not_null != 0,
        fills_itself: *fills_itself != 0,
        is_primary_key: *is_primary_key != 0,
        sort: match data_type {
            kind if kind.ends_with("int") => Sort::Integer,
            kind if is_by_bytes && (kind == "varchar" || kind.ends_with("text")) => Sort::Text,
            _ => Sort::Other,
        },
    }
}
