//! A delivery as simple as can be: it publishes again what is to be published again.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use trunkline_core::{Batch, Broker, CursorKey, Event, Offset, Outcome};

use super::Subject;

/// What takes longer than this hangs.
pub(super) const LIMIT: Duration = Duration::from_mins(2);

/// The longest that a call may take: then the delivery gives it up, and its reason is never heard.
pub(super) const CALL_LIMIT: Duration = Duration::from_mins(1);

/// How long to wait before a batch of which nothing was delivered.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Delivery<'a> {
    subject: &'a dyn Subject,
    broker: Arc<dyn Broker>,
    key: CursorKey,
    /// What is neither delivered nor rejected.
    owed: VecDeque<Arc<Event>>,
    acknowledged: HashSet<Offset>,
    pub(super) rejected: Vec<Offset>,
}

impl<'a> Delivery<'a> {
    pub(super) fn new(subject: &'a dyn Subject, journal: &super::journal::Journal) -> Self {
        let key = CursorKey { journal: journal.id, subscription: "contract".into() };
        let broker = subject.broker();
        Self { subject, broker, key, owed: VecDeque::new(), acknowledged: HashSet::new(), rejected: Vec::new() }
    }

    pub(super) fn owe(&mut self, events: &[Arc<Event>]) {
        self.owed.extend(events.iter().cloned());
    }

    pub(super) fn owed(&self) -> usize {
        self.owed.len()
    }

    pub(super) fn broker(&self) -> &dyn Broker {
        &*self.broker
    }

    fn batch(&self, size: usize) -> Batch {
        let events: Vec<_> = self.owed.iter().take(size).cloned().collect();
        // Only a subscription with a single lane has a cursor that moves with its batches.
        let next = events.last().filter(|_| self.subject.is_exactly_once()).map(|last| last.offset + 1);
        let deadline = (Instant::now() + self.subject.patience()).into_std();
        Batch { next, deadline, ..Batch::new(events, self.key.clone()) }
    }

    /// Publishes one batch, and gives the outcomes.
    pub(super) async fn publish(&mut self, size: usize) -> Vec<Outcome> {
        let batch = self.batch(size);
        let outcomes = timeout(CALL_LIMIT, self.broker.publish(&batch)).await.expect("publish takes too long");
        self.check(&batch, &outcomes);
        self.owed.drain(..batch.events.len());
        for (event, outcome) in batch.events.iter().zip(&outcomes).rev() {
            match outcome {
                Outcome::Delivered => drop(self.acknowledged.insert(event.offset)),
                Outcome::Reject { .. } => self.rejected.push(event.offset),
                Outcome::Retry { .. } => self.owed.push_front(Arc::clone(event)),
                Outcome::Behind { reason } => panic!("the receiver has lost what it had confirmed: {reason}"),
            }
        }
        outcomes
    }

    /// Nothing of a conversation may be published past an event that was not; and nothing at all past the cursor.
    fn check(&self, batch: &Batch, outcomes: &[Outcome]) {
        assert_eq!(outcomes.len(), batch.events.len(), "one outcome per event");
        let mut stuck: HashSet<&str> = HashSet::new();
        let mut is_stuck = false;
        for (event, outcome) in batch.events.iter().zip(outcomes) {
            if *outcome == Outcome::Delivered {
                let past = stuck.contains(event.conversation.as_str()) || is_stuck && self.subject.is_exactly_once();
                assert!(!past, "event {} was published past one that was not: {outcomes:?}", event.offset);
            } else {
                stuck.insert(&event.conversation);
                is_stuck = true;
            }
        }
    }

    /// Begins to publish a batch and gives up after polling the call `polls` times, or when it is done before.
    pub(super) async fn give_up(&mut self, size: usize, polls: usize) {
        let batch = self.batch(size);
        let mut publish = self.broker.publish(&batch);
        for _ in 0..polls {
            let done = std::future::poll_fn(|context| std::task::Poll::Ready(publish.as_mut().poll(context).is_ready())).await;
            if done {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Publishes one batch of `size`, again and again until something came of it.
    pub(super) async fn finish_one(&mut self, size: usize) {
        let (deadline, before) = (Instant::now() + LIMIT, self.owed());
        while self.owed() == before {
            let outcomes = self.publish(size).await;
            self.pause(&outcomes, deadline).await;
        }
    }

    /// Publishes in batches of `size` until nothing is owed.
    pub(super) async fn finish(&mut self, size: usize) {
        let deadline = Instant::now() + LIMIT;
        while !self.owed.is_empty() {
            let outcomes = self.publish(size).await;
            self.pause(&outcomes, deadline).await;
        }
    }

    /// Waits for a while when nothing came of a batch.
    pub(super) async fn pause(&self, outcomes: &[Outcome], deadline: Instant) {
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })) {
            assert!(Instant::now() < deadline, "no end of retries: {:?}", outcomes[0]);
            sleep(PAUSE).await;
        }
    }

    /// Goes on with a fresh broker, as after a crash of our process, from where it says.
    pub(super) async fn restart(&mut self, journal: &[Arc<Event>]) {
        // Two at a time may be one too many.
        self.broker = Arc::new(Nobody);
        self.broker = self.subject.broker();
        let position = self.position().await;
        if !self.subject.is_exactly_once() {
            assert_eq!(position, None, "only a broker that is exactly-once stores a cursor");
            return;
        }
        let position = position.unwrap_or_default();
        let lost: Vec<_> = self.acknowledged.iter().filter(|offset| **offset >= position).collect();
        assert!(lost.is_empty(), "the cursor stands at {position}, and these were delivered: {lost:?}");
        self.owed =
            journal.iter().filter(|event| event.offset >= position && !self.rejected.contains(&event.offset)).cloned().collect();
    }

    /// Where the broker says it is, once it can say.
    pub(super) async fn position(&self) -> Option<Offset> {
        let deadline = Instant::now() + LIMIT;
        loop {
            match timeout(LIMIT, self.broker.position(&self.key)).await.expect("position hangs") {
                Ok(position) => return position,
                Err(reason) => assert!(Instant::now() < deadline, "there is no position: {reason}"),
            }
            sleep(PAUSE).await;
        }
    }

    /// Publishes `events` once more without moving the cursor, as dead letters or as a part of an export.
    pub(super) async fn replay(&self, events: &[Arc<Event>], export: Option<&str>) {
        let export = export.map(Into::into);
        let batch = Batch { export, ..Batch::new(events.to_vec(), self.key.clone()) };
        let outcomes = timeout(CALL_LIMIT, self.broker.publish(&batch)).await.expect("publish takes too long");
        assert_eq!(outcomes, Outcome::Delivered.all(events.len()));
    }

    pub(super) async fn close(&self) {
        timeout(LIMIT, self.broker.close()).await.expect("close hangs");
    }
}

/// Stands in while one broker is gone and the next is not there.
struct Nobody;

#[async_trait::async_trait]
impl Broker for Nobody {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        Outcome::retry("nobody is there").all(batch.events.len())
    }

    async fn is_ready(&self) -> Result<(), String> {
        Err("nobody is there".to_owned())
    }
}
