//! A connected producer: it sends, and it can be given up with all that it still has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Mutex;
use tokio::time::timeout_at;
use trunkline_core::{Batch, EXPORT_HEADER, Event};

use crate::ID_HEADER;
use crate::client::Context;
use crate::cluster::{Client, Cluster, Topic};
use crate::in_flight::{InFlight, Stop, Ticket};
use crate::partitions::{Partitioner, Partitions};

/// How long a purge may take; it waits for nobody outside the process.
const PURGE: Duration = Duration::from_secs(5);

/// How long a full queue is left alone.
const QUEUE_FULL: Duration = Duration::from_millis(1);

/// How often a producer that is given up is asked whether everything is answered.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// The largest message that we hand to librdkafka, in bytes; how large it may really be is the topic's business. Above 100 MiB a
/// broker would cut the connection without a word.
const LARGEST_MESSAGE: usize = 64 << 20;

/// What a message has besides the body of the event, in bytes at the most.
const REST_OF_MESSAGE: usize = 64 << 10;

/// How events become messages.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) topic: Arc<str>,
    pub(crate) keys_by_conversation: bool,
    pub(crate) partitioner: Partitioner,
    /// The value of the header `RASA_ENVIRONMENT`, if it is sent.
    pub(crate) environment: Option<Arc<str>>,
}

/// A producer that has reached the topic.
pub(crate) struct Producer {
    client: Arc<Client>,
    wire: Wire,
    partitions: Partitions,
    /// In bytes, what librdkafka puts into one request for a partition at the most; but always one message.
    pub(crate) request_size: usize,
    is_given_up: AtomicBool,
    /// Whether it has nothing left; locked by whoever sees to that.
    has_ended: Mutex<bool>,
}

impl Producer {
    /// Connects and finds the topic, which the server may create.
    pub(crate) async fn connect(
        cluster: &Cluster,
        options: &[(&'static str, String)],
        wire: &Wire,
        request_size: usize,
    ) -> Result<Self, String> {
        let mut cluster = cluster.clone();
        for (property, value) in [
            // Nothing is written twice by a retry of librdkafka's, and after a failure nothing behind it either.
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            // That guarantee does not hold for messages that time out each on its own, so only whole calls do.
            ("message.timeout.ms", "0"),
            // Time for a batch to get into the queue, so that it goes out in few requests.
            ("linger.ms", "1"),
        ] {
            cluster.config.set(property, value);
        }
        cluster
            .config
            .set("message.max.bytes", (LARGEST_MESSAGE + REST_OF_MESSAGE).to_string())
            .set("batch.size", request_size.to_string());
        for (property, value) in options {
            cluster.config.set(*property, value);
        }
        let client = cluster.client().await?;
        match cluster.find_topic(&client, &wire.topic, true).await? {
            Topic::Partitions(count) => Ok(Self {
                client,
                wire: wire.clone(),
                partitions: Partitions::new(count, wire.partitioner),
                request_size,
                is_given_up: AtomicBool::new(false),
                has_ended: Mutex::new(false),
            }),
            Topic::Missing => Err(cluster.missing_topic(&wire.topic)),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.client.context()
    }

    /// Why librdkafka takes nothing more, if it is so.
    pub(crate) fn fatal_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.client.client().fatal_error()
    }

    /// Whether the event fills more than a request, so that it has one for itself.
    pub(crate) fn sends_alone(&self, event: &Event) -> bool {
        event.body.len() >= self.request_size
    }

    /// Sends a batch and waits for the answers until `deadline`, or for the first failure. What has no answer then is still with
    /// the producer, or was never sent. Events that are too large are left out.
    pub(crate) async fn send(&self, batch: &Batch, in_flight: &Arc<InFlight>, deadline: Instant) -> Result<(), Stop> {
        timeout_at(deadline.into(), self.send_all(batch, in_flight)).await.unwrap_or(Err(Stop::Late))
    }

    async fn send_all(&self, batch: &Batch, in_flight: &Arc<InFlight>) -> Result<(), Stop> {
        let events = batch.events.iter().enumerate().filter(|(_, event)| !is_too_large(event));
        let events: Vec<_> = events.map(|(index, event)| (index, self.partitions.find(&event.conversation), event)).collect();
        let mut firsts = BTreeMap::new();
        for &(index, partition, event) in &events {
            firsts.entry(partition).or_insert((index, event));
        }
        let mut openings = Vec::new();
        for (partition, (index, event)) in firsts {
            if let Some(opening) = self.partitions.open(partition).await {
                self.enqueue(partition, event, batch.export.as_deref(), in_flight.ticket(index)).await?;
                openings.push((index, opening));
            }
        }
        in_flight.delivered().await?;
        let mut sent = BTreeSet::new();
        for (index, opening) in openings {
            opening.done();
            sent.insert(index);
        }
        for (index, partition, event) in events.into_iter().filter(|(index, ..)| !sent.contains(index)) {
            self.enqueue(partition, event, batch.export.as_deref(), in_flight.ticket(index)).await?;
        }
        in_flight.delivered().await
    }

    /// Hands an event to librdkafka, and waits while its queue is full.
    async fn enqueue(&self, partition: usize, event: &Event, export: Option<&str>, ticket: Ticket) -> Result<(), Stop> {
        let Wire { topic, keys_by_conversation, environment, .. } = &self.wire;
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(ticket))
            .payload(&event.body[..])
            .partition(i32::try_from(partition).unwrap_or(i32::MAX))
            .headers(headers(environment.as_deref(), event, export));
        if *keys_by_conversation {
            record = record.key(event.conversation.as_bytes());
        }
        loop {
            if self.is_marked() || record.delivery_opaque.is_in_vain() {
                return Err(Stop::Failed(None));
            }
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => record = again,
                Err((error, _)) => return Err(Stop::Failed(error.rdkafka_error_code())),
            }
            // librdkafka frees the room of a message some time after it was answered, and tells nobody.
            tokio::time::sleep(QUEUE_FULL).await;
        }
    }

    /// Says that this producer is to be given up, by whoever can wait for that.
    pub(crate) fn mark(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// Takes back what is not on its way yet, waits up to `patience` for the answers to what is, and forgets the rest, so that
    /// nothing more is sent. What is taken back or forgotten is answered as failed. A second call waits for the first one.
    pub(crate) async fn give_up(&self, patience: Duration) {
        let mut has_ended = self.has_ended.lock().await;
        self.mark();
        if *has_ended {
            return;
        }
        let begin = Instant::now();
        while begin.elapsed() < patience {
            // Again each time: librdkafka takes a request into its queue again that was refused because of the one before it.
            self.purge(PurgeConfig::default().queue()).await;
            if self.client.in_flight_count() == 0 {
                break;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
        self.purge(PurgeConfig::default().queue().inflight()).await;
        *has_ended = true;
    }

    async fn purge(&self, what: PurgeConfig) {
        let client = Arc::clone(&self.client);
        let purge = tokio::task::spawn_blocking(move || client.purge(what));
        if tokio::time::timeout(PURGE, purge).await.is_err() {
            tracing::warn!("Purge of a Kafka producer took too long");
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("wire", &self.wire).field("request_size", &self.request_size).finish_non_exhaustive()
    }
}

/// Whether librdkafka is not even asked.
pub(crate) fn is_too_large(event: &Event) -> bool {
    event.body.len() > LARGEST_MESSAGE
}

/// Rasa's header and ours.
fn headers(environment: Option<&str>, event: &Event, export: Option<&str>) -> OwnedHeaders {
    let id = event.id.to_string();
    let headers = [("RASA_ENVIRONMENT", environment), (ID_HEADER, Some(&id)), (EXPORT_HEADER, export)];
    let headers = headers.into_iter().filter_map(|(key, value)| value.map(|value| Header { key, value: Some(value) }));
    headers.fold(OwnedHeaders::new_with_capacity(3), OwnedHeaders::insert)
}
