//! A filled journal, delivered to a broker as a gateway does it.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::Notify;
use trunkline::{BrokerPlan, Overrides, Project};
use trunkline_config::Diagnostics;
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome};
use trunkline_delivery::{BatchLimits, LaneMode, Metrics, Shutdown, Start, Subscription};
use trunkline_journal::{Append, Journal, Limits, Options};

use super::{BATCH, CONVERSATIONS, Place, Receiver, TURN, bare::event};
use crate::{Bench, compare::fresh};

/// Two journals: the events of a thousand conversations, and as many conversations as events.
pub(super) struct Journals {
    _home: TempDir,
    pub(super) thousand: Journal,
    pub(super) each_its_own: Journal,
}

impl Journals {
    pub(super) async fn fill(bench: &Bench) -> anyhow::Result<Self> {
        eprintln!("filling two journals with {} events each", bench.events);
        let home = fresh(&bench.dir)?;
        let thousand = fill(&home.path().join("thousand"), bench.events, |number| number / TURN % CONVERSATIONS).await?;
        let each_its_own = fill(&home.path().join("each"), bench.events, |number| number).await?;
        Ok(Self { _home: home, thousand, each_its_own })
    }
}

async fn fill(directory: &Path, events: u64, conversation: fn(usize) -> usize) -> anyhow::Result<Journal> {
    let (journal, appender) = Journal::open(directory, Options::default())?;
    let mut number = 0;
    while journal.head() < events {
        let batch = (number..number + 1_000).map(|number| event(conversation(number)).map(Append::one));
        number += 1_000;
        for appended in appender.append_all(batch.collect::<Result<_, _>>()?).await {
            appended?;
        }
    }
    // Indexing goes on for a while; it must not go on into the first measurement.
    while journal.stats().await?.indexed_to < journal.head() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(journal)
}

/// How many events a second the adapter publishes that are in memory already, one batch after another: without journal and
/// delivery.
pub(super) async fn alone(receiver: &Receiver, place: &Place, journal: &Journal, duration: Duration) -> anyhow::Result<f64> {
    const MOST: usize = 250_000;
    let plan = plan(receiver, place)?;
    let (broker, moves_cursor) = (plan.broker, plan.subscription.lanes == LaneMode::One);
    let cursor = CursorKey { journal: journal.id(), subscription: place.name.as_str().into() };
    let (mut batches, mut from) = (VecDeque::new(), 1);
    while batches.len() * BATCH < MOST && from <= journal.head() {
        let chunk = journal.read(from, Limits { events: BATCH, bytes: usize::MAX }).await?;
        batches.push_back(chunk.events);
        from = chunk.next;
    }
    let (mut began, mut published) = (Instant::now(), 0);
    let mut is_warm = false;
    while let Some(events) = batches.pop_front().filter(|_| began.elapsed() < duration || !is_warm) {
        let (count, next) = (events.len(), events.last().map(|event| event.offset + 1));
        let deadline = Instant::now() + Duration::from_mins(1);
        let batch = Batch { next: next.filter(|_| moves_cursor), deadline, ..Batch::new(events, cursor.clone()) };
        let outcomes = broker.publish(&batch).await;
        if let Some(other) = outcomes.iter().find(|outcome| **outcome != Outcome::Delivered) {
            bail!("the adapter alone does not publish: {other:?}");
        }
        if is_warm {
            published += count;
        } else {
            (is_warm, began) = (true, Instant::now());
        }
    }
    let rate = published as f64 / began.elapsed().as_secs_f64();
    broker.close().await;
    Ok(rate)
}

/// What a gateway would make of the receiver's section.
fn plan(receiver: &Receiver, place: &Place) -> anyhow::Result<BrokerPlan> {
    let section = receiver.section.replace("PORT", &place.port.to_string()).replace("PLACE", &place.name);
    std::fs::write(place.directory.join("endpoints.yml"), format!("event_broker: {{{section}}}\n"))?;
    let diagnostics = Diagnostics::new();
    let plan = Project::new(&place.directory, Overrides::default(), trunkline::adapters()).plan(&diagnostics);
    let broker = plan.and_then(|mut plan| plan.brokers.pop());
    broker.ok_or_else(|| anyhow!("{:?}", diagnostics.sorted()))
}

/// How many events a second are delivered, after the first thousand.
pub(super) async fn rate(receiver: &Receiver, place: &Place, journal: &Journal, duration: Duration) -> anyhow::Result<f64> {
    let plan = plan(receiver, place)?;
    let counting =
        Arc::new(Counting { broker: plan.broker, delivered: AtomicU64::new(0), all: journal.head(), done: Notify::new() });
    let subscription = Subscription {
        name: place.name.clone(),
        start: Start::Beginning,
        batch: BatchLimits { events: BATCH, ..plan.subscription.batch },
        ..plan.subscription
    };
    let shutdown = Shutdown::default();
    let receiver: Arc<dyn trunkline_core::Receiver> = Arc::new(Arc::clone(&counting));
    let delivery = trunkline_delivery::start(journal, subscription, receiver, &Metrics::default(), shutdown.clone());
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let connecting = Instant::now();
    while counting.delivered() < 1_000 {
        tick.tick().await;
        if connecting.elapsed() > Duration::from_secs(30) {
            bail!("nothing is delivered: {:?}", counting.broker.is_ready().await);
        }
    }
    let (began, before) = (Instant::now(), counting.delivered());
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = counting.done.notified() => {}
    }
    let rate = (counting.delivered() - before) as f64 / began.elapsed().as_secs_f64();
    shutdown.drain.cancel();
    delivery.ended().await;
    Ok(rate)
}

/// Counts what the broker says is delivered.
struct Counting {
    broker: Arc<dyn Broker>,
    delivered: AtomicU64,
    all: u64,
    done: Notify,
}

impl Counting {
    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Broker for Counting {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let outcomes = self.broker.publish(batch).await;
        let delivered = outcomes.iter().filter(|outcome| **outcome == Outcome::Delivered).count() as u64;
        if self.delivered.fetch_add(delivered, Ordering::Relaxed) + delivered >= self.all {
            self.done.notify_one();
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.broker.is_ready().await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        self.broker.position(cursor).await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
