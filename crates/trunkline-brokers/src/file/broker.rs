//! The adapter: from calls to lines.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tracing::info;
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome};

use super::log::Log;
use crate::blocking::Blocking;
use crate::job::{Job, Stored};
use crate::paths::{describe, missing_directory};

/// Appends events to a file. See the [module](crate::file) for what it promises.
#[derive(Debug)]
pub struct FileBroker {
    path: Arc<Path>,
    state: Blocking<State>,
}

impl FileBroker {
    /// A broker that appends to `path`. Nothing is opened before the first call.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path: Arc<Path> = path.into().into();
        Self { path: Arc::clone(&path), state: Blocking::new(State { path, log: None, stored: Stored::default() }) }
    }

    /// Where the events go.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl Broker for FileBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let job = Job::from(batch);
        let result = self.state.call(move |state| state.publish(&job)).await.flatten();
        result.map_or_else(Outcome::retry, |()| Outcome::Delivered).all(batch.events.len())
    }

    /// Whether the file, or the directory where it would be created, is there and may be written. Nothing is created.
    async fn is_ready(&self) -> Result<(), String> {
        let path = Arc::clone(&self.path);
        tokio::task::spawn_blocking(move || check(&path)).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let cursor = cursor.clone();
        self.state.call(move |state| state.position(&cursor)).await.flatten()
    }

    async fn close(&self) {
        // Everything is synced already; this gives the lock back. A panic of the closure is not possible.
        let _ = self.state.call(|state| state.log = None).await;
    }
}

/// What the calls work on.
#[derive(Debug)]
struct State {
    path: Arc<Path>,
    /// Taken out while it is worked on: after an error or a panic the next call opens anew, with the same care as after
    /// a crash, and so there is only one way to recover.
    log: Option<Log>,
    stored: Stored,
}

impl State {
    fn publish(&mut self, job: &Job) -> Result<(), String> {
        let fresh = job.events.get(self.stored.events_already_there(job)..).unwrap_or_default();
        if !fresh.is_empty() {
            let mut log = self.opened(&job.cursor)?;
            log.append(fresh, job.next).map_err(|error| describe("write", &self.path, &error))?;
            self.log = Some(log);
        }
        self.stored.advance(job, job.next);
        Ok(())
    }

    fn position(&mut self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let log = self.opened(cursor)?;
        let next = log.next();
        self.log = Some(log);
        Ok(next)
    }

    /// The log at the path as it is now; a log that was renamed or removed is let go.
    fn opened(&mut self, cursor: &CursorKey) -> Result<Log, String> {
        if let Some(log) = self.log.take() {
            if log.is_current(cursor) {
                return Ok(log);
            }
            info!(path = %self.path.display(), "File was moved away or changed hands and is opened anew");
        }
        Log::open(&self.path, cursor)
    }
}

fn check(path: &Path) -> Result<(), String> {
    match path.metadata() {
        // Opening a pipe without a reader would block.
        Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
        Ok(_) => OpenOptions::new().append(true).open(path).map(drop).map_err(|error| describe("open", path, &error)),
        Err(error) if error.kind() == ErrorKind::NotFound => missing_directory(path)
            .map_or(Ok(()), |reason| Err(format!("cannot create `{}`: {reason}; create it, or correct `path`", path.display()))),
        Err(error) => Err(describe("open", path, &error)),
    }
}
