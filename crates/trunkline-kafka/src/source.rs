//! The other direction: reading events from topics, as a member of a consumer group.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use trunkline_brokers::ReadBy;
use trunkline_config::Section;
use trunkline_core::{Reader, Received, Source};

use crate::ID_HEADER;
use crate::client::Context;
use crate::cluster::Cluster;
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
pub fn kafka_source_from_section(section: &Section<'_>, directory: &Path, by: ReadBy<'_>) -> Option<Arc<dyn Source>> {
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
        // What is fetched ahead, in KiB.
        ("queued.max.messages.kbytes", "16384"),
    ] {
        cluster.config.set(property, value);
    }
    Some(Arc::new(KafkaSource { cluster, topics: topics? }))
}

#[async_trait]
impl Source for KafkaSource {
    fn place(&self) -> String {
        let topics = if let [topic] = self.topics.as_slice() {
            format!("topic {topic}")
        } else {
            format!("topics {}", self.topics.join(", "))
        };
        format!("{topics} at {}", self.cluster.servers)
    }

    async fn open(&self) -> Result<Box<dyn Reader>, String> {
        self.check().await?;
        let consumer: StreamConsumer<Context> = self.cluster.create().await?;
        let consumer = Arc::new(Detached::new(consumer));
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|error| Report::new(&error.to_string()).sentence(&self.cluster.servers))?;
        let source = Self { cluster: self.cluster.clone(), topics: self.topics.clone() };
        Ok(Box::new(KafkaReader { source, consumer, read: HashMap::new() }))
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
            match consumer.recv().await {
                Ok(message) => events.push(self.take(&message)),
                // The library connects again by itself; whether it can is seen by asking.
                Err(KafkaError::MessageConsumption(code)) if is_about_the_connection(code) => self.source.check().await?,
                Err(KafkaError::Global(code)) if is_about_the_connection(code) => self.source.check().await?,
                Err(error) => return Err(self.explain(&error)),
            }
        }
        while events.len() < MOST
            && let Some(Ok(message)) = consumer.recv().now_or_never()
        {
            events.push(self.take(&message));
        }
        Ok(Some(events))
    }

    async fn settle(&mut self) -> Result<(), String> {
        if self.read.is_empty() {
            return Ok(());
        }
        let mut positions = TopicPartitionList::new();
        for ((topic, partition), next) in &self.read {
            positions.add_partition_offset(topic, *partition, Offset::Offset(*next)).map_err(|error| self.explain(&error))?;
        }
        let consumer = Arc::clone(&self.consumer);
        let commit = tokio::task::spawn_blocking(move || consumer.commit(&positions, CommitMode::Sync));
        match tokio::time::timeout(COMMIT, commit).await {
            Ok(Ok(Ok(()))) => {
                self.read.clear();
                Ok(())
            }
            Ok(Ok(Err(error))) => Err(self.explain(&error)),
            Ok(Err(error)) => Err(format!("the work was cut short: {error}")),
            Err(_) => {
                Err(format!("Kafka at {} did not store the positions within {} s", self.source.cluster.servers, COMMIT.as_secs()))
            }
        }
    }
}

impl KafkaReader {
    fn explain(&self, error: &KafkaError) -> String {
        let topics = self.source.topics.join(", ");
        error.rdkafka_error_code().map_or_else(
            || Report::new(&error.to_string()).sentence(&self.source.cluster.servers),
            |code| self.source.cluster.explain(&topics, code, None),
        )
    }
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

fn is_about_the_connection(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, NodeUpdate, OperationTimedOut, Resolve};
    matches!(code, AllBrokersDown | BrokerTransportFailure | NodeUpdate | OperationTimedOut | Resolve)
}
