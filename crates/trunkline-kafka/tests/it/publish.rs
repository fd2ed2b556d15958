//! What arrives in a topic, and in which order.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::sync::watch;
use trunkline_core::{Batch, Broker, Event, JournalId, NewEvent, Outcome, Timestamp};
use trunkline_kafka::KafkaBroker;

use crate::common::{
    LONG, Seen, batch, bodies, broker, deliver, deliver_somehow, event, from_yaml, journal, plain, plain_section, seen, topic,
    unique, values,
};

/// What a real Rasa published.
fn fixture() -> Vec<Arc<Event>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../trunkline/tests/fixtures/rasa-3.6.21-events.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let journal = JournalId::random();
    let events = text.lines().zip(1..).map(|(line, offset)| {
        let new = NewEvent::parse(line.as_bytes(), None, 1.0).unwrap();
        Arc::new(new.recorded(journal, Timestamp(1), offset))
    });
    events.collect()
}

/// Bodies by conversation, in order, and demands that a conversation is in one partition only.
fn by_conversation<'a>(events: impl IntoIterator<Item = (String, Option<i32>, &'a [u8])>) -> HashMap<String, Vec<&'a [u8]>> {
    let mut conversations: HashMap<String, Vec<&[u8]>> = HashMap::new();
    let mut partitions = HashMap::new();
    for (conversation, partition, body) in events {
        assert_eq!(*partitions.entry(conversation.clone()).or_insert(partition), partition, "{conversation}");
        conversations.entry(conversation).or_default().push(body);
    }
    conversations
}

fn published(events: &[Arc<Event>]) -> HashMap<String, Vec<&[u8]>> {
    by_conversation(events.iter().map(|event| (event.conversation.to_string(), None, &event.body[..])))
}

fn arrived(seen: &[Seen]) -> HashMap<String, Vec<&[u8]>> {
    by_conversation(seen.iter().map(|seen| {
        let value: serde_json::Value = serde_json::from_slice(&seen.value).unwrap();
        (value["sender_id"].as_str().unwrap().to_owned(), Some(seen.partition), &seen.value[..])
    }))
}

#[tokio::test]
async fn real_events_arrive_equal_and_in_the_order_of_their_conversation_with_and_without_a_key() {
    let events = fixture();
    assert_eq!(events.len(), 1106);
    let mut partitions = Vec::new();
    for by_sender in [false, true] {
        let topic = topic(&plain(), 6, &[]).await;
        let broker = broker(&format!("{}partition_by_sender: {by_sender}", plain_section(&topic)));
        for events in events.chunks(100) {
            deliver(&broker, events).await;
        }
        let seen = seen(&plain(), &topic).await;
        assert_eq!(arrived(&seen), published(&events));
        for seen in &seen {
            let value: serde_json::Value = serde_json::from_slice(&seen.value).unwrap();
            assert_eq!(seen.key.as_deref(), by_sender.then(|| value["sender_id"].as_str().unwrap().as_bytes()));
        }
        let mut used: Vec<i32> = seen.iter().map(|seen| seen.partition).collect();
        used.dedup();
        assert!(used.len() > 1, "the conversations are spread: {used:?}");
        partitions.push(seen.into_iter().map(|seen| (seen.value, seen.partition)).collect::<HashMap<_, _>>());
    }
    assert_eq!(partitions[0], partitions[1], "the key changes no partition");
}

#[tokio::test]
async fn calls_side_by_side_keep_the_order_of_each_conversation() {
    let topic = topic(&plain(), 3, &[]).await;
    let broker = broker(&plain_section(&topic));
    let lanes: Vec<Vec<Arc<Event>>> = (0..4)
        .map(|lane| (1..=300).map(|offset| event(offset, &format!("lane{lane}"), &format!("№ {offset}"))).collect())
        .collect();
    join_all(lanes.iter().map(|lane| async {
        for events in lane.chunks(7) {
            deliver(&broker, events).await;
        }
    }))
    .await;
    let events: Vec<_> = lanes.concat();
    assert_eq!(arrived(&seen(&plain(), &topic).await), published(&events));
}

#[tokio::test]
async fn a_call_that_is_dropped_and_made_again_puts_nothing_behind_what_comes_later() {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&plain_section(&topic));
    let events = journal(1500, 1);
    deliver(&broker, &events[..1]).await;
    for events in events[1..].chunks(500) {
        let batch = batch(events);
        let dropped = broker.publish(&batch);
        // Polled once, it has sent everything and waits for the answers.
        assert!(futures_util::FutureExt::now_or_never(dropped).is_none());
        deliver(&broker, events).await;
    }
    let mut firsts = Vec::new();
    for value in values(seen(&plain(), &topic).await) {
        if !firsts.contains(&value) {
            firsts.push(value);
        }
    }
    assert_eq!(firsts, bodies(&events));
}

#[tokio::test]
async fn headers_are_those_of_the_original_and_the_id_of_the_event() {
    let event = event(7, "user", "Hallo");
    for (environment, header) in [(Some("staging"), Some("staging")), (Some(""), None), (None, Some("RASA_ENVIRONMENT_NOT_SET"))]
    {
        let topic = topic(&plain(), 1, &[]).await;
        let (broker, _) = from_yaml(&plain_section(&topic), Path::new("/nowhere"), |section, directory| {
            KafkaBroker::from_section(section, directory, environment.map(ToOwned::to_owned))
        });
        let broker = broker.unwrap();
        deliver(&broker, std::slice::from_ref(&event)).await;
        let export: Arc<str> = "0123456789abcdef0123456789abcdef".into();
        broker.publish(&Batch { export: Some(Arc::clone(&export)), ..batch(std::slice::from_ref(&event)) }).await;
        let mut expected = HashMap::from([("trunkline-event-id".to_owned(), event.id.to_string())]);
        expected.extend(header.map(|header| ("RASA_ENVIRONMENT".to_owned(), header.to_owned())));
        let seen = seen(&plain(), &topic).await;
        assert_eq!(seen[0].headers, expected);
        expected.insert("rasa-export-process-id".to_owned(), export.to_string());
        assert_eq!(seen[1].headers, expected);
    }
}

#[tokio::test]
async fn any_server_of_a_list_will_do() {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&format!("url: ['localhost:1', '{}']\nsecurity_protocol: PLAINTEXT\ntopic: {topic}", plain()));
    deliver(&broker, &journal(5, 1)).await;
    assert_eq!(broker.is_ready().await, Ok(()));
}

#[tokio::test]
async fn partitions_can_be_those_of_older_rasas() {
    let topic = topic(&plain(), 6, &[]).await;
    let section = format!("{}partition_by_sender: true\npartitioner: murmur2_random", plain_section(&topic));
    let events: Vec<_> = (0..8).map(|number| event(number, &format!("user{number}"), "")).collect();
    deliver(&broker(&section), &events).await;
    let seen = seen(&plain(), &topic).await;
    let mut partitions: Vec<_> =
        seen.iter().map(|seen| (String::from_utf8(seen.key.clone().unwrap()).unwrap(), seen.partition)).collect();
    partitions.sort();
    let partitions: Vec<_> = partitions.into_iter().map(|(_, partition)| partition).collect();
    assert_eq!(partitions, MURMUR2, "what kafka-python computes for user0 to user7 and six partitions");
}

const MURMUR2: [i32; 8] = [3, 0, 5, 5, 1, 4, 0, 1];

/// The partition of each value that librdkafka itself finds by the key.
async fn partitions_by_librdkafka(events: &[Arc<Event>], partitioner: &str) -> HashMap<Vec<u8>, i32> {
    let topic = topic(&plain(), 6, &[]).await;
    let mut config = ClientConfig::new();
    let producer: BaseProducer = config.set("bootstrap.servers", plain()).set("partitioner", partitioner).create().unwrap();
    for event in events {
        let record = BaseRecord::to(&topic).key(event.conversation.as_bytes()).payload(&event.body[..]);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    tokio::task::spawn_blocking(move || producer.flush(LONG)).await.unwrap().unwrap();
    seen(&plain(), &topic).await.into_iter().map(|seen| (seen.value, seen.partition)).collect()
}

#[tokio::test]
async fn partitions_are_those_of_librdkafka() {
    let long = "grüße".repeat(9);
    let cut = long.char_indices().skip(1).map(|(length, _)| long.split_at(length).0.to_owned());
    let conversations = cut.chain((0..300).map(|number| format!("{number}-Zoë-😀")));
    let events: Vec<_> = conversations.zip(1..).map(|(conversation, number)| event(number, &conversation, "Hallo")).collect();
    for partitioner in ["consistent_random", "murmur2_random"] {
        let topic = topic(&plain(), 6, &[]).await;
        let section = format!("{}partition_by_sender: true\npartitioner: {partitioner}", plain_section(&topic));
        deliver(&broker(&section), &events).await;
        let ours: HashMap<_, _> = seen(&plain(), &topic).await.into_iter().map(|seen| (seen.value, seen.partition)).collect();
        assert_eq!(ours, partitions_by_librdkafka(&events, partitioner).await, "{partitioner}");
    }
}

#[tokio::test]
async fn partitions_that_are_added_wait_for_the_next_connection_and_lost_ones_are_not_missed() {
    let topic = topic(&plain(), 2, &[]).await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", plain()).create().unwrap();
    let here = async |events: &[Arc<Event>]| {
        let seen = seen(&plain(), &topic).await.into_iter();
        seen.filter(|seen| events.iter().any(|event| event.body[..] == seen.value[..])).collect::<Vec<_>>()
    };
    let old = broker(&plain_section(&topic));
    let events = journal(1200, 20);
    let (first, rest) = events.split_at(200);
    let (second, third) = rest.split_at(500);
    deliver(&old, first).await;
    let added = admin.create_partitions([&NewPartitions::new(&topic, 6)], &AdminOptions::new()).await.unwrap();
    assert_eq!(added, [Ok(topic.clone())]);
    while partition_counts(&topic) != [6] {}
    deliver(&old, second).await;
    let both = [first, second].concat();
    assert_eq!(arrived(&here(&both).await), published(&both));
    let new = broker(&plain_section(&topic));
    deliver(&new, third).await;
    let after = here(third).await;
    assert_eq!(arrived(&after), published(third));
    assert!(after.iter().any(|seen| seen.partition > 1));

    // Somebody makes it anew with a single one.
    assert_eq!(admin.delete_topics(&[&topic], &AdminOptions::new()).await.unwrap(), [Ok(topic.clone())]);
    while !partition_counts(&topic).is_empty() {}
    let single = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    assert_eq!(admin.create_topics([&single], &AdminOptions::new()).await.unwrap(), [Ok(topic.clone())]);
    deliver_somehow(&new, &events, LONG, &watch::Sender::new(0)).await;
    assert_eq!(arrived(&here(&events).await), published(&events));
}

#[tokio::test]
async fn a_compacted_topic_wants_a_key() {
    let topic = topic(&plain(), 1, &[("cleanup.policy", "compact")]).await;
    let events = journal(3, 1);
    let outcomes = broker(&plain_section(&topic)).publish(&batch(&events)).await;
    let expected = format!(
        "Kafka at {} found a message for the topic `{topic}` invalid; a topic that is compacted needs `partition_by_sender: true`",
        plain()
    );
    assert_eq!(outcomes, Outcome::retry(expected).all(3));
    deliver(&broker(&format!("{}partition_by_sender: true", plain_section(&topic))), &events).await;
}

#[tokio::test]
async fn messages_may_be_compressed_and_the_queue_may_be_short() {
    let events = journal(1000, 4);
    for options in
        ["compression: gzip", "compression: snappy", "compression: lz4", "compression: zstd", "queue_size: 10", "queue_size: 0"]
    {
        let topic = topic(&plain(), 1, &[]).await;
        deliver(&broker(&format!("{}{options}", plain_section(&topic))), &events).await;
        assert_eq!(values(seen(&plain(), &topic).await), bodies(&events), "{options}");
    }
}

#[tokio::test]
async fn a_topic_that_the_server_creates_is_created_by_the_first_event_and_not_by_a_check() {
    let topic = unique("created");
    let broker = broker(&plain_section(&topic));
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_eq!(partition_counts(&topic), [0; 0]);
    deliver(&broker, &journal(3, 1)).await;
    assert_eq!(seen(&plain(), &topic).await.len(), 3);
    assert_eq!(partition_counts(&topic), [1]);
}

/// How many partitions a topic has, if it is there.
fn partition_counts(name: &str) -> Vec<usize> {
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", plain()).create().unwrap();
    let metadata = consumer.fetch_metadata(None, LONG).unwrap();
    metadata.topics().iter().filter(|topic| topic.name() == name).map(|topic| topic.partitions().len()).collect()
}
