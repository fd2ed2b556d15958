//! One attempt: from the events of a batch to what became of each.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};
use trunkline_core::{Batch, CursorKey, Event, Outcome, Receiver};
use trunkline_journal::{DeadLetterState, Death, Journal, NewDeadLetter, ReadError};

use crate::lanes::{Owed, Settled};
use crate::metrics::Counts;
use crate::{LaneMode, OnExhausted, Subscription};

/// Who delivers what to whom.
pub(crate) struct Attempt {
    pub(crate) journal: Journal,
    pub(crate) receiver: Arc<dyn Receiver>,
    pub(crate) subscription: Subscription,
    pub(crate) cursor: CursorKey,
    pub(crate) counts: Counts,
}

/// A batch that came back.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) settled: Vec<(Owed, Settled)>,
    /// Whether the receiver answered anything but "try again", or showed that an event was at fault and not itself; `None` when
    /// it was not asked.
    pub(crate) answered: Option<bool>,
    /// The longest wait that it asked for.
    pub(crate) after: Option<Duration>,
    /// What it gave as a reason for the first failure.
    pub(crate) reason: Option<String>,
    /// What it found when its own cursor stands before this batch.
    pub(crate) behind: Option<String>,
}

/// What is to be done with one event after the receiver's answer.
enum Verdict {
    Delivered,
    Dead(String),
    Again(Option<Duration>, String),
    /// To be tried again without having failed.
    Untried(Option<Duration>),
}

impl Attempt {
    /// Delivers a batch and settles every event of it.
    pub(crate) async fn run(&self, mut batch: Vec<Owed>) -> Finished {
        if let Err(error) = self.load(&mut batch).await {
            return self.postpone(batch, &error.to_string());
        }
        let (present, gone): (Vec<_>, Vec<_>) = batch.into_iter().partition(|owed| owed.event.is_some());
        // A letter that is gone was dropped by a person.
        for owed in gone.iter().filter(|owed| owed.letter.is_none()) {
            tracing::error!(
                subscription = self.subscription.name,
                offset = owed.offset,
                "Event was gone before it was delivered"
            );
        }
        let mut finished = Finished {
            settled: gone.into_iter().map(|owed| (owed, Settled::Done)).collect(),
            answered: None,
            after: None,
            reason: None,
            behind: None,
        };
        let events: Vec<_> = present.iter().filter_map(|owed| owed.event.clone()).collect();
        if events.is_empty() {
            return finished;
        }
        let outcomes = self.call(&present, events).await;
        let answered = outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Retry { .. }));
        for outcome in &outcomes {
            match outcome {
                Outcome::Delivered => {}
                Outcome::Retry { after, reason } => {
                    finished.after = finished.after.max(*after);
                    finished.reason.get_or_insert_with(|| reason.clone());
                }
                Outcome::Reject { reason } => drop(finished.reason.get_or_insert_with(|| reason.clone())),
                Outcome::Behind { reason } => finished.behind = Some(reason.clone()),
            }
        }
        let is_exhausted = self.settle(present, outcomes, &mut finished.settled).await;
        finished.answered = Some(answered || is_exhausted);
        finished
    }

    /// Reads again what was only kept as an offset.
    async fn load(&self, batch: &mut [Owed]) -> Result<(), ReadError> {
        let missing = batch.iter().filter(|owed| owed.event.is_none() && owed.letter.is_none());
        let missing: Vec<_> = missing.map(|owed| owed.offset).collect();
        let mut read = self.journal.events(&missing).await?.into_iter().peekable();
        for owed in batch.iter_mut().filter(|owed| owed.event.is_none()) {
            owed.event = match &owed.letter {
                Some(letter) => self.journal.dead_letter(letter).await?.map(|letter| letter.event),
                None => read.next_if(|event| event.offset == owed.offset),
            };
        }
        Ok(())
    }

    /// Calls the receiver; what is no answer at all means to try again.
    async fn call(&self, owed: &[Owed], events: Vec<Arc<Event>>) -> Vec<Outcome> {
        let count = events.len();
        let moves_cursor = self.subscription.lanes == LaneMode::One && owed.iter().all(|owed| owed.letter.is_none());
        let next = owed.last().filter(|_| moves_cursor).map(|last| last.offset + 1);
        let limit = self.subscription.retry.timeout;
        let started = Instant::now();
        let deadline = (started + limit).into_std();
        let batch = Batch { events, cursor: self.cursor.clone(), next, export: None, deadline };
        let result = guard(limit, async { self.receiver.deliver(&batch).await }).await;
        self.counts.seconds.observe(started.elapsed().as_secs_f64());
        let mut outcomes = result.unwrap_or_else(|reason| Outcome::retry(reason).all(count));
        outcomes.resize(count, Outcome::retry("the adapter gave no outcome for the event"));
        outcomes
    }

    /// Nothing could even be tried.
    fn postpone(&self, batch: Vec<Owed>, reason: &str) -> Finished {
        let at = Instant::now() + self.subscription.retry.backoff.initial;
        let settled = batch.into_iter().map(|owed| (owed, Settled::Again(at))).collect();
        Finished { settled, answered: None, after: None, reason: Some(reason.to_owned()), behind: None }
    }

    /// Acts on the outcomes, and tells whether an event was given up.
    async fn settle(&self, present: Vec<Owed>, outcomes: Vec<Outcome>, settled: &mut Vec<(Owed, Settled)>) -> bool {
        let (mut failed_lanes, mut rejected_lanes) = (Vec::new(), Vec::new());
        let (is_alone, mut is_exhausted) = (present.len() == 1, false);
        for (mut owed, outcome) in present.into_iter().zip(outcomes) {
            let verdict = match outcome {
                Outcome::Delivered => Verdict::Delivered,
                Outcome::Reject { reason } => {
                    rejected_lanes.push(owed.lane);
                    Verdict::Dead(reason)
                }
                Outcome::Behind { .. } => Verdict::Untried(None),
                // What was rejected before it in its lane is out of the way now.
                Outcome::Retry { after, .. } if rejected_lanes.contains(&owed.lane) => Verdict::Untried(after),
                Outcome::Retry { after, reason } => {
                    // Those behind the first of their lane were not tried for their own sake.
                    if !failed_lanes.contains(&owed.lane) {
                        failed_lanes.push(owed.lane);
                        owed.attempts = owed.attempts.saturating_add(1);
                        if owed.since == 0 {
                            owed.since = self.journal.clock().now().0;
                        }
                    }
                    // Among others it may have failed for one of them; next time it is alone.
                    if is_alone && self.is_exhausted(&owed).await {
                        is_exhausted = true;
                        Verdict::Dead(reason)
                    } else {
                        Verdict::Again(after, reason)
                    }
                }
            };
            let result = self.conclude(&mut owed, verdict).await;
            settled.push((owed, result));
        }
        is_exhausted
    }

    /// Whether it was tried often enough, and the receiver is ready, so that the event must be at fault.
    async fn is_exhausted(&self, owed: &Owed) -> bool {
        let retry = &self.subscription.retry;
        retry.max_attempts.is_some_and(|most| owed.attempts >= most) && self.is_ready().await.is_ok()
    }

    pub(crate) async fn is_ready(&self) -> Result<(), String> {
        guard(self.subscription.retry.timeout, async { self.receiver.is_ready().await }).await.flatten()
    }

    async fn conclude(&self, owed: &mut Owed, verdict: Verdict) -> Settled {
        let recorded = match verdict {
            Verdict::Delivered => {
                self.counts.delivered.inc();
                match &owed.letter {
                    Some(letter) => self.journal.delete_dead_letter(letter).await.map(|_| Settled::Done),
                    None => Ok(Settled::Done),
                }
            }
            Verdict::Dead(reason) => self.bury(owed, reason).await,
            Verdict::Untried(after) => Ok(Settled::Again(Instant::now() + after.unwrap_or_default())),
            Verdict::Again(after, reason) => {
                self.counts.retried.inc();
                tracing::debug!(subscription = self.subscription.name, offset = owed.offset, reason, "Delivery failed");
                let wait = self.subscription.retry.backoff.wait(owed.attempts, fastrand::f64());
                Ok(Settled::Again(Instant::now() + wait.max(after.unwrap_or_default())))
            }
        };
        recorded.unwrap_or_else(|error| {
            tracing::warn!(subscription = self.subscription.name, offset = owed.offset, %error, "Outcome was not recorded");
            Settled::Again(Instant::now() + self.subscription.retry.backoff.most)
        })
    }

    /// Makes the event a dead letter, durably.
    async fn bury(&self, owed: &Owed, reason: String) -> Result<Settled, trunkline_journal::Unavailable> {
        let Some(event) = &owed.event else { return Ok(Settled::Done) };
        let holds = self.subscription.retry.on_exhausted == OnExhausted::Hold;
        let state = if holds { DeadLetterState::Held } else { DeadLetterState::Dead };
        tracing::error!(
            subscription = self.subscription.name, offset = owed.offset, id = %event.id, conversation = %event.conversation,
            attempts = owed.attempts, reason, "Event became a dead letter"
        );
        let attempts = owed.attempts.max(1);
        let id = if let Some(letter) = &owed.letter {
            if !self.journal.set_dead_letter(letter, state, Some(Death { reason, attempts })).await? {
                // It was dropped in the meantime.
                return Ok(Settled::Done);
            }
            Some(letter.clone())
        } else {
            let (subscription, event) = (self.subscription.name.clone(), Arc::clone(event));
            let letter = NewDeadLetter { subscription, event, reason, attempts, state };
            self.journal.add_dead_letters(vec![letter]).await?.pop()
        };
        self.counts.dead.inc();
        Ok(id.filter(|_| holds).map_or(Settled::Done, Settled::Held))
    }
}

/// Waits for the receiver; a panic and a call that takes too long are failures like others.
pub(crate) async fn guard<T>(limit: Duration, call: impl Future<Output = T>) -> Result<T, String> {
    match timeout(limit, AssertUnwindSafe(call).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("the adapter panicked; this is a bug, its backtrace is in the log".to_owned()),
        Err(_) => Err(format!("no answer within {} s", limit.as_secs_f32())),
    }
}
