//! What the tests have in common.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use trunkline_core::{Clock, NewEvent};
use trunkline_journal::{Append, Appended, Appender, Journal, Limits, Options, Unavailable};

pub(crate) fn event(conversation: &str, number: usize) -> NewEvent {
    let text = format!(r#"{{"sender_id": "{conversation}", "event": "slot", "timestamp": 1.5, "name": "n", "value": {number}}}"#);
    NewEvent::parse(text.as_bytes(), None, 1.0).unwrap()
}

/// The body of [`event`].
pub(crate) fn body(conversation: &str, number: usize) -> String {
    String::from_utf8(event(conversation, number).body.to_vec()).unwrap()
}

/// An append of one event, known by `identity`.
pub(crate) fn known(conversation: &str, number: usize, identity: &str) -> Append {
    Append::one(event(conversation, number)).known_by(Some(identity.to_owned()))
}

/// An append of several events of one conversation.
pub(crate) fn several(conversation: &str, count: usize) -> Append {
    Append::new((0..count).map(|number| event(conversation, number)).collect())
}

/// A journal and who appends to it.
pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) appender: Appender,
}

impl Opened {
    pub(crate) fn at(directory: &Path) -> Self {
        Self::with(directory, Options::default())
    }

    pub(crate) fn with(directory: &Path, options: Options) -> Self {
        let (journal, appender) = Journal::open(directory, options).unwrap();
        Self { journal, appender }
    }

    pub(crate) async fn append(&self, append: Append) -> Appended {
        self.try_append(append).await.unwrap()
    }

    pub(crate) async fn try_append(&self, append: Append) -> Result<Appended, Unavailable> {
        self.appender.append(append).await
    }

    /// Closes the journal, and lets go of it, so that it can be opened again.
    pub(crate) async fn close(self) {
        self.journal.close().await;
    }

    /// All bodies, in order.
    pub(crate) async fn bodies(&self) -> Vec<String> {
        let (mut next, mut found) = (1, Vec::new());
        while next <= self.journal.head() {
            let chunk = self.journal.read(next, Limits::default()).await.unwrap();
            assert!(chunk.next > next && chunk.damaged.is_empty());
            found.extend(chunk.events.iter().map(|event| event.body_str().to_owned()));
            next = chunk.next;
        }
        found
    }
}

/// A journal of each engine, or the same one again after it was closed.
pub(crate) struct Place {
    directory: Option<TempDir>,
    pub(crate) options: Options,
}

impl Place {
    /// One of SQLite, one in memory.
    pub(crate) fn of_every_engine(options: &Options) -> [Self; 2] {
        [Some(TempDir::new().unwrap()), None].map(|directory| Self { directory, options: options.clone() })
    }

    pub(crate) fn open(&self) -> Opened {
        if let Some(directory) = &self.directory {
            return Opened::with(directory.path(), self.options.clone());
        }
        let (journal, appender, _) = Journal::in_memory(self.options.clone());
        Opened { journal, appender }
    }

    /// The journal after a restart; one in memory does not survive it, and goes on as it is.
    pub(crate) async fn again(&self, opened: Opened) -> Opened {
        if self.directory.is_none() {
            return opened;
        }
        opened.close().await;
        self.open()
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.directory.is_some() { "SQLite" } else { "memory" }
    }
}

/// A clock that stands until it is moved, and what moves it.
pub(crate) fn standing_clock() -> (Clock, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(1_000_000_000));
    let shared = Arc::clone(&millis);
    (Clock::from_fn(move || Duration::from_millis(shared.load(Ordering::Relaxed))), millis)
}

pub(crate) fn many(events: usize) -> Limits {
    Limits { events, ..Limits::default() }
}

/// Runs `sql` on a file of the journal, behind its back.
pub(crate) fn tamper(directory: &Path, file: &str, sql: &str) {
    rusqlite::Connection::open(directory.join(file)).unwrap().execute_batch(sql).unwrap();
}

/// Waits until the ticks of the journal have brought about what `is_done` asks for.
pub(crate) async fn eventually(mut is_done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !is_done().await {
        assert!(tokio::time::Instant::now() < deadline, "it did not come about in two minutes");
        tick.tick().await;
    }
}
