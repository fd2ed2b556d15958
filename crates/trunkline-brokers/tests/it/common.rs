//! Events, batches, and a delivery that is as simple as can be.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;
use trunkline_core::{Batch, Broker, CursorKey, Event, JournalId, NewEvent, Offset, Outcome, Timestamp};

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

pub(crate) fn key() -> CursorKey {
    CursorKey { journal: JournalId::random(), subscription: "brokers/0".into() }
}

/// An event of `conversation` whose text is `text`, laid out as the journal holds it.
pub(crate) fn event(offset: Offset, conversation: &str, text: &str) -> Arc<Event> {
    let text = serde_json::json!({"event": "user", "timestamp": offset, "text": text}).to_string();
    let new = NewEvent::parse(text.as_bytes(), Some(conversation), 1.0).unwrap();
    Arc::new(new.recorded(JournalId::random(), Timestamp(1), offset))
}

/// A journal of `count` events from offset 1, some offsets being left out as by a filter.
pub(crate) fn journal(count: u64) -> Vec<Arc<Event>> {
    (1..=count)
        .map(|number| event(number * 3 - number % 2, &format!("user{}", number % 3), &format!("Hallo\n№ {number}")))
        .collect()
}

pub(crate) fn batch(events: &[Arc<Event>], cursor: &CursorKey) -> Batch {
    let next = events.last().map(|event| event.offset + 1);
    Batch { next, ..Batch::new(events.to_vec(), cursor.clone()) }
}

pub(crate) fn replay(events: &[Arc<Event>], cursor: &CursorKey) -> Batch {
    Batch { next: None, ..batch(events, cursor) }
}

/// What a file broker makes of `events`.
pub(crate) fn lines(events: &[Arc<Event>]) -> Vec<u8> {
    events.iter().flat_map(|event| [event.body_str(), "\n"].concat().into_bytes()).collect()
}

/// The rotated files of the one at `path`, the oldest first, compressed ones only where the original is gone.
pub(crate) fn rotated(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|other| other.starts_with(&format!("{name}.2"))).collect();
    names.sort();
    let is_needed = |name: &String| match name.strip_suffix(".gz") {
        Some(plain) => !names.iter().any(|other| other == plain),
        None => name.ends_with('Z'),
    };
    names.iter().filter(|name| is_needed(name)).map(|name| path.with_file_name(name)).collect()
}

/// What stands in a file, compressed or not; `None` when it is gone.
fn find(file: &Path) -> Option<Vec<u8>> {
    let bytes = match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        bytes => bytes.unwrap(),
    };
    if file.extension().is_none_or(|extension| extension != "gz") {
        return Some(bytes);
    }
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
    Some(plain)
}

/// What stands in a file, compressed or not.
pub(crate) fn read(file: &Path) -> Vec<u8> {
    find(file).unwrap()
}

/// What stands in all files, from the oldest rotated one to the one at `path`. A broker that was dropped may still be at
/// compressing one; then it looks again.
pub(crate) fn everything(path: &Path) -> Vec<u8> {
    loop {
        let files = rotated(path).into_iter().chain(path.exists().then(|| path.to_owned()));
        if let Some(found) = files.map(|file| find(&file)).collect::<Option<Vec<_>>>() {
            return found.concat();
        }
    }
}

/// Waits until `is_so`, for ten seconds at the most.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap();
}

/// Publishes and demands that all of it is delivered.
pub(crate) async fn deliver(broker: &dyn Broker, batch: &Batch) {
    let outcomes = broker.publish(batch).await;
    assert_eq!(outcomes, Outcome::Delivered.all(batch.events.len()));
}

/// The part of `journal` that comes next, by the broker's own cursor.
pub(crate) async fn rest<'a>(broker: &dyn Broker, journal: &'a [Arc<Event>], key: &CursorKey) -> &'a [Arc<Event>] {
    let next = broker.position(key).await.unwrap().unwrap_or(0);
    &journal[journal.partition_point(|event| event.offset < next)..]
}

pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "",
        Outcome::Retry { reason, .. } | Outcome::Reject { reason } | Outcome::Behind { reason } => reason,
    }
}
