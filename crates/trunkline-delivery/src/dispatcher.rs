//! The loop of a subscription: read, take, deliver, settle, remember.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use trunkline_core::{CursorKey, EventId, Offset};
use trunkline_journal::{Chunk, DeadLetterState, Journal, Limits, OpenDeadLetter, Progress, ReadError, Unavailable};

use crate::attempt::{Attempt, Finished, guard};
use crate::breaker::{Breaker, Permission};
use crate::lanes::{Lanes, Settled};
use crate::readiness::Readiness;
use crate::{BatchLimits, LaneMode, Metrics, OnExhausted, Receiver, Subscription};

/// How far the stored cursor may be behind the deliveries; what is delivered within it is delivered again after a crash.
const SAVE_EVERY: Duration = Duration::from_millis(200);
/// The bytes of events that are read and not under way.
const MOST_BYTES: usize = 4 << 20;

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
    let cursor = CursorKey { journal: journal.id(), subscription: name.as_str().into() };
    let counts = metrics.of(&name);
    let dispatcher = Dispatcher {
        lanes: Lanes::new(subscription.lanes, 1),
        breaker: Breaker::new(subscription.retry.backoff),
        readiness: Readiness::new(subscription.retry.backoff),
        head: journal.watch(),
        tasks: JoinSet::new(),
        under_way: 0,
        reading: Reading::Idle,
        is_behind: false,
        save_at: None,
        saving: false,
        saved: Progress::default(),
        problem: None,
        look_at: None,
        has_more_replays: false,
        buried: HashSet::new(),
        wake: Arc::clone(&wake),
        report: Arc::clone(&report),
        shutdown,
        attempt: Arc::new(Attempt { journal: journal.clone(), receiver, subscription, cursor, counts }),
    };
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        dispatcher.run().await;
        drop(guard);
    });
    Delivery { name, wake, report, ended }
}

struct Dispatcher {
    attempt: Arc<Attempt>,
    lanes: Lanes,
    breaker: Breaker,
    readiness: Readiness,
    head: watch::Receiver<Offset>,
    tasks: JoinSet<Done>,
    /// How many batches are under way.
    under_way: usize,
    reading: Reading,
    /// The receiver has lost what it had confirmed; as soon as nothing is under way, it is asked where to go on.
    is_behind: bool,
    /// When the progress is to be stored; `None` when nothing changed.
    save_at: Option<Instant>,
    saving: bool,
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

/// How it stands with reading from the journal.
#[derive(Debug)]
enum Reading {
    Idle,
    UnderWay,
    /// It failed for this reason, and is tried again at this time.
    Failed(Instant, String),
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
    async fn run(mut self) {
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

    /// Goes on where the receiver is, which is before what it had confirmed. False: it was asked to end before.
    async fn go_back(&mut self) -> bool {
        // A receiver that says so over and over is not asked without a pause.
        let pause = sleep_until(Instant::now() + self.attempt.subscription.retry.backoff.initial);
        tokio::select! {
            () = self.shutdown.drain.cancelled() => return false,
            () = pause => {}
        }
        self.is_behind = false;
        self.save_at = None;
        self.begin().await
    }

    /// Finds out where to start, as soon as the receiver can tell. False: it was asked to end before.
    async fn begin(&mut self) -> bool {
        let drain = self.shutdown.drain.clone();
        let mut failures = 0;
        loop {
            let result = tokio::select! {
                biased;
                () = drain.cancelled() => return false,
                result = self.pick_up() => result,
            };
            let Err(reason) = result else {
                self.problem = None;
                return true;
            };
            if failures == 0 {
                tracing::warn!(subscription = self.name(), reason, "Subscription cannot start yet");
            }
            self.problem = Some(reason);
            self.publish_report();
            failures += 1;
            let wait = self.attempt.subscription.retry.backoff.wait(failures, fastrand::f64());
            tokio::select! {
                () = drain.cancelled() => return false,
                () = sleep_until(Instant::now() + wait) => {}
            }
        }
    }

    /// Takes up the work where it was left. It may be tried again after an error.
    async fn pick_up(&mut self) -> Result<(), String> {
        let progress = self.starting_point().await?;
        let letters = self.open_letters().await.map_err(|error| error.to_string())?;
        let buried = self.attempt.journal.owed_dead_letters(self.name(), &progress).await;
        self.buried = buried.map_err(|error| error.to_string())?;
        self.lanes = Lanes::new(self.attempt.subscription.lanes, 1);
        self.restore(progress).await.map_err(|error| error.to_string())?;
        self.heed(letters);
        Ok(())
    }

    async fn starting_point(&self) -> Result<Progress, String> {
        let Attempt { journal, receiver, subscription, cursor, .. } = &*self.attempt;
        let stored = journal.subscriptions().await.map_err(|error| error.to_string())?;
        let stored = stored.into_iter().find(|stored| stored.name == subscription.name).map(|stored| stored.progress);
        let next = journal.head() + 1;
        let position = guard(subscription.retry.timeout, async { receiver.position(cursor).await }).await.flatten()?;
        let known = position.map(Progress::at).or_else(|| stored.clone());
        if let Some(Progress { position, .. }) = known.as_ref() {
            let first = journal.stats().await.map_err(|error| error.to_string())?.first;
            if *position > next {
                tracing::error!(subscription = subscription.name, position, next, "Receiver is ahead of the journal");
            } else if *position < first {
                tracing::error!(
                    subscription = subscription.name,
                    from = position,
                    to = first - 1,
                    "Events were removed from the journal before they were delivered"
                );
            }
        }
        let mut progress = known.unwrap_or_else(|| subscription.beginning(next));
        progress.position = progress.position.min(next);
        if stored.as_ref() != Some(&progress) {
            journal.save_progress(&subscription.name, progress.clone()).await.map_err(|error| error.to_string())?;
        }
        Ok(progress)
    }

    async fn restore(&mut self, progress: Progress) -> Result<(), ReadError> {
        for unsettled in &progress.unsettled {
            match self.attempt.journal.event(unsettled.offset).await? {
                Some(event) if self.buried.remove(&event.id) => {}
                Some(event) => self.lanes.offer(event, unsettled.attempts, unsettled.since),
                None => tracing::error!(
                    subscription = self.name(),
                    offset = unsettled.offset,
                    "Event was gone before it was delivered"
                ),
            }
            if self.lanes.bytes() >= MOST_BYTES {
                self.lanes.unload_all();
            }
        }
        self.lanes.resume(progress.position);
        self.saved = progress;
        Ok(())
    }

    /// Whether there is more to read, and memory and the receiver allow it. A receiver that is down needs no more than the next
    /// event to try.
    fn can_read(&self) -> bool {
        matches!(self.reading, Reading::Idle)
            && self.lanes.position() <= *self.head.borrow()
            && self.lanes.owed() < self.attempt.subscription.most_unsettled
            && self.lanes.bytes() < MOST_BYTES
            && !(self.breaker.is_open() && self.lanes.is_any_ready())
    }

    /// Lets go of the events of busy lanes when they alone keep others from being read that could be sent now.
    fn make_room(&mut self) {
        let is_idle = self.under_way < self.attempt.subscription.concurrency && !self.lanes.is_any_ready();
        if is_idle && self.attempt.subscription.lanes != LaneMode::One && self.lanes.bytes() >= MOST_BYTES {
            self.lanes.unload_all();
        }
    }

    /// Reads on, beside the deliveries.
    fn read_ahead(&mut self) {
        if matches!(self.reading, Reading::Failed(until, _) if until <= Instant::now()) {
            self.reading = Reading::Idle;
        }
        self.make_room();
        while self.can_read() {
            let Attempt { subscription, .. } = &*self.attempt;
            let room = subscription.most_unsettled.saturating_sub(self.lanes.owed());
            let limits = Limits { events: room.min(subscription.batch.events.max(64) * 2), bytes: MOST_BYTES / 2 };
            let (attempt, from) = (Arc::clone(&self.attempt), self.lanes.position());
            let mut read = Box::pin(async move { attempt.journal.read(from, limits).await });
            // The newest events are in memory, and there at once.
            if let Some(result) = (&mut read).now_or_never() {
                self.take_in(result);
                self.dispatch();
            } else {
                self.reading = Reading::UnderWay;
                self.tasks.spawn(async move { Done::Read(read.await) });
            }
        }
    }

    fn take_in(&mut self, result: Result<Chunk, ReadError>) {
        self.reading = Reading::Idle;
        let subscription = &self.attempt.subscription;
        match result {
            Ok(chunk) => {
                for event in chunk.events {
                    if subscription.filter.accepts(&event) && !self.buried.remove(&event.id) {
                        self.lanes.offer(event, 0, 0);
                    }
                }
                self.lanes.advance(chunk.next);
                self.save_at.get_or_insert_with(|| Instant::now() + SAVE_EVERY);
            }
            Err(error) => {
                tracing::error!(subscription = subscription.name, %error, "Journal could not be read");
                self.reading = Reading::Failed(Instant::now() + subscription.retry.backoff.most, error.to_string());
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
        let save = self.save_at.filter(|_| !self.saving);
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

    /// Stores the progress behind the deliveries, at the most once in [`SAVE_EVERY`].
    fn save_if_due(&mut self) {
        if self.saving || self.save_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.save_at = None;
        let progress = self.lanes.progress();
        if progress == self.saved {
            return;
        }
        self.saving = true;
        let attempt = Arc::clone(&self.attempt);
        self.tasks.spawn(async move {
            let result = attempt.journal.save_progress(&attempt.subscription.name, progress.clone()).await;
            Done::Saved(result.map(|()| progress))
        });
    }

    fn saved(&mut self, result: Result<Progress, Unavailable>) {
        self.saving = false;
        match result {
            Ok(progress) => self.saved = progress,
            Err(_) => self.save_at = Some(Instant::now() + SAVE_EVERY),
        }
    }

    /// How many replays the lanes are told of at once. Where conversations are held it is all, one each, because what waits
    /// behind a replay must not be delivered before it.
    fn most_replays(&self) -> usize {
        match self.attempt.subscription.retry.on_exhausted {
            OnExhausted::Hold => usize::MAX,
            OnExhausted::GoOn => self.attempt.subscription.most_unsettled.max(1),
        }
    }

    async fn open_letters(&self) -> Result<Vec<OpenDeadLetter>, ReadError> {
        self.attempt.journal.open_dead_letters(self.name(), self.most_replays()).await
    }

    /// Brings the lanes in line with what was decided about dead letters; later, when they cannot be read now.
    async fn look_at_dead_letters(&mut self) {
        match self.open_letters().await {
            Ok(letters) => self.heed(letters),
            Err(error) => {
                tracing::error!(subscription = self.name(), %error, "Dead letters could not be read");
                self.look_at = Some(Instant::now() + self.attempt.subscription.retry.backoff.most);
            }
        }
    }

    fn heed(&mut self, letters: Vec<OpenDeadLetter>) {
        let replays = letters.iter().filter(|letter| letter.state == DeadLetterState::Replay).count();
        self.has_more_replays = replays >= self.most_replays();
        let held: HashSet<i64> = self.lanes.held().into_iter().collect();
        // What is not among them was dropped, unless it is one of those that did not fit in.
        if !self.has_more_replays {
            let open: HashSet<i64> = letters.iter().map(|letter| letter.id).collect();
            held.difference(&open).for_each(|letter| self.lanes.release(*letter));
        }
        for letter in letters {
            match letter.state {
                DeadLetterState::Replay => self.lanes.replay(letter.id, letter.offset, &letter.conversation),
                DeadLetterState::Held if !held.contains(&letter.id) => self.lanes.hold(&letter.conversation, letter.id),
                DeadLetterState::Held | DeadLetterState::Dead => {}
            }
        }
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
        while self.saving {
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
