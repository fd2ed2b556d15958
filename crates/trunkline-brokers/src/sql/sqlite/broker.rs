//! The adapter: from calls to transactions.

use std::sync::Arc;

use async_trait::async_trait;
use tracing::info;
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome};

use super::super::TABLE;
use super::database::{Database, Location};
use crate::blocking::Blocking;
use crate::job::{Job, Stored};

/// Inserts events into a table. See the [module](crate::sql) for what it promises.
#[derive(Debug)]
pub struct SqlBroker {
    location: Arc<Location>,
    state: Blocking<State>,
}

impl SqlBroker {
    /// A broker that writes into the SQLite database at `location`. Nothing is opened before the first call.
    pub fn sqlite(location: Location) -> Self {
        let location = Arc::new(location);
        let state = State { location: Arc::clone(&location), database: None, stored: Stored::default() };
        Self { location, state: Blocking::new(state) }
    }

    /// Where the events go.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

#[async_trait]
impl Broker for SqlBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let job = Job::from(batch);
        let result = self.state.call(move |state| state.publish(&job)).await.flatten();
        result.unwrap_or_else(|reason| Outcome::retry(reason).all(batch.events.len()))
    }

    /// Whether the database, or the directory where it would be created, is there, has the right table or none, and can
    /// be locked for writing. Nothing is created or written.
    async fn is_ready(&self) -> Result<(), String> {
        let location = Arc::clone(&self.location);
        tokio::task::spawn_blocking(move || Database::check(&location)).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let cursor = cursor.clone();
        self.state.call(move |state| state.with_database(|database| database.position(&cursor))).await.flatten()
    }

    async fn close(&self) {
        // Closing moves what is in the write-ahead log into the database. A panic of the closure is not possible.
        let _ = self.state.call(|state| state.database = None).await;
    }

    fn writes_without_ids_to(&self) -> Option<String> {
        Some(self.location.table(TABLE))
    }
}

/// What the calls work on.
#[derive(Debug)]
struct State {
    location: Arc<Location>,
    database: Option<Database>,
    stored: Stored,
}

impl State {
    fn publish(&mut self, job: &Job) -> Result<Vec<Outcome>, String> {
        let there = self.stored.events_already_there(job);
        let fresh = job.events.get(there..).unwrap_or_default();
        if fresh.is_empty() {
            return Ok(Outcome::Delivered.all(job.events.len()));
        }
        let Some(refused) = self.with_database(|database| database.store(fresh, &job.cursor, job.cursor_move()))? else {
            self.stored.advance(job, job.next);
            return Ok(Outcome::Delivered.all(job.events.len()));
        };
        self.stored.advance(job, job.next.and(Some(refused.offset)));
        let mut outcomes = Outcome::Delivered.all(there + refused.index);
        outcomes.push(Outcome::Reject { reason: refused.reason });
        outcomes.resize(job.events.len(), Outcome::retry("not tried, because an event before it was refused"));
        Ok(outcomes)
    }

    /// Works on the database, which is opened when it is not, or when its path leads elsewhere by now.
    fn with_database<T>(&mut self, work: impl FnOnce(&mut Database) -> rusqlite::Result<T>) -> Result<T, String> {
        let mut database = match self.database.take() {
            Some(database) if database.is_at(&self.location) => database,
            Some(moved) => {
                info!(database = %self.location, "Database was moved away and is opened anew");
                drop(moved);
                Database::open(&self.location)?
            }
            None => Database::open(&self.location)?,
        };
        let result = work(&mut database);
        // After an error a file is opened anew, which makes its table be checked again. In memory there is nothing else.
        if result.is_ok() || *self.location == Location::Memory {
            self.database = Some(database);
        }
        result.map_err(|error| self.location.explain(&error))
    }
}
