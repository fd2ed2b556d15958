//! The adapter: from calls to producers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Mutex;
use trunkline_config::Section;
use trunkline_core::{Batch, Broker, Event, LastTrouble, Outcome};

use crate::cluster::Cluster;
use crate::in_flight::{Confirmation, InFlight, Stop};
use crate::producer::{Producer, Wire, is_too_large};
use crate::reasons::Report;
use crate::settings;

/// How long a failed call waits for its messages to other partitions, so that they need not come again.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// How long it takes at the most until what was purged is answered; nobody outside the process is waited for.
const PURGED: Duration = Duration::from_secs(5);

/// What librdkafka puts into one request by default, in bytes.
const REQUEST_SIZE: usize = 1_000_000;

/// Publishes events to a topic. See the [crate](crate) for what it promises.
#[derive(Debug)]
pub struct KafkaBroker {
    cluster: Cluster,
    wire: Wire,
    /// Properties of librdkafka for producers.
    options: Vec<(&'static str, String)>,
    state: Mutex<ProducerState>,
    /// Why the last call failed, when that would happen to every event.
    trouble: LastTrouble,
}

#[derive(Debug)]
struct ProducerState {
    producer: Option<Arc<Producer>>,
    request_size: usize,
    /// When connecting failed last, and why.
    failure: Option<(Instant, String)>,
}

/// Builds the broker from its section; the value of `RASA_ENVIRONMENT` comes from the environment of this process.
pub fn kafka_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    let environment = std::env::var_os("RASA_ENVIRONMENT").map(|value| value.to_string_lossy().into_owned());
    Some(Arc::new(KafkaBroker::from_section(section, directory, environment)?))
}

impl KafkaBroker {
    /// Builds the broker from its section; files in it are relative to `directory`. Nothing is opened before the first call.
    ///
    /// `environment` is what the header `RASA_ENVIRONMENT` says. `None`, a variable that is not set, is said in words, as the
    /// original does, and an empty text is not sent.
    pub fn from_section(section: &Section<'_>, directory: &Path, environment: Option<String>) -> Option<Self> {
        let cluster = settings::cluster(section, directory);
        settings::pass_over(section, &settings::SOURCE_KEYS);
        let topic = settings::topic(section);
        let settings::Producer { keys_by_conversation, partitioner, options } = settings::producer(section);
        let environment = environment.unwrap_or_else(|| "RASA_ENVIRONMENT_NOT_SET".to_owned());
        let environment = Some(environment).filter(|value| !value.is_empty()).map(Arc::from);
        Some(Self {
            cluster: cluster?,
            wire: Wire { topic: topic?.into(), keys_by_conversation, partitioner, environment },
            options,
            state: Mutex::new(ProducerState { producer: None, request_size: REQUEST_SIZE, failure: None }),
            trouble: LastTrouble::default(),
        })
    }

    /// The producer that is connected, or a new one.
    async fn producer(&self) -> Result<Arc<Producer>, String> {
        let called = Instant::now();
        let mut state = self.state.lock().await;
        match &state.producer {
            Some(producer) if !producer.is_marked() => return Ok(Arc::clone(producer)),
            // Its call was dropped. What it still has must not be written behind what we write now.
            Some(producer) => producer.give_up(Duration::ZERO).await,
            None => {}
        }
        state.producer = None;
        // Others connected in vain while we waited for our turn; one attempt is enough for all of us.
        if let Some((_, reason)) = state.failure.as_ref().filter(|(time, _)| *time >= called) {
            return Err(reason.clone());
        }
        match Producer::connect(&self.cluster, &self.options, &self.wire, state.request_size).await {
            Ok(producer) => Ok(Arc::clone(state.producer.insert(Arc::new(producer)))),
            Err(reason) => {
                state.failure = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    /// After a failure the producer is given up as a whole: nothing behind the event that failed is to be written.
    async fn fail(&self, producer: &Producer, call: &Call<'_>, stop: Stop) -> Vec<Outcome> {
        let patience = match stop {
            Stop::Failed(_) => ON_ITS_WAY.min(call.batch.time_left() / 2),
            Stop::Late => Duration::ZERO,
        };
        producer.give_up(patience).await;
        // What a purge leaves unanswered counts as not delivered, which is right too.
        let _ = tokio::time::timeout(PURGED, call.in_flight.settled()).await;
        let answers = call.in_flight.answers();
        let (reason, concerns_all) = self.reason(producer, call, &answers, stop).await;
        self.trouble.set(concerns_all.then(|| reason.clone()));
        let outcomes = call.batch.events.iter().zip(answers).map(|(event, answer)| match answer {
            Some(Ok(())) => Outcome::Delivered,
            None if is_too_large(event) => self.too_large(event),
            Some(Err(code)) if is_size(code) && producer.sends_alone(event) => self.too_large(event),
            _ => Outcome::retry(reason.clone()),
        });
        outcomes.collect()
    }

    /// Why events are to be tried again, and whether it would happen to every event.
    async fn reason(&self, producer: &Producer, call: &Call<'_>, answers: &[Option<Confirmation>], stop: Stop) -> (String, bool) {
        let (servers, topic) = (&*self.cluster.servers, &*self.wire.topic);
        let answered = call.batch.events.iter().zip(answers);
        let failures: Vec<_> = answered.filter_map(|(event, answer)| Some((event, answer.as_ref()?.err()?))).collect();
        if failures.iter().any(|(event, code)| is_size(*code) && !producer.sends_alone(event)) {
            self.use_smaller_requests(producer.request_size).await;
            let reason = format!(
                "Kafka at {servers} refused a request for the topic `{topic}` as too large; from now on they are smaller"
            );
            return (reason, false);
        }
        // The failure that led to the others.
        let cause = failures.iter().map(|(_, code)| *code).find(|code| !is_consequence(*code));
        let report = producer.context().last_report(call.begin);
        let (code, report) = match (cause, stop) {
            (None, Stop::Failed(code)) => match producer.fatal_error() {
                // It is that of another call.
                Some((RDKafkaErrorCode::GaplessGuarantee, _)) | None => (code.filter(|code| !is_consequence(*code)), report),
                Some((code, text)) => (Some(code), Some(text)),
            },
            (cause, _) => (cause, report),
        };
        let concerns_all = code.map_or(matches!(stop, Stop::Late), concerns_all);
        let reason = match (code, report, stop) {
            (Some(code), ..) if is_size(code) => {
                format!(
                    "an event of the same call is too large for the topic `{topic}` at {servers}; the others are sent without it"
                )
            }
            (Some(code), report, _) => self.cluster.explain(topic, code, report.as_deref()),
            (None, Some(report), _) => Report::new(&report).sentence(servers),
            (None, None, Stop::Failed(_)) => {
                format!("Kafka at {servers}: another call failed, and its producer was given up with all that it had")
            }
            (None, None, Stop::Late) => format!(
                "Kafka at {servers}: no answer within {:.0} s; see whether the partitions of the topic `{topic}` have a leader and as \
                 many in-sync replicas as its `min.insync.replicas`",
                call.patience.as_secs_f64()
            ),
        };
        (reason, concerns_all)
    }

    /// A topic may allow less per request than librdkafka puts into one.
    async fn use_smaller_requests(&self, refused: usize) {
        let mut state = self.state.lock().await;
        if state.request_size == refused {
            state.request_size = (refused / 8).max(1);
            tracing::info!(topic = %self.wire.topic, bytes = state.request_size, "Kafka topic wants smaller requests");
        }
    }

    /// The outcome of an event when nothing failed.
    fn sent(&self, event: &Event) -> Outcome {
        if is_too_large(event) { self.too_large(event) } else { Outcome::Delivered }
    }

    fn too_large(&self, event: &Event) -> Outcome {
        let (topic, size) = (&self.wire.topic, event.body.len());
        let reason = format!(
            "the event of {size} bytes is too large for the topic `{topic}` at {}; raise its `max.message.bytes`, and replay the event",
            self.cluster.servers
        );
        Outcome::Reject { reason }
    }
}

#[async_trait]
impl Broker for KafkaBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let call = Call {
            batch,
            in_flight: InFlight::new(batch.events.len()),
            begin: Instant::now(),
            // The other half is for what follows from having no answer, so that the reason is ours to tell.
            patience: batch.time_left() / 2,
        };
        let producer = match self.producer().await {
            Ok(producer) => producer,
            Err(reason) => {
                self.trouble.set(Some(reason.clone()));
                return Outcome::retry(reason).all(batch.events.len());
            }
        };
        let dropped = MarkOnDrop(&producer);
        let sent = producer.send(batch, &call.in_flight, call.begin + call.patience).await;
        let outcomes = match sent {
            Ok(()) => {
                self.trouble.set(None);
                batch.events.iter().map(|event| self.sent(event)).collect()
            }
            Err(stop) => self.fail(&producer, &call, stop).await,
        };
        std::mem::forget(dropped);
        outcomes
    }

    /// Whether the brokers let us in and have the topic, or would create it, and the last events did not show more. Creates nothing.
    async fn is_ready(&self) -> Result<(), String> {
        // What becomes of others in the meantime says nothing about the event for the sake of which this is asked.
        let is_over = self.trouble.is_over();
        self.cluster.probe(&self.wire.topic).await?;
        is_over
    }

    async fn close(&self) {
        // Every call waited for its answers, so there is nothing to flush.
        self.state.lock().await.producer = None;
    }
}

/// A call of [`Broker::publish`].
#[derive(Debug)]
struct Call<'a> {
    batch: &'a Batch,
    in_flight: Arc<InFlight>,
    begin: Instant,
    /// How long it waits for its answers.
    patience: Duration,
}

/// Marks the producer of a call that is dropped before its end.
struct MarkOnDrop<'a>(&'a Producer);

impl Drop for MarkOnDrop<'_> {
    fn drop(&mut self) {
        self.0.mark();
    }
}

/// Whether a message failed only because another one did.
fn is_consequence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{Fatal, GaplessGuarantee, OutOfOrderSequenceNumber, PurgeInflight, PurgeQueue};
    matches!(code, Fatal | GaplessGuarantee | OutOfOrderSequenceNumber | PurgeInflight | PurgeQueue)
}

/// Whether what happened to a message would happen to all, or to all of its partition.
fn concerns_all(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        ClusterAuthorizationFailed, LeaderNotAvailable, MessageTimedOut, NotEnoughReplicas, NotEnoughReplicasAfterAppend,
        NotLeaderForPartition, RequestTimedOut, TopicAuthorizationFailed, TransactionalIdAuthorizationFailed,
    };
    matches!(
        code,
        ClusterAuthorizationFailed
            | LeaderNotAvailable
            | MessageTimedOut
            | NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | NotLeaderForPartition
            | RequestTimedOut
            | TopicAuthorizationFailed
            | TransactionalIdAuthorizationFailed
    )
}

/// Whether a request or a message was too large.
fn is_size(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
}
