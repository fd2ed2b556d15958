//! Sources: brokers that are read, and whose events are appended to the journal.
//!
//! Each source has a task. It connects, receives, appends, and settles only when what it received is durable, so nothing is
//! lost by a crash on either side; what then comes again is known by its identity and not appended twice. What is no event is set
//! aside, because it must neither hold up the source nor be lost in silence.

mod metrics;
mod reading;
mod rejected;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use trunkline_core::Source;

pub use metrics::Metrics;
use reading::Reading;

use crate::partition::Partitions;

/// A source at work.
#[derive(Debug)]
pub struct RunningSource {
    state: Arc<SourceState>,
    ended: CancellationToken,
}

/// How a source is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Whether it is connected.
    pub connected: bool,
    /// How many messages it gave, those that came again included.
    pub received: u64,
    /// Why it is not connected, or why nothing is appended.
    pub problem: Option<String>,
}

/// The same while it changes.
#[derive(Debug, Default)]
struct SourceState {
    name: String,
    connected: AtomicBool,
    received: AtomicU64,
    problem: Mutex<Option<String>>,
}

/// Starts to read `source`, which is called `name`, until `stop`.
pub fn start(
    name: String,
    source: Arc<dyn Source>,
    partitions: Partitions,
    metrics: &Metrics,
    stop: CancellationToken,
) -> RunningSource {
    let state = Arc::new(SourceState { name: name.clone(), ..SourceState::default() });
    let reading = Reading::new(name, source, partitions, metrics, Arc::clone(&state), stop);
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        reading.run().await;
        drop(guard);
    });
    RunningSource { state, ended }
}

impl RunningSource {
    /// How it is doing.
    pub fn status(&self) -> SourceStatus {
        let SourceState { name, connected, received, problem } = &*self.state;
        SourceStatus {
            name: name.clone(),
            connected: connected.load(Ordering::Relaxed),
            received: received.load(Ordering::Relaxed),
            problem: problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Waits until it has ended: it was asked to, or the source has an end.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl SourceState {
    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
