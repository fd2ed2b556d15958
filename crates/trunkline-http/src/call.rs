//! One call of a receiver: the requests that its batch takes, in order within a conversation.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use trunkline_core::{Batch, Outcome};

use crate::{Answer, Failure, Judge, Verdict};

/// So long before its caller stops waiting a call is to be over.
const MARGIN: Duration = Duration::from_millis(500);

/// Said of an event that is not sent because of another.
pub const AFTER_ANOTHER: &str = "not tried, because an event of the same conversation before it was not delivered";

/// One call of a receiver over HTTP. When it is not there, is overloaded or does not let us in, nothing more is tried in the call.
#[derive(Debug)]
pub struct Call<'c> {
    batch: &'c Batch,
    judge: &'c Judge,
    /// The longest that a request may take.
    timeout: Duration,
    /// Why nothing more is tried in this call.
    stop: OnceLock<Outcome>,
    /// Whether there was a request.
    has_begun: AtomicBool,
}

impl<'c> Call<'c> {
    /// The call that delivers `batch`, whose answers `judge` judges, in requests that take `timeout` at the most.
    pub fn new(batch: &'c Batch, judge: &'c Judge, timeout: Duration) -> Self {
        Self { batch, judge, timeout, stop: OnceLock::new(), has_begun: AtomicBool::new(false) }
    }

    /// Delivers every event with `deliver`, which is given its place in the batch: those of a conversation one after the other until
    /// one is not delivered, up to `concurrency` conversations side by side.
    pub async fn by_conversation<D>(&self, concurrency: usize, deliver: impl Fn(usize) -> D) -> Vec<Outcome>
    where
        D: Future<Output = Verdict>,
    {
        let deliver = &deliver;
        let conversation = |places: Vec<usize>| async move {
            let mut settled = Vec::with_capacity(places.len());
            let mut is_held = false;
            for place in places {
                let outcome = if is_held { Outcome::retry(AFTER_ANOTHER) } else { deliver(place).await.into_outcome() };
                is_held |= outcome != Outcome::Delivered;
                settled.push((place, outcome));
            }
            settled
        };
        let requests = places_by_conversation(self.batch).into_iter().map(conversation);
        let mut running = stream::iter(requests).buffer_unordered(concurrency);
        let mut outcomes = Outcome::retry("").all(self.batch.events.len());
        while let Some(settled) = running.next().await {
            for (place, outcome) in settled {
                outcomes[place] = outcome;
            }
        }
        outcomes
    }

    /// Sends a request that carries so many events, unless something has stopped the call.
    pub async fn attempt(&self, events: usize, send: impl Future<Output = Result<Answer, Failure>>) -> Verdict {
        if !self.may_begin() {
            let reason = self.judge.says("it is slow: there was no time for this event yet");
            let _ = self.stop.set(Outcome::Retry { after: None, reason });
        }
        if let Some(stopped) = self.stop.get() {
            return Verdict::Unavailable(stopped.clone());
        }
        let verdict = self.judge.judge(send.await, events);
        if let Verdict::Unavailable(outcome) = &verdict {
            let _ = self.stop.set(outcome.clone());
        }
        verdict
    }

    /// Whether a request that takes as long as it may ends before the caller stops waiting, for then all of the call would come
    /// again. The first is always sent, or nothing would ever be.
    fn may_begin(&self) -> bool {
        !self.has_begun.swap(true, Ordering::Relaxed) || self.batch.time_left() > self.timeout + MARGIN
    }
}

/// The places of the events of each conversation, in order; conversations in the order of their first event.
fn places_by_conversation(batch: &Batch) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut group_of: HashMap<&str, usize> = HashMap::new();
    for (place, event) in batch.events.iter().enumerate() {
        let group = *group_of.entry(&event.conversation).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(place);
    }
    groups
}
