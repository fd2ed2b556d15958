//! A journal, a scripted receiver, and ways to wait for what must happen.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use trunkline_core::{Batch, CursorKey, Event, EventId, Kind, NewEvent, Offset, Outcome, Receiver};
use trunkline_delivery::{Backoff, Delivery, Filter, LaneMode, Metrics, Report, Shutdown, Subscription, start};
use trunkline_journal::{Append, Appender, DeadLetter, DeadLetterId, DeadLetterState, Journal, Options, Progress};

/// The name of the subscription under test.
pub(crate) const NAME: &str = "test";
/// A wait that never ends within a test.
pub(crate) const NEVER: Backoff = Backoff { initial: Duration::from_hours(2), most: Duration::from_hours(2) };
/// After this a test gives up; nothing is asserted about time.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens")
}

/// Waits until `check` holds, for what nobody announces.
pub(crate) async fn eventually(mut check: impl AsyncFnMut() -> bool) {
    soon(async {
        while !check().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A subscription with waits too short to notice.
pub(crate) fn subscription(lanes: LaneMode) -> Subscription {
    let mut subscription = Subscription::new(NAME, Filter::published());
    subscription.lanes = lanes;
    subscription.retry.backoff = Backoff { initial: Duration::from_millis(1), most: Duration::from_millis(4) };
    subscription
}

/// A journal in a directory of its own.
pub(crate) struct World {
    directory: TempDir,
    pub(crate) journal: Journal,
    appender: Appender,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (journal, appender) = Journal::open(directory.path(), Options::default()).unwrap();
        Self { directory, journal, appender }
    }

    /// Closes the journal and opens it again, as a new process would.
    pub(crate) async fn reopen(&mut self) {
        self.journal.close().await;
        (self.journal, self.appender) = Journal::open(self.directory.path(), Options::default()).unwrap();
    }

    /// Appends one `user` event for each conversation named.
    pub(crate) async fn append<T: AsRef<str>>(&self, conversations: &[T]) {
        self.append_with(conversations, "user", 0).await;
    }

    /// The same with a type and so many bytes of ballast each.
    pub(crate) async fn append_with<T: AsRef<str>>(&self, conversations: &[T], event_type: &str, ballast: usize) {
        let events = conversations.iter().map(|conversation| {
            let body = format!("{{\"ballast\": \"{}\"}}", "x".repeat(ballast));
            Append::one(NewEvent::new(Kind::Event, conversation.as_ref(), event_type, body))
        });
        let appended = soon(self.appender.append_all(events.collect())).await;
        assert!(appended.iter().all(Result::is_ok), "{appended:?}");
    }

    pub(crate) fn start(&self, subscription: Subscription, receiver: &Arc<impl Receiver + 'static>) -> Running {
        let shutdown = Shutdown::default();
        let receiver = Arc::clone(receiver);
        let delivery = start(&self.journal, subscription, receiver, &Metrics::default(), shutdown.clone());
        Running { delivery, shutdown }
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        soon(self.journal.dead_letters(Some(NAME.to_owned()), usize::MAX)).await.unwrap()
    }

    /// What is recorded of each dead letter: offset, state and reason.
    pub(crate) async fn obituaries(&self) -> Vec<(Offset, DeadLetterState, String)> {
        self.letters().await.into_iter().map(|letter| (letter.event.offset, letter.state, letter.reason)).collect()
    }

    /// Waits until there are so many dead letters.
    pub(crate) async fn until_letters(&self, count: usize) -> Vec<DeadLetter> {
        eventually(async || self.letters().await.len() == count).await;
        self.letters().await
    }

    pub(crate) async fn replay(&self, letter: &DeadLetterId) {
        assert!(soon(self.journal.set_dead_letter(letter, DeadLetterState::Replay, None)).await.unwrap());
    }

    pub(crate) async fn stored(&self) -> Option<Progress> {
        let stored = soon(self.journal.subscriptions()).await.unwrap();
        stored.into_iter().find(|stored| stored.name == NAME).map(|stored| stored.progress)
    }
}

/// A subscription at work.
pub(crate) struct Running {
    pub(crate) delivery: Delivery,
    pub(crate) shutdown: Shutdown,
}

impl Running {
    pub(crate) fn report(&self) -> Report {
        self.delivery.report()
    }

    pub(crate) async fn drain(self) {
        assert!(!self.delivery.has_ended(), "it works until it is told to stop");
        self.shutdown.drain.cancel();
        soon(self.delivery.ended()).await;
        assert!(self.delivery.has_ended());
    }

    pub(crate) async fn force(self) {
        self.shutdown.force.cancel();
        soon(self.delivery.ended()).await;
    }
}

/// What a call of the receiver comes to.
pub(crate) enum Reply {
    Outcomes(Vec<Outcome>),
    Panic,
    Hang,
}

/// One call of the receiver.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) next: Option<Offset>,
    /// Absent while it is under way, and for ever when it was broken off.
    pub(crate) outcomes: Option<Vec<Outcome>>,
}

impl Call {
    pub(crate) fn offsets(&self) -> Vec<Offset> {
        self.events.iter().map(|event| event.offset).collect()
    }
}

/// All that a receiver has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) calls: Vec<Call>,
    pub(crate) closed: usize,
}

impl Log {
    /// The events that were delivered, in the order of the answers within each call.
    pub(crate) fn delivered(&self) -> Vec<Arc<Event>> {
        let pairs = self.calls.iter().flat_map(|call| call.events.iter().zip(call.outcomes.iter().flatten()));
        pairs.filter(|(_, outcome)| **outcome == Outcome::Delivered).map(|(event, _)| Arc::clone(event)).collect()
    }

    pub(crate) fn delivered_offsets(&self) -> Vec<Offset> {
        self.delivered().iter().map(|event| event.offset).collect()
    }

    pub(crate) fn delivered_ids(&self) -> Vec<EventId> {
        self.delivered().iter().map(|event| event.id).collect()
    }

    pub(crate) fn has_delivered(&self, offset: Offset) -> bool {
        self.delivered_offsets().contains(&offset)
    }

    /// How many calls had the event at `offset`.
    pub(crate) fn tries(&self, offset: Offset) -> usize {
        self.calls.iter().filter(|call| call.offsets().contains(&offset)).count()
    }

    pub(crate) fn finished(&self) -> usize {
        self.calls.iter().filter(|call| call.outcomes.is_some()).count()
    }

    /// Checks that every conversation arrived once and in the order of the journal.
    pub(crate) fn assert_ordered(&self, count: usize) {
        let mut last: HashMap<String, Offset> = HashMap::new();
        let delivered = self.delivered();
        for event in &delivered {
            if let Some(before) = last.insert(event.conversation.to_string(), event.offset) {
                assert!(before < event.offset, "{} came after {before}", event.offset);
            }
        }
        assert_eq!(delivered.len(), count);
    }
}

type Script = Box<dyn Fn(&Batch, usize) -> Reply + Send + Sync>;

/// A receiver that does as it is told and remembers everything.
pub(crate) struct Fake {
    script: Script,
    log: watch::Sender<Log>,
    /// A call with such an event takes a permit before it is answered.
    is_gated: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    pub(crate) gate: Semaphore,
    pub(crate) is_ready: AtomicBool,
    pub(crate) panics_when_asked: bool,
    pub(crate) position: Mutex<Result<Option<Offset>, String>>,
    pub(crate) close_hangs: bool,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fake").finish_non_exhaustive()
    }
}

impl Fake {
    /// Answers the calls, which are numbered from 0, as `script` says.
    pub(crate) fn scripted(script: impl Fn(&Batch, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self {
            script: Box::new(script),
            log: watch::Sender::default(),
            is_gated: Box::new(|_| false),
            gate: Semaphore::new(0),
            is_ready: AtomicBool::new(true),
            panics_when_asked: false,
            position: Mutex::new(Ok(None)),
            close_hangs: false,
        }
    }

    /// Answers each event as `decide` says, which is told how often it was tried before. Once an event fails, later ones of
    /// its conversation in the same batch are not tried; `stops`: nor are any others.
    fn deciding(stops: bool, decide: impl Fn(&Event, u32) -> Outcome + Send + Sync + 'static) -> Self {
        let tried: Mutex<HashMap<Offset, u32>> = Mutex::default();
        Self::scripted(move |batch, _| {
            let (mut tried, mut failed) = (tried.lock().unwrap(), HashSet::new());
            let outcomes = batch.events.iter().map(|event| {
                if failed.contains(&event.conversation) || stops && !failed.is_empty() {
                    return Outcome::retry("not tried");
                }
                let times = tried.entry(event.offset).or_default();
                let outcome = decide(event, *times);
                *times += 1;
                if outcome != Outcome::Delivered {
                    failed.insert(event.conversation.clone());
                }
                outcome
            });
            Reply::Outcomes(outcomes.collect())
        })
    }

    pub(crate) fn each(decide: impl Fn(&Event, u32) -> Outcome + Send + Sync + 'static) -> Self {
        Self::deciding(false, decide)
    }

    pub(crate) fn each_until_one_fails(decide: impl Fn(&Event, u32) -> Outcome + Send + Sync + 'static) -> Self {
        Self::deciding(true, decide)
    }

    /// Takes everything.
    pub(crate) fn willing() -> Self {
        Self::each(|_, _| Outcome::Delivered)
    }

    /// Calls with such an event wait for a permit of the gate.
    pub(crate) fn gated(self, is_gated: impl Fn(&Event) -> bool + Send + Sync + 'static) -> Self {
        Self { is_gated: Box::new(is_gated), ..self }
    }

    pub(crate) fn at_position(self, position: Offset) -> Self {
        Self { position: Mutex::new(Ok(Some(position))), ..self }
    }

    pub(crate) fn log(&self) -> Log {
        self.log.borrow().clone()
    }

    /// Waits until what it has seen satisfies `check`.
    pub(crate) async fn until(&self, check: impl Fn(&Log) -> bool) -> Log {
        let mut log = self.log.subscribe();
        let seen = timeout(PATIENCE, log.wait_for(|log| check(log))).await;
        let Ok(seen) = seen else { panic!("it happens; so far: {:?}", Brief(&self.log())) };
        seen.unwrap().clone()
    }

    pub(crate) async fn until_delivered(&self, count: usize) -> Log {
        self.until(|log| log.delivered().len() >= count).await
    }
}

/// The calls by offset only.
struct Brief<'a>(&'a Log);

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.calls.iter().map(|call| (call.offsets(), &call.outcomes))).finish()
    }
}

#[async_trait]
impl Receiver for Fake {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let mut number = 0;
        self.log.send_modify(|log| {
            number = log.calls.len();
            log.calls.push(Call { events: batch.events.clone(), next: batch.next, outcomes: None });
        });
        if batch.events.iter().any(|event| (self.is_gated)(event)) {
            self.gate.acquire().await.unwrap().forget();
        }
        let outcomes = match (self.script)(batch, number) {
            Reply::Outcomes(outcomes) => outcomes,
            Reply::Panic => panic!("told to panic"),
            Reply::Hang => std::future::pending().await,
        };
        self.log.send_modify(|log| log.calls[number].outcomes = Some(outcomes.clone()));
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        assert!(!self.panics_when_asked, "told to panic");
        if self.is_ready.load(Ordering::SeqCst) { Ok(()) } else { Err("not ready".to_owned()) }
    }

    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        self.position.lock().unwrap().clone()
    }

    async fn close(&self) {
        self.log.send_modify(|log| log.closed += 1);
        if self.close_hangs {
            std::future::pending::<()>().await;
        }
    }
}

pub(crate) fn reject(reason: &str) -> Outcome {
    Outcome::Reject { reason: reason.to_owned() }
}
