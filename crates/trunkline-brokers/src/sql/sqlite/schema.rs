//! The two tables.

use rusqlite::{Connection, OptionalExtension};

/// What Rasa's broker creates.
const CREATE_EVENTS: &str =
    "CREATE TABLE IF NOT EXISTS events (id INTEGER NOT NULL PRIMARY KEY, sender_id VARCHAR(255), data TEXT)";

/// Ours, in the same database so that one transaction covers both.
const CREATE_CURSORS: &str = "CREATE TABLE IF NOT EXISTS trunkline_cursors (journal TEXT NOT NULL, \
     subscription TEXT NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY (journal, subscription))";

const EXPECTED: &str = "events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT)";

struct Column {
    name: String,
    kind: String,
    is_not_null: bool,
    has_default: bool,
    is_primary_key: bool,
}

/// Creates what is missing.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(CREATE_EVENTS)?;
    connection.execute_batch(CREATE_CURSORS)
}

/// A sentence when there is something called `events` that our rows do not fit into.
///
/// Columns that somebody added are welcome as long as they can be left out, as they are with the original.
pub(super) fn objection(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let kind: Option<String> = connection
        .query_row("SELECT type FROM sqlite_schema WHERE name = 'events' COLLATE NOCASE", (), |row| row.get(0))
        .optional()?;
    match kind.as_deref() {
        None => return Ok(None),
        Some("table") => {}
        Some(other) => return Ok(Some(format!("`events` is a {other}, where a table {EXPECTED} is expected"))),
    }
    let columns = columns(connection)?;
    let column = |name: &str| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    let fits = column("id").is_some_and(|id| id.is_primary_key && id.kind.eq_ignore_ascii_case("INTEGER"))
        && column("sender_id").is_some()
        && column("data").is_some()
        && columns.iter().all(|column| {
            ["id", "sender_id", "data"].iter().any(|ours| column.name.eq_ignore_ascii_case(ours))
                || !column.is_not_null
                || column.has_default
        });
    Ok((!fits).then(|| {
        let found: Vec<String> = columns.iter().map(Column::describe).collect();
        format!(
            "the table found is events ({}), expected is {EXPECTED}; Rasa's SQL tracker store has a table of the same \
             name, so give the event broker a database of its own",
            found.join(", ")
        )
    }))
}

fn columns(connection: &Connection) -> rusqlite::Result<Vec<Column>> {
    let mut statement =
        connection.prepare("SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk > 0 FROM pragma_table_info('events')")?;
    let rows = statement.query_map((), |row| {
        Ok(Column {
            name: row.get(0)?,
            kind: row.get(1)?,
            is_not_null: row.get(2)?,
            has_default: row.get(3)?,
            is_primary_key: row.get(4)?,
        })
    })?;
    rows.collect()
}

impl Column {
    fn describe(&self) -> String {
        let constraint = match (self.is_primary_key, self.is_not_null) {
            (true, _) => " PRIMARY KEY",
            (false, true) => " NOT NULL",
            (false, false) => "",
        };
        format!("{} {}{constraint}", self.name, self.kind)
    }
}
