//! A connected producer: it sends, and it can be given up with all that it still has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, PurgeConfig};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::timeout_at;
use trunkline_core::{Batch, EXPORT_HEADER, Event};

use crate::ID_HEADER;
use crate::client::Context;
use crate::cluster::{Client, Cluster, Topic};
use crate::in_flight::InFlight;

/// How long a purge may take; it waits for nobody outside the process.
const PURGE: Duration = Duration::from_secs(5);

/// How long a full queue is left alone.
const QUEUE_FULL: Duration = Duration::from_millis(1);

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
    /// The value of the header `RASA_ENVIRONMENT`, if it is sent.
    pub(crate) environment: Option<Arc<str>>,
}

/// A producer that has reached the topic.
pub(crate) struct Producer {
    client: Arc<Client>,
    partitions: u32,
    /// In bytes, what librdkafka puts into one request at the most; but always one message.
    pub(crate) request_size: usize,
    is_given_up: AtomicBool,
}

/// Why sending stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    /// librdkafka took no more; the answers say why, or this does.
    Failed(Option<RDKafkaErrorCode>),
    /// The time ran out.
    Late,
}

impl Producer {
    /// Connects and finds the topic, which the server may create.
    pub(crate) async fn connect(
        cluster: &Cluster,
        options: &[(&'static str, String)],
        topic: &str,
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
        match cluster.find_topic(&client, topic, true).await? {
            Topic::Partitions(partitions) => Ok(Self { client, partitions, request_size, is_given_up: AtomicBool::new(false) }),
            Topic::Missing => Err(cluster.missing_topic(topic)),
        }
    }

    pub(crate) fn context(&self) -> &Context {
        self.client.context()
    }

    /// Sends a batch and waits for the answers until `deadline`, or for the first failure. What has no answer then is still with
    /// the producer, or was never sent. Events that are too large are left out.
    pub(crate) async fn send(
        &self,
        wire: &Wire,
        batch: &Batch,
        in_flight: &Arc<InFlight>,
        deadline: Instant,
    ) -> Result<(), Stop> {
        for (index, event) in batch.events.iter().enumerate().filter(|(_, event)| !is_too_large(event)) {
            if in_flight.has_failed() {
                return Err(Stop::Failed(None));
            }
            let mut record = BaseRecord::with_opaque_to(&wire.topic, Box::new(in_flight.ticket(index)))
                .payload(&event.body[..])
                .headers(headers(wire, event, batch.export.as_deref()));
            record = if wire.keys_by_conversation {
                record.key(event.conversation.as_bytes())
            } else {
                record.partition(partition(&event.conversation, self.partitions))
            };
            loop {
                match self.client.send(record) {
                    Ok(()) => break,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                        if Instant::now() >= deadline {
                            again.delivery_opaque.withdraw();
                            return Err(Stop::Late);
                        }
                        record = again;
                        // librdkafka frees the room of a message some time after it was answered, and tells nobody.
                        tokio::time::sleep(QUEUE_FULL).await;
                    }
                    Err((error, refused)) => {
                        refused.delivery_opaque.withdraw();
                        return Err(Stop::Failed(error.rdkafka_error_code()));
                    }
                }
            }
        }
        timeout_at(deadline.into(), in_flight.settled_or_failed()).await.map_err(|_| Stop::Late)?;
        if in_flight.has_failed() { Err(Stop::Failed(None)) } else { Ok(()) }
    }

    /// Says that this producer is to be given up, by whoever can wait for that.
    pub(crate) fn mark(&self) {
        self.is_given_up.store(true, Ordering::Release);
    }

    pub(crate) fn is_marked(&self) -> bool {
        self.is_given_up.load(Ordering::Acquire)
    }

    /// Takes back what is not on its way yet, and forgets what is, so that nothing more is sent. All of it is answered as failed.
    pub(crate) async fn give_up(&self) {
        self.mark();
        let client = Arc::clone(&self.client);
        let purge = tokio::task::spawn_blocking(move || client.purge(PurgeConfig::default().queue().inflight()));
        if tokio::time::timeout(PURGE, purge).await.is_err() {
            tracing::warn!("Purge of a Kafka producer took too long");
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}

/// Whether librdkafka is not even asked.
pub(crate) fn is_too_large(event: &Event) -> bool {
    event.body.len() > LARGEST_MESSAGE
}

/// Rasa's header and ours.
fn headers(wire: &Wire, event: &Event, export: Option<&str>) -> OwnedHeaders {
    let id = event.id.to_string();
    let headers = [("RASA_ENVIRONMENT", wire.environment.as_deref()), (ID_HEADER, Some(&id)), (EXPORT_HEADER, export)];
    let headers = headers.into_iter().filter_map(|(key, value)| value.map(|value| Header { key, value: Some(value) }));
    headers.fold(OwnedHeaders::new_with_capacity(3), OwnedHeaders::insert)
}

/// The partition of a conversation: the same as librdkafka finds by default when the conversation is the key.
fn partition(conversation: &str, partitions: u32) -> i32 {
    let partition = crc32fast::hash(conversation.as_bytes()) % partitions.max(1);
    i32::try_from(partition).unwrap_or(0)
}
