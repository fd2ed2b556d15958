//! The adapter: from calls to transactions.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::ErrorCode;
use tracing::info;
use trunkline_core::{Batch, Broker, CursorKey, LastTrouble, Offset, Outcome, Place};

use super::database::{Appended, Database, Location};
use crate::blocking::Blocking;
use crate::cursor::{Astray, Cursor, Known, new_writer};
use crate::job::Job;
use crate::sql::cursors::{behind, moved_by_another, report_gone};
use crate::sql::refused::{Refused, outcomes};
use crate::sql::shape::Table;

/// Inserts events into a table. See the [module](crate::sql) for what it promises.
#[derive(Debug)]
pub struct SqlBroker {
    location: Arc<Location>,
    state: Blocking<DatabaseWriter>,
    /// A full disk, which nothing but the next batch shows to be over.
    shortage: Arc<LastTrouble>,
}

impl SqlBroker {
    /// A broker that writes into the SQLite database at `location`. Nothing is opened before the first call.
    pub fn sqlite(location: Location) -> Self {
        let location = Arc::new(location);
        let shortage = Arc::new(LastTrouble::default());
        let state = DatabaseWriter {
            location: Arc::clone(&location),
            database: None,
            writer: new_writer(),
            cursors: HashMap::new(),
            shortage: Arc::clone(&shortage),
        };
        Self { location, state: Blocking::new(state), shortage }
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
    /// be locked for writing, and had room for the last batch. Nothing is created or written.
    async fn is_ready(&self) -> Result<(), String> {
        let location = Arc::clone(&self.location);
        tokio::task::spawn_blocking(move || Database::check(&location)).await.unwrap_or_else(|error| Err(error.to_string()))?;
        self.shortage.is_over()
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let cursor = cursor.clone();
        self.state.call(move |state| state.position(&cursor)).await.flatten()
    }

    async fn close(&self) {
        // Closing moves what is in the write-ahead log into the database. A panic of the closure is not possible.
        let _ = self.state.call(|state| state.database = None).await;
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        Some(self.location.absolute().table(Table::Events.name()).into())
    }
}

/// What the calls work on.
#[derive(Debug)]
struct DatabaseWriter {
    location: Arc<Location>,
    database: Option<Database>,
    /// This run of this adapter, as it signs cursors.
    writer: String,
    cursors: HashMap<CursorKey, Known>,
    shortage: Arc<LastTrouble>,
}

impl DatabaseWriter {
    fn publish(&mut self, job: &Job) -> Result<Vec<Outcome>, String> {
        match job.next {
            Some(next) => self.append(job, next),
            None => self.replay(job),
        }
    }

    fn append(&mut self, job: &Job, next: Offset) -> Result<Vec<Outcome>, String> {
        let Job { events, cursor: key, .. } = job;
        let to = Cursor { next, writer: self.writer.clone() };
        let appended = self.with_database(|database, cursors| {
            let appended = database.append(events, key, cursors.get(key), &to)?;
            if let Appended::Done { known, .. } = &appended {
                cursors.insert(key.clone(), known.clone());
            }
            Ok(appended)
        })?;
        match appended {
            Appended::Done { there, refused, .. } => Ok(outcomes(events.len(), there, self.blame(refused)?)),
            Appended::Astray(Astray::Gone, _) => {
                let was = self.cursors.remove(key).and_then(|known| known.position());
                report_gone(&self.location, key, was);
                self.append(job, next)
            }
            Appended::Astray(Astray::Back, is) => {
                let was = self.cursors.get(key).and_then(Known::position);
                Ok(behind(format!("the database `{}`", self.location), key, was, is).all(events.len()))
            }
            Appended::Astray(Astray::ByAnother, _) => Err(moved_by_another(key)),
        }
    }

    fn replay(&mut self, job: &Job) -> Result<Vec<Outcome>, String> {
        let writer = self.writer.clone();
        let passes = job.passes().map(|key| (key, writer.as_str()));
        let refused = self.with_database(|database, _| database.replay(&job.events, passes))?;
        Ok(outcomes(job.events.len(), 0, self.blame(refused)?))
    }

    /// Looks whether it is the table's fault that it refused a row: somebody may have altered it since we looked.
    fn blame(&mut self, refused: Option<Refused>) -> Result<Option<Refused>, String> {
        let Some(refused) = refused else { return Ok(None) };
        let objection = self.with_database(|database, _| database.objection())?;
        Ok(Some(match objection {
            Some(objection) => refused.by_fault_of_table(self.location.objects(&objection)),
            None => refused,
        }))
    }

    fn position(&mut self, key: &CursorKey) -> Result<Option<Offset>, String> {
        let found = self.with_database(|database, _| database.cursor(key))?;
        let known = Known::first(found, &self.writer);
        let position = known.position();
        self.cursors.insert(key.clone(), known);
        Ok(position)
    }

    /// Works on the database, which is opened when it is not, or when its path leads elsewhere by now.
    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&mut Database, &mut HashMap<CursorKey, Known>) -> rusqlite::Result<T>,
    ) -> Result<T, String> {
        let mut database = match self.database.take() {
            Some(database) if database.is_at(&self.location) => database,
            moved => {
                if moved.is_some() {
                    info!(database = %self.location, "Database was moved away and is opened anew");
                    drop(moved);
                }
                let database = Database::open(&self.location)?;
                if database.is_new {
                    // Whoever moved the rows away has not lost them.
                    self.cursors.clear();
                }
                database
            }
        };
        let result = work(&mut database, &mut self.cursors);
        // After an error a file is opened anew, which makes its table be checked again. In memory there is nothing else.
        if result.is_ok() || *self.location == Location::Memory {
            self.database = Some(database);
        }
        let is_shortage = result.as_ref().is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::DiskFull));
        let result = result.map_err(|error| self.location.explain(&error));
        self.shortage.set(result.as_ref().err().filter(|_| is_shortage).cloned());
        result
    }
}
