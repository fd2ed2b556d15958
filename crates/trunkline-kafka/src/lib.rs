//! Broker and source `kafka`: a topic of Apache Kafka, through librdkafka.
//!
//! `Delivered` means that all in-sync replicas of the partition have the event (`acks=all`).
//!
//! What a redelivery does: within one producer none reaches the topic twice, because the producer is idempotent. When it had to
//! be given up in the middle of a batch (no answer for half the time that the caller waits, an event refused, our process killed),
//! events whose fate is unknown come again, each with the same `trunkline-event-id` in its headers; after a refusal what is on its
//! way elsewhere is waited for first, so that seldom any is left.
//!
//! Order within a conversation is kept, in the sense that each event stands behind all that came before it: a producer that failed
//! at one event publishes none behind it in that partition. The broker sees to that where it knows the producer, so the first event
//! for a partition goes there alone.
//!
//! On the wire it is Rasa's own: the event's bytes as the value, its conversation as the key with `partition_by_sender` and none
//! without, the header `RASA_ENVIRONMENT`. One thing is different. Without a key Rasa lets the library scatter the events of a
//! conversation over all partitions, where no consumer can put them in order again. Here the partition is chosen by the
//! conversation, with the hash that librdkafka uses for keys.

mod broker;
mod client;
mod cluster;
mod detached;
mod in_flight;
mod oauth;
mod partitions;
mod producer;
mod reasons;
mod sasl;
mod settings;
mod source;
mod trust;

pub use broker::{KafkaBroker, kafka_from_section};
pub use source::{KafkaSource, kafka_source_from_section};
use trunkline_adapter::{BrokerSpec, SourceSpec};

/// The header with the id of an event, the same each time that the event is published.
pub const ID_HEADER: &str = "trunkline-event-id";

const KIND: &str = "kafka";
const SUMMARY: &str = "a topic of Apache Kafka";
const CLASS: Option<&str> = Some("rasa.core.brokers.kafka.KafkaEventBroker");

/// The row of the broker.
pub const BROKER: BrokerSpec = BrokerSpec { class: CLASS, ..BrokerSpec::new(KIND, SUMMARY, kafka_from_section) };

/// The row of the source.
pub const SOURCE: SourceSpec = SourceSpec { class: CLASS, ..SourceSpec::new(KIND, SUMMARY, kafka_source_from_section) };
