//! Source `sql`: follows the table that a broker of this type writes, by its ids.
//!
//! What was read is remembered in a table of ours in the same database, `trunkline_positions`, unless told otherwise. So a row
//! comes again only when the reader stops between recording and settling it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trunkline_adapter::ReadBy;
use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_core::{Reader, Source};

use super::dialect::Dialect;
use super::following::{Following, Rows, within};
use super::place::DatabasePlace;
use super::shape::Table;
use super::sqlite::SqliteRows;
use super::{mysql, postgres};
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

const DEFAULT_DB: &str = "events.db";
const DEFAULT_POLL: Duration = Duration::from_secs(1);

/// Builds the source from its section, which may be that of a broker; a relative `db` starts at `directory`.
pub fn sql_source_from_section(section: &Section<'_>, directory: &Path, by: ReadBy) -> Option<Arc<dyn Source>> {
    section.unknown_keys(UnknownKeys::Refuse);
    warn_of_idle_keys(section, ENDPOINT_KEYS);
    let place = DatabasePlace::read(section, directory, DEFAULT_DB, &|name| std::env::var(name).ok());
    let table = table(section);
    let group = section.string("group");
    // Whoever names a group wants to go on where it was.
    let remembers = matches!(by, ReadBy::Gateway) || group.is_some();
    let group = group.unwrap_or_else(|| by.group().to_owned());
    if group.is_empty() || group.chars().count() > 255 {
        section.unexpected("group", "1 to 255 characters", None);
    }
    let is_stored = section.enumeration("position", &[("stored", true), ("none", false)]).unwrap_or(remembers);
    let poll = section.duration("poll", TimeUnit::Seconds).unwrap_or(DEFAULT_POLL);
    if poll < Duration::from_millis(10) {
        section.unexpected("poll", "at least 10 ms", None);
    }
    Some(Arc::new(SqlSource { place: place?, table: table?, group: is_stored.then_some(group), poll }))
}

/// The name of the table, which may have that of its schema before it; it becomes part of statements as it is.
fn table(section: &Section<'_>) -> Option<String> {
    let table = section.string("table").unwrap_or_else(|| Table::Events.name().to_owned());
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if table.split('.').count() <= 2 && table.split('.').all(is_name) {
        return Some(table);
    }
    section.unexpected("table", "a name of letters, digits and `_`, or two with a `.` between them", None);
    None
}

/// A table that is followed.
#[derive(Clone, Debug)]
pub struct SqlSource {
    place: DatabasePlace,
    table: String,
    /// Under which name the position is stored; `None` when it is not.
    group: Option<String>,
    poll: Duration,
}

impl fmt::Display for SqlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            DatabasePlace::Sqlite(location) => f.write_str(&location.table(&self.table)),
            DatabasePlace::Server(server) => f.write_str(&server.table(&self.table)),
        }
    }
}

#[async_trait]
impl Source for SqlSource {
    fn place(&self) -> trunkline_core::Place {
        match &self.place {
            DatabasePlace::Sqlite(location) => location.absolute().table(&self.table).into(),
            DatabasePlace::Server(_) => self.to_string().into(),
        }
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        let place = self.to_string();
        let mut rows = self.table().await?;
        let position = match &self.group {
            Some(group) => {
                let position = within(&place, rows.position(group)).await;
                position.map_err(|reason| {
                    format!("{reason} (the position is stored in `trunkline_positions`; to store none, set `position: none`)")
                })?
            }
            None => None,
        };
        Ok(Box::new(Following::new(place, rows, self.group.clone(), position.unwrap_or(0), self.poll)))
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.table().await.map(drop)
    }
}

impl SqlSource {
    /// A connection, when the table is one that can be read.
    async fn table(&self) -> Result<Box<dyn Rows>, String> {
        let place = self.to_string();
        let mut rows = self.connect().await?;
        let columns = within(&place, rows.columns()).await?;
        if columns.is_empty() {
            return Err(format!("there is no {self}; it appears with the first event that is published"));
        }
        let has = |name: &str| columns.iter().any(|column| column == name);
        if has("type_name") {
            return Err(format!("{self} is that of a tracker store, whose events `trunkline export` reads"));
        }
        if !has("id") || !has("data") {
            return Err(format!("{self} has the columns {}, expected are id and data", columns.join(", ")));
        }
        Ok(rows)
    }

    async fn connect(&self) -> Result<Box<dyn Rows>, String> {
        Ok(match &self.place {
            DatabasePlace::Sqlite(location) => Box::new(SqliteRows::new(location.clone(), self.table.clone())),
            DatabasePlace::Server(server) if server.dialect == Dialect::MySql => {
                Box::new(mysql::MySqlRows::connect(server, &self.table).await.map_err(|failure| failure.reason)?)
            }
            DatabasePlace::Server(server) => {
                Box::new(postgres::PostgresRows::connect(server, &self.table).await.map_err(|failure| failure.reason)?)
            }
        })
    }
}
