//! The two tables in PostgreSQL.

use sqlx::postgres::PgConnection;
use sqlx::{Error, query_as, query_scalar, raw_sql};

use super::error::is_created_twice;
use crate::sql::shape::{self, Column, Found, Sort, Table};

/// What SQLAlchemy creates for Rasa's broker.
const CREATE_EVENTS: &str =
    "CREATE TABLE IF NOT EXISTS events (id SERIAL NOT NULL, sender_id VARCHAR(255), data TEXT, PRIMARY KEY (id))";

const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (journal TEXT NOT NULL, subscription TEXT NOT NULL, \
     next_offset BIGINT NOT NULL, writer TEXT NOT NULL, PRIMARY KEY (journal, subscription))";

/// Creates what was not found. A table that stands anywhere on the search path is not missing, as to the original.
pub(super) async fn create(connection: &mut PgConnection, found: &[Found]) -> Result<(), Error> {
    for (table, sql) in [(Table::Events, CREATE_EVENTS), (Table::Cursors, CREATE_CURSORS)] {
        if found.iter().any(|found| found.table == table) {
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

/// A sentence when our rows do not fit into what was found.
pub(super) fn objection(found: &[Found]) -> Option<String> {
    shape::objection(found, |table| match table {
        Table::Events => "events (id SERIAL PRIMARY KEY, sender_id VARCHAR(255), data TEXT)",
        Table::Cursors => {
            "trunkline_cursors (journal TEXT PRIMARY KEY, subscription TEXT PRIMARY KEY, next_offset BIGINT, writer TEXT)"
        }
    })
}

/// Table, kind, and a column: name, type, whether it is not null, fills itself, is part of the primary key.
type Described = (String, String, String, String, bool, bool, bool);

/// What there is under the names of the tables.
pub(super) async fn find(connection: &mut PgConnection) -> Result<Vec<Found>, Error> {
    let described: Vec<Described> = query_as(
        "SELECT c.relname::text, c.relkind::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                a.atthasdef OR a.attidentity <> '',
                EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         WHERE c.relname = ANY ($1) AND c.relkind <> 'i' AND pg_table_is_visible(c.oid) ORDER BY a.attnum",
    )
    .bind(Table::ALL.map(Table::name))
    .fetch_all(connection)
    .await?;
    Ok(Table::ALL.into_iter().filter_map(|table| found(table, &described)).collect())
}

fn found(table: Table, described: &[Described]) -> Option<Found> {
    let described = || described.iter().filter(|described| described.0 == table.name());
    let other_than_table = match described().next()?.1.as_str() {
        "r" | "p" => None,
        "v" => Some("view"),
        "m" => Some("materialized view"),
        "f" => Some("foreign table"),
        "S" => Some("sequence"),
        _ => Some("type"),
    };
    let columns = described().map(|(_, _, name, kind, is_not_null, fills_itself, is_primary_key)| Column {
        name: name.clone(),
        kind: kind.clone(),
        is_not_null: *is_not_null,
        fills_itself: *fills_itself,
        is_primary_key: *is_primary_key,
        sort: match kind.as_str() {
            "smallint" | "integer" | "bigint" => Sort::Integer,
            kind if kind == "text" || kind.starts_with("character varying") => Sort::Text,
            _ => Sort::Other,
        },
    });
    Some(Found { table, other_than_table, engine_without_transactions: None, columns: columns.collect() })
}
