//! Sources: brokers that are read, and whose events are appended to the journal.
//!
//! Each source has a task. It connects, receives, appends, and settles only when what it received is durable, so nothing is
//! lost by a crash on either side; what then comes again is known by its identity `source:<name>:<id>` and not appended twice.
//! What is no event goes to a file ([`rejected`]), because it must neither hold up the source nor be lost in silence.

mod metrics;
mod reading;
mod rejected;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use trunkline_journal::Journal;

pub(crate) use metrics::Metrics;
use reading::Reading;

use crate::config::SourcePlan;
use crate::conversation::Channels;

/// A source at work.
#[derive(Debug)]
pub(crate) struct Running {
    status: Arc<Status>,
    ended: CancellationToken,
}

/// How a source is doing.
#[derive(Debug, Default)]
struct Status {
    name: String,
    connected: AtomicBool,
    received: AtomicU64,
    /// Why it is not connected, or why nothing is appended.
    problem: Mutex<Option<String>>,
}

/// Starts to read `plan`, until `stop`.
pub(crate) fn start(
    plan: SourcePlan,
    journal: &Journal,
    channels: &Arc<Channels>,
    metrics: &Metrics,
    stop: CancellationToken,
) -> Running {
    let status = Arc::new(Status { name: plan.name.clone(), ..Status::default() });
    let reading = Reading::new(plan, journal.clone(), Arc::clone(channels), metrics, Arc::clone(&status), stop);
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        reading.run().await;
        drop(guard);
    });
    Running { status, ended }
}

impl Running {
    /// How it is doing, as `/status/ready` says it.
    pub(crate) fn report(&self) -> Value {
        let Status { name, connected, received, problem } = &*self.status;
        json!({
            "name": name,
            "connected": connected.load(Ordering::Relaxed),
            "received": received.load(Ordering::Relaxed),
            "problem": problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        })
    }

    /// Waits until it has ended: it was asked to, or the source has an end.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl Status {
    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}
