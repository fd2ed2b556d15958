//! A partition with an assistant of the test.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use trunkline_conversation::{Answering, Part, Partition, Partitions};
use trunkline_core::{
    Assistant, AssistantError, BotMessage, Clock, Event, Inbox, InboxError, Incoming, NewEvent, Reader, Received, Receiver,
    Recording, Replies, Source, Turn, UserMessage,
};
use trunkline_delivery::{Backoff, BatchLimits, Filter, LaneMode, Metrics, Retry, Shutdown, Start, Subscription};
use trunkline_journal::{Appender, Faults, Journal, Limits, Options};

pub(crate) const EXPIRATION: Duration = Duration::from_hours(1);

/// Called with a message before it is answered.
type Before = Box<dyn Fn(&str) + Send + Sync>;

/// Repeats what it hears, in two messages.
#[derive(Default)]
pub(crate) struct Parrot {
    pub(crate) asked: AtomicUsize,
    pub(crate) before: Option<Before>,
}

#[async_trait]
impl Assistant for Parrot {
    fn name(&self) -> &'static str {
        "parrot"
    }

    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        for message in messages {
            let text = message.text.as_deref().unwrap_or_default();
            if let Some(before) = &self.before {
                before(text);
            }
            turn.say(BotMessage::text(text)).await?;
            turn.say(BotMessage::text(format!("{text}!"))).await?;
        }
        Ok(())
    }
}

/// A clock that stands until it is moved.
#[derive(Clone)]
pub(crate) struct Standing(Arc<AtomicU64>);

impl Standing {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_796_000_000_000)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let millis = Arc::clone(&self.0);
        Clock::from_fn(move || Duration::from_millis(millis.load(Ordering::Relaxed)))
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.0.fetch_add(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }
}

/// Has `assistant` answer what comes in at `partition`.
pub(crate) async fn answer(partition: &Arc<Partition>, assistant: Arc<dyn Assistant>) -> Shutdown {
    let answering = Answering::new(Arc::clone(partition), assistant, Duration::from_secs(30), "sorry".to_owned());
    let quickly = Backoff { initial: Duration::from_millis(1), most: Duration::from_millis(10) };
    let subscription = Subscription {
        lanes: LaneMode::Conversations,
        concurrency: 8,
        batch: BatchLimits { events: 1, ..BatchLimits::default() },
        retry: Retry { backoff: quickly, ..Retry::default() },
        start: Start::Now,
        ..Subscription::new("assistant", Filter::wanting_answers())
    };
    let shutdown = Shutdown::default();
    let deliveries = vec![(subscription, Arc::new(answering) as Arc<dyn Receiver>)];
    partition.start(deliveries, Vec::new(), &Metrics::default(), &shutdown).await.expect("a start");
    shutdown
}

/// A partition that answers.
pub(crate) struct Answered {
    pub(crate) partitions: Partitions,
    pub(crate) parrot: Arc<Parrot>,
    shutdown: Shutdown,
}

impl Answered {
    pub(crate) async fn start(appender: Appender, parrot: Parrot, expiration: Duration) -> Self {
        let (partition, parrot) = (Partition::new(appender, Recording::Gateway, expiration), Arc::new(parrot));
        let shutdown = answer(&partition, Arc::clone(&parrot) as Arc<dyn Assistant>).await;
        Self { partitions: Partitions::one(partition), parrot, shutdown }
    }

    pub(crate) async fn in_memory(options: Options, parrot: Parrot) -> (Self, Faults) {
        Self::in_memory_until(options, parrot, EXPIRATION).await
    }

    /// The same, with sessions that end so long after the last message.
    pub(crate) async fn in_memory_until(options: Options, parrot: Parrot, expiration: Duration) -> (Self, Faults) {
        let (_, appender, faults) = Journal::in_memory(options);
        (Self::start(appender, parrot, expiration).await, faults)
    }

    pub(crate) async fn at(directory: &Path) -> Self {
        Self::at_with(directory, Options::default()).await
    }

    pub(crate) async fn at_with(directory: &Path, options: Options) -> Self {
        let (_, appender) = Journal::open(directory, options).expect("a journal");
        Self::start(appender, Parrot::default(), EXPIRATION).await
    }

    /// Ends everything, so that the journal can be opened again.
    pub(crate) async fn stop(self) {
        self.shutdown.drain.cancel();
        for delivery in self.partitions.home().deliveries() {
            delivery.ended().await;
        }
        self.journal().close().await;
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.partitions.home().journal()
    }

    pub(crate) async fn converse(&self, conversation: &str, text: &str, key: Option<&str>) -> Result<Replies, InboxError> {
        self.partitions.converse(incoming(conversation, text, key), false).await
    }

    /// Says `text`, and waits for all that is said to it.
    pub(crate) async fn say(&self, conversation: &str, text: &str) -> Vec<String> {
        texts(self.converse(conversation, text, None).await.expect("it is taken")).await
    }

    /// What another server publishes.
    pub(crate) async fn carry(&self, events: &[String], key: Option<&str>) -> Vec<Part> {
        let events = events.iter().map(|body| NewEvent::parse(body.as_bytes(), None, 1.0).expect("an event"));
        self.partitions.carry(events.collect(), key).await
    }

    pub(crate) async fn events(&self) -> Vec<Arc<Event>> {
        self.journal().read(1, Limits { events: 10_000, ..Limits::default() }).await.expect("events").events
    }

    /// The types of what a conversation has, with the names of actions.
    pub(crate) async fn types(&self, conversation: &str) -> Vec<String> {
        let events = self.events().await;
        let events = events.iter().filter(|event| event.conversation == conversation);
        events.map(|event| event.action_name().unwrap_or_else(|| event.event_type.to_string())).collect()
    }
}

pub(crate) fn incoming(conversation: &str, text: &str, key: Option<&str>) -> Incoming {
    Incoming {
        message: UserMessage::new(Some(text), conversation, Some("rest"), None),
        channel: "rest".into(),
        key: key.map(str::to_owned),
    }
}

pub(crate) async fn texts(mut replies: Replies) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(reply) = replies.recv().await {
        texts.extend(reply.text);
    }
    texts
}

/// An event as Rasa publishes it; `rest` are more members.
pub(crate) fn event(conversation: &str, event_type: &str, rest: &str) -> String {
    format!(r#"{{"sender_id": "{conversation}", "event": "{event_type}", "timestamp": 1.5{rest}}}"#)
}

pub(crate) fn user(conversation: &str, text: &str) -> String {
    event(conversation, "user", &format!(r#", "text": "{text}", "input_channel": "rest""#))
}

/// Waits until it is so.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let watch = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), watch).await.expect("it is so within a minute");
}

/// A source that gives batches, and remembers nothing itself.
#[derive(Clone, Default)]
pub(crate) struct Batches(Arc<Mutex<BatchesState>>);

#[derive(Default)]
struct BatchesState {
    batches: VecDeque<Vec<Received>>,
    given: usize,
    pub(crate) settled: usize,
    pub(crate) opened_at: Vec<Option<String>>,
}

impl Batches {
    pub(crate) fn push(&self, batch: Vec<Received>) {
        self.0.lock().unwrap().batches.push_back(batch);
    }

    pub(crate) fn settled(&self) -> usize {
        self.0.lock().unwrap().settled
    }

    pub(crate) fn opened_at(&self) -> Vec<Option<String>> {
        self.0.lock().unwrap().opened_at.clone()
    }
}

#[async_trait]
impl Source for Batches {
    fn place(&self) -> trunkline_core::Place {
        "batches of the test".into()
    }

    async fn open_at(&self, position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        self.0.lock().unwrap().opened_at.push(position.map(str::to_owned));
        Ok(Box::new(self.clone()))
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Reader for Batches {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        loop {
            let next = self.0.lock().unwrap().batches.pop_front();
            if let Some(batch) = next {
                self.0.lock().unwrap().given += batch.len();
                return Ok(Some(batch));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn settle(&mut self) -> Result<(), String> {
        let mut state = self.0.lock().unwrap();
        state.settled = state.given;
        Ok(())
    }

    async fn position(&mut self) -> Result<Option<String>, String> {
        Ok(Some(self.0.lock().unwrap().given.to_string()))
    }
}

pub(crate) fn received(id: Option<&str>, body: &str) -> Received {
    Received { body: body.to_owned().into(), id: id.map(Into::into), origin: "a batch".to_owned() }
}
