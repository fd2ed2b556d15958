//! The two tables in SQLite.

use rusqlite::{Connection, OptionalExtension};

use crate::sql::shape::{self, Column, Found, Sort, Table};

/// What Rasa's broker creates.
const CREATE_EVENTS: &str =
    "CREATE TABLE IF NOT EXISTS events (id INTEGER NOT NULL PRIMARY KEY, sender_id VARCHAR(255), data TEXT)";

const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (journal TEXT NOT NULL, \
     subscription TEXT NOT NULL, next_offset INTEGER NOT NULL, writer TEXT NOT NULL, PRIMARY KEY (journal, subscription))";

/// Creates what is missing.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE_EVENTS)?;
    connection.execute_batch(CREATE_CURSORS)
}

/// A sentence when there is something under the name of one of the tables that our rows do not fit into.
pub(super) fn objection(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut found = Vec::new();
    for table in Table::ALL {
        found.extend(find(connection, table)?);
    }
    Ok(shape::objection(&found, expected))
}

fn expected(table: Table) -> &'static str {
    match table {
        Table::Events => "events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT)",
        Table::Cursors => {
            "trunkline_cursors (journal TEXT PRIMARY KEY, subscription TEXT PRIMARY KEY, next_offset INTEGER, writer TEXT)"
        }
    }
}

fn find(connection: &Connection, table: Table) -> rusqlite::Result<Option<Found>> {
    let sql = "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    let found: Option<(String, bool)> =
        connection.query_row(sql, [table.name()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((kind, is_without_rowid)) = found else { return Ok(None) };
    let other_than_table = match kind.as_str() {
        // Only the rowid gives itself a number.
        "table" if is_without_rowid && table == Table::Events => Some("table WITHOUT ROWID"),
        "table" => None,
        "view" => Some("view"),
        _ => Some("virtual table"),
    };
    Ok(Some(Found { table, other_than_table, engine_without_transactions: None, columns: columns(connection, table)? }))
}

fn columns(connection: &Connection, table: Table) -> rusqlite::Result<Vec<Column>> {
    // A primary key that is the rowid has no index of its own.
    let mut statement = connection.prepare(
        "SELECT name, type, \"notnull\", pk > 0,
                dflt_value IS NOT NULL OR pk > 0 AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')
         FROM pragma_table_info(?1)",
    )?;
    let rows = statement.query_map([table.name()], |row| {
        let kind: String = row.get(1)?;
        Ok(Column {
            name: row.get(0)?,
            sort: sort(&kind),
            kind,
            is_not_null: row.get(2)?,
            is_primary_key: row.get(3)?,
            fills_itself: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// By the affinity that SQLite derives from the type: with any other than these, texts that look like numbers become numbers. An
/// object, which is what JSON is here, never does.
fn sort(kind: &str) -> Sort {
    let kind = kind.to_ascii_uppercase();
    if kind.contains("INT") {
        Sort::Integer
    } else if kind.is_empty() || kind == "JSON" || ["CHAR", "CLOB", "TEXT", "BLOB"].iter().any(|text| kind.contains(text)) {
        Sort::Text
    } else {
        Sort::Other
    }
}
