//! The loop of a subscription: read, take, deliver, settle, remember.

mod beginning;
mod letters;
mod reading;
mod saving;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use trunkline_core::{CursorKey, EventId, Offset, Receiver};
use trunkline_journal::{Chunk, Journal, Progress, ReadError, Unavailable};

use crate::attempt::{Attempt, Finished};
use crate::breaker::{Breaker, Permission};
use crate::lanes::{Lanes, Settled};
use crate::readiness::Readiness;
use crate::{BatchLimits, LaneMode, Metrics, Report, Shutdown, Subscription};
use reading::Reading;
use saving::SAVE_EVERY;

/// The loop, and all that it knows.
pub(crate) struct Dispatcher {
    attempt: Arc<Attempt>,
    lanes: Lanes,
    breaker: Breaker,
    readiness: Readiness,
    head: watch::Receiver<Offset>,
    tasks: JoinSet<Done>,
    /// How many batches are under way.
    under_way: usize,
    reading: Reading,
    /// The receiver has lost events that it had confirmed. As soon as nothing is under way, it is asked where to go on.
    is_behind: bool,
    /// When the progress is to be stored; `None` when nothing changed.
    save_at: Option<Instant>,
    is_saving: bool,
    saved: Progress,
    problem: Option<String>,
    /// When to look at the dead letters again, after they could not be read.
    look_at: Option<Instant>,
    /// Whether there may be dead letters to be replayed that the lanes were not told of yet.
    has_more_replays: bool,
    /// Events above the stored cursor that are dead letters already: an earlier process recorded them and then ended.
    buried: HashSet<EventId>,
    wake: Arc<Notify>,
    report: Arc<Mutex<Report>>,
    shutdown: Shutdown,
}

/// A task that ended.
enum Done {
    Batch { finished: Finished, is_probe: bool },
    Read(Result<Chunk, ReadError>),
    Saved(Result<Progress, Unavailable>),
    Ready(Result<(), String>),
}

/// All that can happen.
enum Happened {
    Done(Done),
    /// There may be more to read, or a wait is over.
    Moved,
    DeadLetters,
    Drain,
}

impl Dispatcher {
    pub(crate) fn new(
        journal: &Journal,
        subscription: Subscription,
        receiver: Arc<dyn Receiver>,
        metrics: &Metrics,
        shutdown: Shutdown,
        wake: Arc<Notify>,
        report: Arc<Mutex<Report>>,
    ) -> Self {
        let cursor = CursorKey { journal: journal.id(), subscription: subscription.name.as_str().into() };
        let counts = metrics.of(&subscription.name);
        Self {
            lanes: Lanes::new(subscription.lanes, 1),
            breaker: Breaker::new(subscription.retry.backoff),
            readiness: Readiness::new(subscription.retry.backoff),
            head: journal.watch(),
            tasks: JoinSet::new(),
            under_way: 0,
            reading: Reading::Idle,
            is_behind: false,
            save_at: None,
            is_saving: false,
            saved: Progress::default(),
            problem: None,
            look_at: None,
            has_more_replays: false,
            buried: HashSet::new(),
            wake,
            report,
            shutdown,
            attempt: Arc::new(Attempt { journal: journal.clone(), receiver, subscription, cursor, counts }),
        }
    }

    pub(crate) async fn run(mut self) {
        let force = self.shutdown.force.clone();
        tokio::select! {
            biased;
            () = force.cancelled() => {}
            () = self.work() => {}
        }
    }

    /// Until it is drained.
    async fn work(&mut self) {
        if !self.begin().await {
            return self.attempt.receiver.close().await;
        }
        let mut draining = false;
        loop {
            if self.is_behind && self.tasks.is_empty() && !draining {
                draining = !self.go_back().await;
            }
            if !draining && !self.is_behind {
                self.lanes.wake(Instant::now());
                if self.look_at.take_if(|at| *at <= Instant::now()).is_some() {
                    self.look_at_dead_letters().await;
                }
                self.ask_whether_ready();
                self.dispatch();
                self.read_ahead();
            }
            self.publish_report();
            if draining && self.under_way == 0 {
                return self.end().await;
            }
            match self.next(draining).await {
                Happened::Done(Done::Batch { finished, is_probe }) => self.finished(finished, is_probe),
                Happened::Done(Done::Read(result)) => self.take_in(result),
                Happened::Done(Done::Saved(result)) => self.saved(result),
                Happened::Done(Done::Ready(result)) => self.answered_whether_ready(result),
                Happened::Moved => self.save_if_due(),
                Happened::DeadLetters => self.look_at_dead_letters().await,
                Happened::Drain => draining = true,
            }
        }
    }

    /// Asks the receiver whether it is ready, until it says so or an event has shown it: what is wrong with it is known before the
    /// first event comes.
    fn ask_whether_ready(&mut self) {
        if self.readiness.ask(Instant::now()) {
            let attempt = Arc::clone(&self.attempt);
            self.tasks.spawn(async move { Done::Ready(attempt.is_ready().await) });
        }
    }

    fn answered_whether_ready(&mut self, result: Result<(), String>) {
        // An event may have shown in the meantime what it cannot tell any more.
        if self.readiness.is_settled() {
            return;
        }
        let is_ready = result.is_ok();
        match result {
            Ok(()) => self.problem = None,
            Err(reason) => {
                if self.problem.is_none() {
                    tracing::warn!(subscription = self.name(), reason, "Receiver is not ready");
                }
                self.problem = Some(reason);
            }
        }
        self.readiness.answered(Instant::now(), fastrand::f64(), is_ready);
    }

    /// Sends off what may be tried now.
    fn dispatch(&mut self) {
        let subscription = &self.attempt.subscription;
        while self.under_way < subscription.concurrency.max(1) {
            let limits = match self.breaker.permission(Instant::now()) {
                Permission::All => subscription.batch,
                Permission::Probe => BatchLimits { events: 1, ..subscription.batch },
                Permission::Nothing(_) => return,
            };
            let Some(batch) = self.lanes.take(limits) else { return };
            let is_probe = self.breaker.is_open();
            if is_probe {
                self.breaker.probe();
            }
            self.under_way += 1;
            let attempt = Arc::clone(&self.attempt);
            self.tasks.spawn(async move { Done::Batch { finished: attempt.run(batch).await, is_probe } });
        }
    }

    /// Waits for whatever comes first.
    async fn next(&mut self, draining: bool) -> Happened {
        let probe = match self.breaker.permission(Instant::now()) {
            Permission::Nothing(at) => at,
            Permission::All | Permission::Probe => None,
        };
        let save = self.save_at.filter(|_| !self.is_saving);
        let read = if let Reading::Failed(until, _) = self.reading { Some(until) } else { None };
        let tries = [probe, self.lanes.next_wake(), read, self.look_at, self.readiness.next()];
        let tries = tries.into_iter().filter(|_| !draining && !self.is_behind);
        let wait = tries.chain([save]).flatten().min();
        tokio::select! {
            biased;
            () = self.shutdown.drain.cancelled(), if !draining => Happened::Drain,
            () = self.wake.notified() => Happened::DeadLetters,
            Some(done) = self.tasks.join_next() => match done {
                Ok(done) => Happened::Done(done),
                // A task catches the panics of adapters; one of its own is a bug that must not go unnoticed.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Nobody aborts a task but the runtime, when it ends.
                    Err(_) => std::future::pending().await,
                },
            },
            _ = self.head.changed(), if !draining => Happened::Moved,
            () = sleep_until(wait.unwrap_or_else(Instant::now)), if wait.is_some() => Happened::Moved,
        }
    }

    fn finished(&mut self, finished: Finished, is_probe: bool) {
        self.under_way -= 1;
        // Whoever decided about a dead letter before its lane was held woke us too early.
        if finished.settled.iter().any(|(_, settled)| matches!(settled, Settled::Held(_))) {
            self.wake.notify_one();
        }
        let lane = self.only_lane(&finished);
        self.lanes.settle(finished.settled);
        if let Some(reason) = finished.behind {
            tracing::error!(
                subscription = self.name(),
                reason,
                "Receiver has lost events that it had confirmed; they are delivered again"
            );
            self.is_behind = true;
        }
        if self.has_more_replays && self.lanes.replays() <= self.most_replays() / 2 {
            self.wake.notify_one();
        }
        match finished.answered {
            Some(true) => {
                self.readiness.settle();
                if self.breaker.succeeded() {
                    tracing::info!(subscription = self.name(), "Receiver is up again");
                }
                self.problem = None;
            }
            Some(false) => {
                let reason = finished.reason.unwrap_or_default();
                if self.problem.is_none() {
                    tracing::warn!(subscription = self.name(), reason, "Delivery failed and is repeated");
                }
                if self.breaker.failed(Instant::now(), finished.after, fastrand::f64(), lane, is_probe) {
                    tracing::error!(subscription = self.name(), reason, "Receiver is down");
                }
                self.problem = Some(reason);
            }
            None => {
                self.breaker.untried(is_probe);
                self.problem = finished.reason.or_else(|| self.problem.take());
            }
        }
        self.save_at.get_or_insert_with(|| Instant::now() + SAVE_EVERY);
        self.save_if_due();
    }

    /// The lane that a batch came from, when it is one of several.
    fn only_lane(&self, finished: &Finished) -> Option<u64> {
        if matches!(self.attempt.subscription.lanes, LaneMode::One) {
            return None;
        }
        let first = finished.settled.first()?.0.lane;
        finished.settled.iter().all(|(owed, _)| owed.lane == first).then_some(first)
    }

    fn publish_report(&self) {
        let low = self.lanes.low();
        let head = *self.head.borrow();
        self.attempt.counts.lag.set((head + 1).saturating_sub(low));
        self.attempt.counts.down.set(u64::from(self.breaker.is_open()));
        let problem = if let Reading::Failed(_, reason) = &self.reading { Some(reason) } else { self.problem.as_ref() }.cloned();
        let report = Report { low, owed: self.lanes.owed(), is_down: self.breaker.is_open(), problem };
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Remembers where it is, and closes the receiver.
    async fn end(&mut self) {
        while self.is_saving {
            match self.tasks.join_next().await {
                Some(Ok(Done::Saved(result))) => self.saved(result),
                Some(_) => {}
                None => break,
            }
        }
        let progress = self.lanes.progress();
        if progress != self.saved
            && let Err(error) = self.attempt.journal.save_progress(self.name(), progress).await
        {
            tracing::warn!(subscription = self.name(), %error, "Cursor was not stored; the last deliveries are made again");
        }
        self.attempt.receiver.close().await;
    }

    fn name(&self) -> &str {
        &self.attempt.subscription.name
    }
}
