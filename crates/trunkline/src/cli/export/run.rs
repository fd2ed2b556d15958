//! The export itself: read, publish, count what is confirmed, remember.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use trunkline_core::json::{self, Layout};
use trunkline_core::{Batch, Broker, CursorKey, Event, Offset, Outcome};
use trunkline_delivery::Subscription;

use super::history::{History, Past};
use super::shift::{shifted, time};
use super::state::{ExportState, States};
use crate::cli::connect::is_ready;
use crate::cli::gist::shortened;
use crate::cli::output;

/// How many refused events are listed; all are counted.
const MOST_LISTED: usize = 100;

/// An export at work.
pub(super) struct Export<'a> {
    pub(super) broker: &'a dyn Broker,
    /// Says which events the broker wants, how much goes into a batch, and how long to wait between attempts.
    pub(super) subscription: &'a Subscription,
    pub(super) cursor: CursorKey,
    pub(super) history: History<'a>,
    pub(super) state: ExportState,
    pub(super) states: &'a States,
    pub(super) report: Report,
    /// It ends when nothing was confirmed for so long.
    pub(super) patience: Duration,
    /// Makes it end after the attempt under way.
    pub(super) stop: CancellationToken,
    pub(super) bar: ProgressBar,
}

/// What one run of an export did.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Events confirmed.
    pub(super) events: u64,
    /// Their conversations.
    pub(super) conversations: HashSet<CompactString>,
    /// The first of what was refused for good.
    pub(super) rejected: Vec<RejectedEvent>,
}

/// An event that the broker refused for good.
#[derive(Clone, Debug, Serialize)]
pub(super) struct RejectedEvent {
    pub(super) id: String,
    pub(super) conversation: String,
    pub(super) reason: String,
}

/// Why an export ended before everything was done. It can go on later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It was told to.
    Interrupted,
    /// For this reason.
    Failed(String),
}

impl Export<'_> {
    /// Publishes everything that is left.
    pub(super) async fn run(&mut self) -> Result<(), Halt> {
        let mut waiting = VecDeque::new();
        loop {
            self.fill(&mut waiting).await?;
            let batch = self.take(&mut waiting);
            let Some(next) = batch.last().map(|last| last.next.clone()) else { return Ok(()) };
            let (mut events, mut unreadable) = (Vec::with_capacity(batch.len()), Vec::new());
            for past in batch {
                match past.event {
                    Ok(event) => events.push(event),
                    Err(reason) => unreadable.push(reason),
                }
            }
            let offsets: Vec<Offset> = events.iter().map(|event| event.offset).collect();
            self.publish(events).await?;
            // Only now, because what is read again after an interruption must not be counted again.
            for line in unreadable {
                self.state.unreadable += 1;
                self.note(&line);
            }
            self.state.position = next;
            for offset in offsets {
                self.state.ahead.remove(&offset);
            }
            self.save()?;
        }
    }

    /// Remembers what was confirmed since it was last stored, when the export has not come to its end.
    pub(super) fn end(&self, result: Result<(), Halt>) -> Result<(), Halt> {
        result.or_else(|halt| self.save().and(Err(halt)))
    }

    /// Reads until there is enough for a batch, or no more.
    async fn fill(&mut self, waiting: &mut VecDeque<Past>) -> Result<(), Halt> {
        while waiting.len() < self.subscription.batch.events {
            if self.stop.is_cancelled() {
                return Err(Halt::Interrupted);
            }
            let Some(page) = self.history.page().await.map_err(Halt::Failed)? else { break };
            waiting.extend(page.into_iter().filter(|past| past.event.as_ref().map_or(true, |event| self.wants(event))));
            let (read, all) = self.history.progress();
            self.bar.set_length(all);
            self.bar.set_position(read);
        }
        Ok(())
    }

    fn wants(&self, event: &Event) -> bool {
        let selection = &self.state.selection;
        if !self.subscription.filter.accepts(event) {
            return false;
        }
        if selection.minimum.is_none() && selection.maximum.is_none() {
            return true;
        }
        let document = json::lay_out(&event.body, Layout::Dumps).ok();
        document.and_then(|document| time(&document)).is_some_and(|time| selection.wants_time(time))
    }

    /// The next batch out of what is waiting.
    fn take(&self, waiting: &mut VecDeque<Past>) -> Vec<Past> {
        let (limits, mut bytes) = (self.subscription.batch, 0);
        let fits = |past: &&Past| {
            bytes += past.event.as_ref().map_or(0, |event| event.body.len());
            bytes <= limits.bytes
        };
        let count = waiting.iter().take(limits.events).take_while(fits).count();
        waiting.drain(..count.max(1).min(waiting.len())).collect()
    }

    /// Publishes a batch, as often as it takes.
    async fn publish(&mut self, events: Vec<Arc<Event>>) -> Result<(), Halt> {
        let left = events.into_iter().filter(|event| !self.state.ahead.contains(&event.offset));
        let mut pending: Vec<_> = left.map(|event| self.moved(event)).collect();
        let (mut last_success, mut is_told) = (Instant::now(), false);
        while !pending.is_empty() {
            if self.stop.is_cancelled() {
                return Err(Halt::Interrupted);
            }
            // What failed is tried again alone, so that an event at fault takes no other with it.
            let tried = if self.state.failures == 0 { pending.len() } else { 1 };
            let rest = pending.split_off(tried);
            let outcomes = self.call(&pending).await;
            let (mut left, mut failure) = (Vec::new(), None);
            for (event, outcome) in pending.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Delivered => self.confirmed(&event),
                    Outcome::Reject { reason } => self.rejected(&event, reason),
                    Outcome::Retry { after, reason } => {
                        failure.get_or_insert_with(|| (Arc::clone(&event), after, reason));
                        left.push(event);
                    }
                    Outcome::Behind { reason } => {
                        failure.get_or_insert_with(|| (Arc::clone(&event), None, reason));
                        left.push(event);
                    }
                }
            }
            if left.len() < tried {
                (self.state.failures, last_success, is_told) = (0, Instant::now(), false);
            }
            if let Some((event, after, reason)) = failure {
                self.state.failures = self.state.failures.saturating_add(1);
                if tried == 1 && self.is_exhausted().await {
                    self.rejected(&event, reason);
                    (self.state.failures, last_success, is_told) = (0, Instant::now(), false);
                    left.clear();
                } else {
                    if !std::mem::replace(&mut is_told, true) {
                        self.note(&format!("trying again: {reason}"));
                    }
                    // What was confirmed by now need not come again, whatever ends the wait.
                    self.save()?;
                    self.wait(last_success, &event, after.unwrap_or_default(), &reason).await?;
                }
            }
            left.extend(rest);
            pending = left;
        }
        Ok(())
    }

    /// Whether an event that was alone was tried often enough, and the broker is ready, so that the event must be at fault.
    async fn is_exhausted(&self) -> bool {
        let most = self.subscription.retry.max_attempts;
        most.is_some_and(|most| self.state.failures >= most) && is_ready(self.broker).await.is_ok()
    }

    /// The event as it is published: with its timestamp moved, when that was asked for.
    fn moved(&self, event: Arc<Event>) -> Arc<Event> {
        match self.state.selection.offset {
            0 => event,
            seconds => Arc::new(Event { body: shifted(&event.body, seconds), ..(*event).clone() }),
        }
    }

    async fn call(&self, events: &[Arc<Event>]) -> Vec<Outcome> {
        // Without `next` the events are a replay, and the cursor stays where it is.
        let export = Some(self.state.id.as_str().into());
        let limit = self.subscription.retry.timeout;
        let deadline = (Instant::now() + limit).into_std();
        let batch = Batch { export, deadline, ..Batch::new(events.to_vec(), self.cursor.clone()) };
        let outcomes = timeout(limit, self.broker.publish(&batch)).await;
        let late = || Outcome::retry(format!("no answer within {} s", limit.as_secs_f32())).all(events.len());
        let mut outcomes = outcomes.unwrap_or_else(|_| late());
        outcomes.resize(events.len(), Outcome::retry("the adapter gave no outcome for the event"));
        outcomes
    }

    fn confirmed(&mut self, event: &Event) {
        self.state.events += 1;
        self.state.ahead.insert(event.offset);
        self.report.events += 1;
        if !self.report.conversations.contains(&event.conversation) {
            self.report.conversations.insert(event.conversation.clone());
        }
        self.bar.set_message(self.state.events.to_string());
    }

    fn rejected(&mut self, event: &Event, reason: String) {
        self.state.rejected += 1;
        self.state.ahead.insert(event.offset);
        if self.report.rejected.len() < MOST_LISTED {
            self.note(&format!("{} was refused: {reason}", named(event)));
            let (id, conversation) = (event.id.to_string(), event.conversation.to_string());
            self.report.rejected.push(RejectedEvent { id, conversation, reason });
        }
    }

    /// Waits before the next attempt, or gives up.
    async fn wait(&self, last_success: Instant, event: &Event, after: Duration, reason: &str) -> Result<(), Halt> {
        let left = self.patience.saturating_sub(last_success.elapsed());
        if left.is_zero() {
            let (name, seconds) = (&self.state.broker, self.patience.as_secs());
            let reason = shortened(reason, usize::MAX);
            return Err(Halt::Failed(format!(
                "the broker `{name}` has confirmed nothing for {seconds} s; at last, {}: {reason}",
                named(event)
            )));
        }
        let wait = self.subscription.retry.backoff.wait(self.state.failures, fastrand::f64()).max(after).min(left);
        self.stop.run_until_cancelled(sleep(wait)).await.ok_or(Halt::Interrupted)
    }

    fn save(&self) -> Result<(), Halt> {
        self.states.save(&self.state).map_err(Halt::Failed)
    }

    /// Tells a person, without disturbing the bar.
    fn note(&self, line: &str) {
        self.bar.suspend(|| output::note(line));
    }
}

/// ``event 01a1… of conversation `ann` ``, for a person.
fn named(event: &Event) -> String {
    format!("event {} of conversation `{}`", event.id, shortened(&event.conversation, usize::MAX))
}
