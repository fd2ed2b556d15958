//! Rasa's SQL tracker store, read: the history of every conversation, for an export.
//!
//! Its table is `events(id, sender_id, type_name, timestamp, intent_name, action_name, data)`, of the same name as the
//! broker's and of another shape. Nothing is ever written to it.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use trunkline_config::{Section, UnknownKeys};

use super::history::ServerHistory;
use super::place::DatabasePlace;
use super::sqlite::History;
use crate::blocking::Blocking;

/// Rasa's default.
const DEFAULT_DB: &str = "rasa.db";

/// How many events a page has at the most.
const PAGE: usize = 256;

/// The columns that are read.
const COLUMNS: [&str; 4] = ["id", "sender_id", "timestamp", "data"];

/// The database of a Rasa server. Nothing is opened before the first call, and every wait has an end.
#[derive(Debug)]
pub struct SqlTrackerStore {
    place: String,
    table: Table,
}

#[derive(Debug)]
enum Table {
    Sqlite(Blocking<History>),
    Server(Box<ServerHistory>),
}

/// A row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// The primary key.
    pub id: i64,
    /// The column `timestamp` in Unix seconds; `None` when it is null. MySQL keeps it to about two minutes only, so the member
    /// `timestamp` of [`data`](Self::data) is the one to go by.
    pub timestamp: Option<f64>,
    /// The event as a JSON object, without the `sender_id` that an export appends as its last member; empty when it is null.
    pub data: String,
}

/// The events of one conversation that are still to be read.
#[derive(Debug)]
pub struct Conversation<'a> {
    store: &'a SqlTrackerStore,
    ids: std::vec::IntoIter<i64>,
}

impl fmt::Display for SqlTrackerStore {
    /// Where it is, for a person; the same wherever it is read from. Contains no secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl SqlTrackerStore {
    /// The tracker store of a section `tracker_store` with `type: SQL`; a relative `db` starts at `directory`.
    ///
    /// The caller has asked the section for its `type` before. Unknown keys are warned of. Every problem is reported through
    /// the section; `None` only beside an error. No file is read and nothing is connected to. `POSTGRESQL_SCHEMA` in the
    /// environment names the schema in PostgreSQL, as in Rasa.
    pub fn from_section(section: &Section<'_>, directory: &Path) -> Option<Self> {
        Self::from_section_in(section, directory, &|name| std::env::var(name).ok())
    }

    /// The same with another environment than that of the process.
    pub fn from_section_in(
        section: &Section<'_>,
        directory: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        section.unknown_keys(UnknownKeys::Warn);
        // Rasa needs it for creating a database.
        section.node("login_db");
        match DatabasePlace::read(section, directory, DEFAULT_DB, environment)? {
            DatabasePlace::Sqlite(location) => Some(Self {
                place: format!("the SQLite database `{}`", location.absolute()),
                table: Table::Sqlite(Blocking::new(History::new(location))),
            }),
            DatabasePlace::Server(server) => {
                Some(Self { place: server.to_string(), table: Table::Server(Box::new(ServerHistory::new(*server))) })
            }
        }
    }

    /// The ids of all conversations, in the order in which they began. The error says what to do.
    pub async fn conversations(&self) -> Result<Vec<String>, String> {
        self.check().await?;
        match &self.table {
            Table::Sqlite(history) => history.call(History::conversations).await.flatten(),
            Table::Server(history) => history.conversations().await,
        }
    }

    /// Begins to read a conversation: its whole history with all its sessions, ordered by the column `timestamp` and, where
    /// that is equal, as stored. A conversation that does not exist has no events.
    ///
    /// What Rasa adds while it is being read is left out.
    pub async fn conversation(&self, sender_id: &str) -> Result<Conversation<'_>, String> {
        let ids = match &self.table {
            Table::Sqlite(history) => {
                let sender_id = sender_id.to_owned();
                history.call(move |history| history.ids(&sender_id)).await.flatten()?
            }
            Table::Server(history) => history.ids(sender_id).await?,
        };
        Ok(Conversation { store: self, ids: ids.into_iter() })
    }

    /// A sentence when the table is not there, or is another.
    async fn check(&self) -> Result<(), String> {
        let columns = match &self.table {
            Table::Sqlite(history) => history.call(History::columns).await.flatten()?,
            Table::Server(history) => history.columns().await?,
        };
        let place = &self.place;
        if columns.is_empty() {
            return Err(format!("{place} has no table `events`; is it the one that Rasa's tracker store writes to?"));
        }
        if COLUMNS.iter().all(|expected| columns.iter().any(|column| column == expected)) {
            return Ok(());
        }
        let found = columns.join(", ");
        let hint = "the table of Rasa's event broker has the same name; is this the database of the tracker store?";
        Err(format!("the table `events` in {place} has the columns {found}, expected are {}; {hint}", COLUMNS.join(", ")))
    }

    async fn rows(&self, ids: Vec<i64>) -> Result<Vec<StoredEvent>, String> {
        match &self.table {
            Table::Sqlite(history) => history.call(move |history| history.rows(&ids)).await.flatten(),
            Table::Server(history) => history.rows(&ids).await,
        }
    }
}

impl Conversation<'_> {
    /// How many events are still to be read.
    pub fn remaining(&self) -> usize {
        self.ids.len()
    }

    /// The next events, 256 at the most; `None` at the end. Those that were deleted meanwhile are left out.
    pub async fn next_page(&mut self) -> Result<Option<Vec<StoredEvent>>, String> {
        let ids: Vec<i64> = self.ids.by_ref().take(PAGE).collect();
        if ids.is_empty() { Ok(None) } else { self.store.rows(ids).await.map(Some) }
    }
}

/// The rows in the order of their ids.
pub(super) fn in_order(ids: &[i64], rows: Vec<(i64, Option<f64>, Option<String>)>) -> Vec<StoredEvent> {
    let mut rows: HashMap<i64, StoredEvent> = rows
        .into_iter()
        .map(|(id, timestamp, data)| (id, StoredEvent { id, timestamp, data: data.unwrap_or_default() }))
        .collect();
    ids.iter().filter_map(|id| rows.remove(id)).collect()
}
