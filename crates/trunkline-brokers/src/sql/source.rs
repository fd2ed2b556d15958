//! Source `sql`: follows the table that a broker of this type writes, by its ids.
//!
//! What was read is remembered in a table of ours in the same database, `trunkline_positions`, unless told otherwise. So a row
//! comes again only when the reader stops between recording and settling it.
//!
//! Servers give out ids before they commit, so rows do not become visible in the order of their ids. A gap in the ids is passed
//! only when nobody can fill it any more: see [`Following`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};
use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_core::{Reader, Received, Source};

use super::dialect::Dialect;
use super::place::Place;
use super::shape::Table;
use super::sqlite::SqliteRows;
use super::{mysql, postgres};
use crate::ReadBy;
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

const DEFAULT_DB: &str = "events.db";
const DEFAULT_POLL: Duration = Duration::from_secs(1);

/// Rows in one answer.
const PAGE: usize = 256;

/// The longest that a question to the database takes.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(45);

/// How long a gap is watched at least. Between the moment in which an id is given out and the one in which the server shows that
/// a transaction has it there is next to nothing.
const GAP_HOLD: Duration = Duration::from_secs(2);

/// How often a gap is looked at, when nothing else is to be read.
const GAP_POLL: Duration = Duration::from_millis(200);

/// Builds the source from its section, which may be that of a broker; a relative `db` starts at `directory`.
pub fn sql_source_from_section(section: &Section<'_>, directory: &Path, by: ReadBy<'_>) -> Option<Arc<dyn Source>> {
    section.unknown_keys(UnknownKeys::Refuse);
    warn_of_idle_keys(section, ENDPOINT_KEYS);
    let place = Place::read(section, directory, DEFAULT_DB, &|name| std::env::var(name).ok());
    let table = table(section);
    let group = section.string("group");
    // Whoever names a group wants to go on where it was.
    let remembers = matches!(by, ReadBy::Gateway { .. }) || group.is_some();
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
    place: Place,
    table: String,
    /// Under which name the position is stored; `None` when it is not.
    group: Option<String>,
    poll: Duration,
}

impl fmt::Display for SqlSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Sqlite(location) => f.write_str(&location.table(&self.table)),
            Place::Server(server) => f.write_str(&server.table(&self.table)),
        }
    }
}

#[async_trait]
impl Source for SqlSource {
    fn place(&self) -> String {
        self.to_string()
    }

    async fn open(&self) -> Result<Box<dyn Reader>, String> {
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
        let position = position.unwrap_or(0);
        Ok(Box::new(Following { place, source: self.clone(), rows, position, final_to: i64::MIN, gap: None, is_asking: false }))
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
            Place::Sqlite(location) => Box::new(SqliteRows::new(location.clone(), self.table.clone())),
            Place::Server(server) if server.dialect == Dialect::MySql => {
                Box::new(mysql::MySqlRows::connect(server, &self.table).await.map_err(|failure| failure.reason)?)
            }
            Place::Server(server) => {
                Box::new(postgres::PostgresRows::connect(server, &self.table).await.map_err(|failure| failure.reason)?)
            }
        })
    }
}

/// Waits for the database, for so long at the most.
async fn within<T>(place: &str, question: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| Err(format!("{place} did not answer within {} s", QUESTION_TIMEOUT.as_secs()));
    timeout(QUESTION_TIMEOUT, question).await.unwrap_or_else(late)
}

/// What following a table needs of a database.
#[async_trait]
pub(super) trait Rows: Send {
    /// The names of the columns in lower case; none when there is no table.
    async fn columns(&mut self) -> Result<Vec<String>, String>;

    /// The last id that was settled under a name. Creates the table for it.
    async fn position(&mut self, group: &str) -> Result<Option<i64>, String>;

    /// Stores the last id that was settled.
    async fn settle(&mut self, group: &str, position: i64) -> Result<(), String>;

    /// The rows behind an id, in order.
    async fn after(&mut self, id: i64, most: usize) -> Result<Vec<Row>, String>;

    /// The largest id that can be seen, and the moment in which that is so.
    async fn newest(&mut self) -> Result<Newest, String>;

    /// Whether every transaction that was under way at `newest` has ended, as far as it may have given itself an id in between.
    async fn is_settled(&mut self, newest: Newest, behind: i64) -> Result<bool, String>;
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) data: String,
}

/// The end of the table at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) id: i64,
    /// The first transaction number that was not given out at that moment, where there are any.
    pub(super) transaction: i64,
}

/// A gap in the ids that stops us.
struct Gap {
    newest: Newest,
    since: Instant,
}

/// Follows a table.
///
/// Ids that follow each other without a gap can be read as soon as they are seen. At a gap, the end of the table is noted, and the
/// transactions that are under way; when all those have ended, nobody can fill a gap before that end any more.
struct Following {
    source: SqlSource,
    place: String,
    rows: Box<dyn Rows>,
    /// The last id that was given.
    position: i64,
    /// No row up to this id will appear any more.
    final_to: i64,
    gap: Option<Gap>,
    /// Whether the database was asked and has not answered.
    is_asking: bool,
}

/// What came of one look at the table.
enum Look {
    Found(Vec<Received>),
    /// Nothing; look again after so long.
    Nothing(Duration),
}

#[async_trait]
impl Reader for Following {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        loop {
            // A connection whose answer was not heard to the end would give the rest of it to the next question.
            if std::mem::replace(&mut self.is_asking, true) {
                self.rows = self.source.connect().await?;
            }
            let look = self.look().await?;
            self.is_asking = false;
            match look {
                Look::Found(received) => return Ok(Some(received)),
                Look::Nothing(wait) => sleep(wait).await,
            }
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        match &self.source.group {
            Some(group) => within(&self.place, self.rows.settle(group, self.position)).await,
            None => Ok(()),
        }
    }
}

impl Following {
    async fn look(&mut self) -> Result<Look, String> {
        let rows = within(&self.place, self.rows.after(self.position, PAGE)).await?;
        let ready = self.ready(&rows);
        if let Some(last) = ready.checked_sub(1).and_then(|last| rows.get(last)) {
            self.position = last.id;
            self.gap = None;
            return Ok(Look::Found(rows.into_iter().take(ready).map(Self::received).collect()));
        }
        Ok(Look::Nothing(if rows.is_empty() { self.source.poll } else { self.watch_gap().await? }))
    }

    /// How many rows at the head can be given.
    fn ready(&self, rows: &[Row]) -> usize {
        let mut before = self.position;
        let is_ready = |row: &&Row| {
            let follows = row.id <= self.final_to || before.checked_add(1) == Some(row.id);
            before = row.id;
            follows
        };
        rows.iter().take_while(is_ready).count()
    }

    /// Looks whether the gap can still be filled, and tells how long to wait before the next look.
    async fn watch_gap(&mut self) -> Result<Duration, String> {
        let Some(Gap { newest, since }) = self.gap else {
            let newest = within(&self.place, self.rows.newest()).await?;
            self.gap = Some(Gap { newest, since: Instant::now() });
            return Ok(GAP_POLL.min(self.source.poll));
        };
        let is_settled = since.elapsed() >= GAP_HOLD && within(&self.place, self.rows.is_settled(newest, self.position)).await?;
        if !is_settled {
            return Ok(GAP_POLL.min(self.source.poll));
        }
        self.final_to = newest.id;
        self.gap = None;
        Ok(Duration::ZERO)
    }

    fn received(row: Row) -> Received {
        // A table that was emptied gives its ids again, for other rows.
        let id = format!("{}-{:08x}", row.id, crc32fast::hash(row.data.as_bytes()));
        Received { id: Some(id.into()), origin: format!("row {}", row.id), body: row.data.into() }
    }
}
