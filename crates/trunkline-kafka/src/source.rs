//! The other direction: reading events from topics, as a member of a consumer group.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use trunkline_adapter::ReadBy;
use trunkline_config::Section;
use trunkline_core::{Place, Reader, Received, Source};

use crate::ID_HEADER;
use crate::client::Context;
use crate::cluster::{Cluster, is_missing};
use crate::detached::Detached;
use crate::reasons::Report;
use crate::settings;

/// How many events one call gives at the most.
const MOST: usize = 256;

/// How long storing the positions may take.
const COMMIT: Duration = Duration::from_secs(10);

/// Reads events from topics. The group stores how far it has read when events are settled, so what is not settled comes again.
#[derive(Debug)]
pub struct KafkaSource {
    cluster: Cluster,
    topics: Vec<String>,
}

/// Builds the source from its section: the options of the broker that lead to the cluster, `topic`, and `group_id`.
pub fn kafka_source_from_section(section: &Section<'_>, directory: &Path, by: ReadBy) -> Option<Arc<dyn Source>> {
    let cluster = settings::cluster(section, directory);
    settings::pass_over(section, &settings::BROKER_KEYS);
    let topics = settings::topics(section);
    let group = section.string("group_id").unwrap_or_else(|| by.group().to_owned());
    let mut cluster = cluster?;
    for (property, value) in [
        ("group.id", group.as_str()),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        // A reader that is gone without a word, as after a crash of either side, holds its partitions so long.
        ("session.timeout.ms", "10000"),
        // What is fetched ahead, in KiB.
        ("queued.max.messages.kbytes", "16384"),
    ] {
        cluster.config.set(property, value);
    }
    Some(Arc::new(KafkaSource { cluster, topics: topics? }))
}

#[async_trait]
impl Source for KafkaSource {
    fn place(&self) -> Place {
        let topics = if let [topic] = self.topics.as_slice() {
            format!("topic {topic}")
        } else {
            format!("topics {}", self.topics.join(", "))
        };
        format!("{topics} at {}", self.cluster.servers).into()
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        self.check().await?;
        let topics = self.topics.clone();
        let subscribe =
            move |consumer: &StreamConsumer<Context>| consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>());
        let consumer = Arc::new(Detached::new(self.cluster.create(subscribe).await?));
        let source = Self { cluster: self.cluster.clone(), topics: self.topics.clone() };
        Ok(Box::new(KafkaReader { source, consumer, read: HashMap::new(), failure: None, opened: Instant::now() }))
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.check().await
    }
}

impl KafkaSource {
    /// Whether the brokers let us in and have the topics.
    async fn check(&self) -> Result<(), String> {
        for topic in &self.topics {
            self.cluster.probe(topic).await?;
        }
        Ok(())
    }
}

struct KafkaReader {
    source: KafkaSource,
    consumer: Arc<Detached<StreamConsumer<Context>>>,
    /// Of each partition, the offset behind what was received and is not settled.
    read: HashMap<(String, i32), i64>,
    /// What came behind the events of the last call.
    failure: Option<KafkaError>,
    opened: Instant,
}

impl KafkaReader {
    fn take(&mut self, message: &BorrowedMessage<'_>) -> Received {
        received(&mut self.read, message)
    }
}

#[async_trait]
impl Reader for KafkaReader {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        let consumer = Arc::clone(&self.consumer);
        let mut events = Vec::new();
        while events.is_empty() {
            let next = match self.failure.take() {
                Some(failure) => Err(failure),
                None => consumer.recv().await,
            };
            match next {
                Ok(message) => events.push(self.take(&message)),
                // The library connects again by itself; whether it can is seen by asking.
                Err(KafkaError::MessageConsumption(code) | KafkaError::Global(code)) if is_about_the_connection(code) => {
                    self.source.check().await?;
                }
                Err(error) => return Err(self.why_not(&error).await),
            }
        }
        let (more, failure) = at_once(MOST - events.len(), || consumer.recv().now_or_never());
        events.extend(more.iter().map(|message| self.take(message)));
        self.failure = failure;
        Ok(Some(events))
    }

    async fn settle(&mut self) -> Result<(), String> {
        if self.read.is_empty() {
            return Ok(());
        }
        let mut positions = TopicPartitionList::new();
        for ((topic, partition), next) in &self.read {
            positions
                .add_partition_offset(topic, *partition, Offset::Offset(*next))
                .map_err(|error| self.explain(&error, None))?;
        }
        let consumer = Arc::clone(&self.consumer);
        let commit = tokio::task::spawn_blocking(move || consumer.commit(&positions, CommitMode::Sync));
        match tokio::time::timeout(COMMIT, commit).await {
            Ok(Ok(Ok(()))) => {
                self.read.clear();
                Ok(())
            }
            // Whoever has the partitions now begins at what was stored before, and what comes again is known by its id.
            Ok(Ok(Err(KafkaError::ConsumerCommit(code)))) if is_about_the_members(code) => {
                self.read.clear();
                Ok(())
            }
            Ok(Ok(Err(error))) => Err(self.explain(&error, None)),
            Ok(Err(error)) => Err(format!("the work was cut short: {error}")),
            Err(_) => {
                Err(format!("Kafka at {} did not store the positions within {} s", self.source.cluster.servers, COMMIT.as_secs()))
            }
        }
    }
}

impl KafkaReader {
    /// Why nothing can be read.
    async fn why_not(&self, error: &KafkaError) -> String {
        // The error does not name its topic; asking for each does.
        if let Err(reason) = self.source.check().await {
            return reason;
        }
        let report = self.consumer.context().last_report(self.opened);
        match report {
            Some(report) if error.rdkafka_error_code().is_some_and(is_missing) => {
                Report::new(&report).sentence(&self.source.cluster.servers)
            }
            report => self.explain(error, report.as_deref()),
        }
    }

    fn explain(&self, error: &KafkaError, report: Option<&str>) -> String {
        let KafkaSource { cluster, topics } = &self.source;
        match error.rdkafka_error_code() {
            Some(code) => cluster.explain(&topics.join("` or `"), code, report),
            None => Report::new(&error.to_string()).sentence(&cluster.servers),
        }
    }
}

/// What is there at once, `most` at the most, and the error that ended it.
fn at_once<T, E>(most: usize, mut next: impl FnMut() -> Option<Result<T, E>>) -> (Vec<T>, Option<E>) {
    let mut found = Vec::new();
    while found.len() < most {
        match next() {
            Some(Ok(one)) => found.push(one),
            Some(Err(error)) => return (found, Some(error)),
            None => break,
        }
    }
    (found, None)
}

/// The event of a message, after which its partition is read up to there.
fn received(read: &mut HashMap<(String, i32), i64>, message: &BorrowedMessage<'_>) -> Received {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    read.insert((topic.to_owned(), partition), offset + 1);
    let id = message.headers().and_then(|headers| headers.iter().find(|header| header.key == ID_HEADER));
    let id = id.and_then(|header| std::str::from_utf8(header.value?).ok()).filter(|id| !id.is_empty());
    Received {
        body: Bytes::copy_from_slice(message.payload().unwrap_or_default()),
        id: Some(id.map_or_else(|| format!("{topic}/{partition}/{offset}").into(), Arc::from)),
        origin: format!("topic {topic}, partition {partition}, offset {offset}"),
    }
}

/// Whether the members of the group, or what each of them has, have changed.
fn is_about_the_members(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    matches!(code, IllegalGeneration | RebalanceInProgress | UnknownMemberId)
}

fn is_about_the_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, NodeUpdate, OperationTimedOut, Resolve};
    matches!(code, AllBrokersDown | BrokerTransportFailure | NodeUpdate | OperationTimedOut | Resolve)
}

#[cfg(test)]
mod tests {
    use super::at_once;

    #[test]
    fn an_error_behind_events_is_not_lost() {
        let mut given = vec![Some(Ok(1)), Some(Ok(2)), Some(Err("late")), Some(Ok(3)), None].into_iter();
        let mut next = || given.next().flatten();
        assert_eq!(at_once(9, &mut next), (vec![1, 2], Some("late")));
        assert_eq!(at_once(9, &mut next), (vec![3], None));
        assert_eq!(at_once(1, || Some(Ok::<_, &str>(4))), (vec![4], None));
    }
}
