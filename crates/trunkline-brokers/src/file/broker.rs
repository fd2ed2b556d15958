//! The adapter: from calls to lines.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tracing::info;
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome, Place};

use super::Options;
use super::log::Log;
use super::tidy::Tidy;
use crate::blocking::Blocking;
use crate::job::{Job, Stored};
use crate::paths::{describe, missing_directory};

/// Appends events to a file. See the [module](crate::file) for what it promises.
#[derive(Debug)]
pub struct FileBroker {
    path: Arc<Path>,
    state: Blocking<FileWriter>,
}

impl FileBroker {
    /// A broker that appends to `path`. Nothing is opened before the first call.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::with_options(path, Options::default())
    }

    /// The same, with what can be chosen.
    pub fn with_options(path: impl Into<PathBuf>, options: Options) -> Self {
        let path: Arc<Path> = path.into().into();
        let tidy = options.rotate.as_ref().map(|rotation| Tidy::new(&path, rotation));
        let state = FileWriter { path: Arc::clone(&path), options, log: None, stored: Stored::default(), tidy, failure: None };
        Self { path, state: Blocking::new(state) }
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

    /// Whether the file, or the directory where it would be created, is there and may be written, and the last batch could be.
    /// Nothing is created.
    async fn is_ready(&self) -> Result<(), String> {
        self.state.call(|state| state.is_ready()).await.flatten()
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let cursor = cursor.clone();
        self.state.call(move |state| state.position(&cursor)).await.flatten()
    }

    async fn close(&self) {
        // Everything is written already; this gives the lock back. A panic of the closure is not possible.
        let _ = self.state.call(FileWriter::close).await;
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        Some(super::place(&self.path))
    }
}

/// What the calls work on.
#[derive(Debug)]
struct FileWriter {
    path: Arc<Path>,
    options: Options,
    /// Taken out while it is worked on: after an error or a panic the next call opens anew, with the same care as after
    /// a crash, and so there is only one way to recover.
    log: Option<Log>,
    stored: Stored,
    tidy: Option<Tidy>,
    /// Why the last batch could not be written, when nothing but the next shows whether that is over: a full disk.
    failure: Option<String>,
}

impl FileWriter {
    fn publish(&mut self, job: &Job) -> Result<(), String> {
        let result = self.write(job);
        self.failure = result.as_ref().err().filter(|_| self.check().is_ok()).cloned();
        result
    }

    fn is_ready(&self) -> Result<(), String> {
        self.check()?;
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn write(&mut self, job: &Job) -> Result<(), String> {
        let fresh = job.events.get(self.stored.events_already_there(job)..).unwrap_or_default();
        if !fresh.is_empty() {
            let mut log = self.opened(&job.cursor)?;
            let result = log.append(fresh, job.next).map_err(|error| describe("write", &self.path, &error));
            if log.take_has_rotated() {
                self.tidy();
            }
            result?;
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
        let log = Log::open(&self.path, cursor, &self.options)?;
        // What an earlier process left.
        self.tidy();
        Ok(log)
    }

    fn tidy(&self) {
        if let Some(tidy) = &self.tidy {
            tidy.start();
        }
    }

    fn close(&mut self) {
        self.log = None;
        if let Some(tidy) = &self.tidy {
            tidy.stop();
        }
    }

    /// What can be found out without writing.
    fn check(&self) -> Result<(), String> {
        let path = &self.path;
        match path.metadata() {
            Ok(metadata) if self.tidy.is_some() && !metadata.is_file() && !metadata.is_dir() => {
                Err(format!("`{}` is no regular file and cannot be rotated; leave out `rotate`", path.display()))
            }
            // Opening a pipe without a reader would block.
            Ok(metadata) if !metadata.is_file() && !metadata.is_dir() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(path).map(drop).map_err(|error| describe("open", path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => missing_directory(path).map_or(Ok(()), |reason| {
                Err(format!("cannot create `{}`: {reason}; create it, or correct `path`", path.display()))
            }),
            Err(error) => Err(describe("open", path, &error)),
        }
    }
}
