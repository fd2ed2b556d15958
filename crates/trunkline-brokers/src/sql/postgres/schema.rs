//! The two tables in PostgreSQL.

use sqlx::postgres::PgConnection;
use sqlx::{Error, query_as, query_scalar, raw_sql};

use super::error::is_created_twice;
use crate::sql::shape::{Column, Found, Sort};

/// What SQLAlchemy creates for Rasa's broker.
const CREATE_EVENTS: &str =
    "CREATE TABLE IF NOT EXISTS events (id SERIAL NOT NULL, sender_id VARCHAR(255), data TEXT, PRIMARY KEY (id))";

/// Ours, in the same schema so that one transaction covers both.
const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (journal TEXT NOT NULL, subscription TEXT NOT NULL, \
     next_offset BIGINT NOT NULL, PRIMARY KEY (journal, subscription))";

pub(super) const EVENTS: &str = "events";
pub(super) const CURSORS: &str = "trunkline_cursors";

/// Creates what is missing. A table that stands anywhere on the search path is not missing, as to the original.
pub(super) async fn create(connection: &mut PgConnection) -> Result<(), Error> {
    for (table, sql) in [(EVENTS, CREATE_EVENTS), (CURSORS, CREATE_CURSORS)] {
        if exists(connection, table).await? {
            continue;
        }
        match raw_sql(sql).execute(&mut *connection).await {
            // `IF NOT EXISTS` does not see what another session is about to create.
            Err(error) if !is_created_twice(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether there is a table, view or the like of this name on the search path.
pub(super) async fn exists(connection: &mut PgConnection, table: &str) -> Result<bool, Error> {
    query_scalar("SELECT EXISTS (SELECT FROM pg_class WHERE relname = $1 AND relkind <> 'i' AND pg_table_is_visible(oid))")
        .bind(table)
        .fetch_one(connection)
        .await
}

/// What is called `events`.
pub(super) async fn find(connection: &mut PgConnection) -> Result<Option<Found>, Error> {
    let relations: Vec<(i64, String)> = query_as(
        "SELECT oid::bigint, relkind::text FROM pg_class WHERE relname = $1 AND relkind <> 'i' AND pg_table_is_visible(oid)",
    )
    .bind(EVENTS)
    .fetch_all(&mut *connection)
    .await?;
    let Some((oid, kind)) = relations.into_iter().next() else { return Ok(None) };
    let kind = match kind.as_str() {
        "r" | "p" => None,
        "v" => Some("view"),
        "m" => Some("materialized view"),
        "f" => Some("foreign table"),
        "S" => Some("sequence"),
        _ => Some("type"),
    };
    let columns: Vec<(String, String, bool, bool, bool)> = query_as(
        "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.atthasdef OR a.attidentity <> '',
                EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey))
         FROM pg_attribute a WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
    )
    .bind(oid)
    .fetch_all(connection)
    .await?;
    let columns = columns.into_iter().map(|(name, kind, is_not_null, has_default, is_primary_key)| {
        let sort = match kind.as_str() {
            "smallint" | "integer" | "bigint" => Sort::Integer,
            kind if kind == "text" || kind.starts_with("character varying") => Sort::Text,
            _ => Sort::Other,
        };
        Column { fills_itself: has_default, name, kind, is_not_null, is_primary_key, sort }
    });
    Ok(Some(Found { other_than_table: kind, columns: columns.collect() }))
}
