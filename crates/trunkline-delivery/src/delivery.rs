//! A subscription at work, as the one who started it sees it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trunkline_core::{Offset, Receiver};
use trunkline_journal::Journal;

use crate::dispatcher::Dispatcher;
use crate::{Metrics, Subscription};

/// How a subscription is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    /// Finish what is under way, remember the rest, close the receiver.
    pub drain: CancellationToken,
    /// End now. What is under way may have arrived or not.
    pub force: CancellationToken,
}

/// A subscription at work.
#[derive(Debug)]
pub struct Delivery {
    name: String,
    wake: Arc<Notify>,
    report: Arc<Mutex<Report>>,
    ended: CancellationToken,
}

/// How a subscription is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Everything below this offset is settled.
    pub low: Offset,
    /// How many events are read and not settled.
    pub owed: usize,
    /// Whether the receiver is held to be down as a whole.
    pub is_down: bool,
    /// What the receiver gave as a reason for its last failure, until it succeeds; or why the journal cannot be read.
    pub problem: Option<String>,
}

impl Delivery {
    /// The name of the subscription.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is doing.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it look at its dead letters again, after one was marked for replay or dropped.
    pub fn look_at_dead_letters(&self) {
        self.wake.notify_one();
    }

    /// Waits until it has ended.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Whether it has ended: it was asked to, or a bug made it panic.
    pub fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }
}

/// Starts a subscription.
pub fn start(
    journal: &Journal,
    subscription: Subscription,
    receiver: Arc<dyn Receiver>,
    metrics: &Metrics,
    shutdown: Shutdown,
) -> Delivery {
    let (name, wake, report) = (subscription.name.clone(), Arc::new(Notify::new()), Arc::default());
    let (wake_up, told) = (Arc::clone(&wake), Arc::clone(&report));
    let dispatcher = Dispatcher::new(journal, subscription, receiver, metrics, shutdown, wake_up, told);
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        dispatcher.run().await;
        drop(guard);
    });
    Delivery { name, wake, report, ended }
}
