//! Brokers from YAML, events, and a reader of topics that is not ours.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset as Position, TopicPartitionList};
use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_config::{Diagnostics, Document, Section, Severity, UnknownKeys};
use trunkline_core::{Batch, Broker, CursorKey, Event, JournalId, NewEvent, Offset, Outcome, Timestamp};
use trunkline_kafka::KafkaBroker;
use trunkline_testkit::services;

/// How long anything may take.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// What `read` makes of the section `yaml`, in `directory`, and what was said about it.
pub(crate) fn from_yaml<T>(
    yaml: &str,
    directory: &Path,
    read: impl Fn(&Section<'_>, &Path) -> Option<T>,
) -> (Option<T>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("event_broker:\n  {}\n", yaml.trim().replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let made = document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| {
            section.node("type");
            read(section, directory)
        })
    });
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    (made.flatten(), said.collect())
}

/// A broker of a section that has nothing wrong, with files in the directory of the certificates.
pub(crate) fn broker(yaml: &str) -> KafkaBroker {
    let read = |section: &Section<'_>, directory: &Path| KafkaBroker::from_section(section, directory, Some("test".to_owned()));
    let (broker, said) = from_yaml(yaml, services::tls("ca.pem").parent().unwrap(), read);
    assert_eq!(said, [""; 0], "{yaml}");
    broker.unwrap()
}

/// The shared server without encryption and passwords.
pub(crate) fn plain() -> String {
    format!("localhost:{}", services::port("kafka"))
}

/// A section for the shared server, to which a test adds lines.
pub(crate) fn plain_section(topic: &str) -> String {
    format!("url: {}\nsecurity_protocol: PLAINTEXT\ntopic: {topic}\n", plain())
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{name}-{}-{number}-{}", std::process::id(), JournalId::random().to_string().split_at(8).0)
}

/// A topic of one's own on the server at `servers`.
pub(crate) async fn topic(servers: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = unique("events");
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let results = admin.create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(results, [Ok(name.clone())]);
    name
}

/// A text in a request to Kafka.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// Asks what librdkafka cannot, by the number and the version of the request, and gives the answer.
pub(crate) fn ask(port: u16, kind: u8, version: u8, body: &[u8]) -> Vec<u8> {
    // The number of the question is 7, and the client has no name.
    let request = [&[0, kind, 0, version, 0, 0, 0, 7, 0xff, 0xff], body].concat();
    let mut connection = TcpStream::connect(("localhost", port)).unwrap();
    connection.write_all(&u32::try_from(request.len()).unwrap().to_be_bytes()).unwrap();
    connection.write_all(&request).unwrap();
    let mut length = [0; 4];
    connection.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    connection.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], [0, 0, 0, 7]);
    answer.split_off(4)
}

/// A message as another consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) value: Vec<u8>,
}

/// Everything in a topic, partition by partition.
pub(crate) fn read(servers: &str, topic: &str) -> Vec<Seen> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", servers).set("group.id", "unused").create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LONG).unwrap();
    let mut from = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        from.add_partition_offset(topic, partition.id(), Position::Beginning).unwrap();
        let begin = Instant::now();
        // A partition that is new has no leader at first.
        let (first, end) = loop {
            match consumer.fetch_watermarks(topic, partition.id(), LONG) {
                Ok(found) => break found,
                Err(error) => assert!(begin.elapsed() < LONG, "{error}"),
            }
        };
        left += end - first;
    }
    consumer.assign(&from).unwrap();
    let mut seen = Vec::new();
    let begin = Instant::now();
    while left > 0 {
        assert!(begin.elapsed() < LONG, "{topic} is not read to its end");
        let Some(message) = consumer.poll(LONG) else { continue };
        let message = message.unwrap();
        left -= 1;
        let headers = message.headers().into_iter().flat_map(|headers| {
            let text = |value: Option<&[u8]>| String::from_utf8(value.unwrap().to_vec()).unwrap();
            headers.iter().map(move |header| (header.key.to_owned(), text(header.value)))
        });
        seen.push(Seen {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            headers: headers.collect(),
            value: message.payload().unwrap().to_vec(),
        });
    }
    seen.sort_by_key(|seen| seen.partition);
    seen
}

/// [`read`], off the runtime.
pub(crate) async fn seen(servers: &str, topic: &str) -> Vec<Seen> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read(&servers, &topic)).await.unwrap()
}

/// An event of `conversation` whose text is `text`, laid out as the journal holds it.
pub(crate) fn event(offset: Offset, conversation: &str, text: &str) -> Arc<Event> {
    let text = serde_json::json!({"event": "user", "timestamp": offset, "text": text}).to_string();
    let new = NewEvent::parse(text.as_bytes(), Some(conversation), 1.0).unwrap();
    Arc::new(new.recorded(JournalId::random(), Timestamp(1), offset))
}

/// `count` events of `conversations` in turn, from offset 1.
pub(crate) fn journal(count: u64, conversations: u64) -> Vec<Arc<Event>> {
    (1..=count).map(|number| event(number, &format!("user{}", number % conversations), &format!("№ {number}"))).collect()
}

pub(crate) fn batch(events: &[Arc<Event>]) -> Batch {
    let cursor = CursorKey { journal: JournalId::random(), subscription: "kafka".into() };
    Batch::new(events.to_vec(), cursor)
}

/// Publishes and demands that all of it is delivered.
pub(crate) async fn deliver(broker: &dyn Broker, events: &[Arc<Event>]) {
    let outcomes = broker.publish(&batch(events)).await;
    assert_eq!(outcomes, Outcome::Delivered.all(events.len()));
}

/// The bodies, as they should be in a topic of a single partition.
pub(crate) fn bodies(events: &[Arc<Event>]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.body.to_vec()).collect()
}

pub(crate) fn values(seen: Vec<Seen>) -> Vec<Vec<u8>> {
    seen.into_iter().map(|seen| seen.value).collect()
}

/// Why an event was not delivered.
pub(crate) fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered => "",
        Outcome::Retry { reason, .. } | Outcome::Reject { reason } | Outcome::Behind { reason } => reason,
    }
}

/// Publishes as the delivery does, until all is delivered. Calls that take longer than `within` are dropped, and counted.
pub(crate) async fn deliver_somehow(
    broker: &dyn Broker,
    events: &[Arc<Event>],
    within: Duration,
    dropped: &watch::Sender<usize>,
) {
    let begin = Instant::now();
    let mut rest = events.to_vec();
    while !rest.is_empty() {
        assert!(begin.elapsed() < LONG * 2, "{} events are not delivered", rest.len());
        let tried = batch(&rest);
        let outcomes = timeout(within, broker.publish(&tried)).await.unwrap_or_else(|_| {
            dropped.send_modify(|dropped| *dropped += 1);
            Outcome::retry("late").all(rest.len())
        });
        rest = undelivered(rest, outcomes);
    }
}

/// The events that are still to be delivered.
pub(crate) fn undelivered(events: Vec<Arc<Event>>, outcomes: Vec<Outcome>) -> Vec<Arc<Event>> {
    assert_eq!(events.len(), outcomes.len());
    let rest = events.into_iter().zip(outcomes).filter(|(_, outcome)| *outcome != Outcome::Delivered);
    rest.map(|(event, _)| event).collect()
}

/// Demands of a topic with one partition that everything is there, that each event's first copy stands behind those of all before
/// it, and that copies have the same id. Answers how many copies there are too many.
pub(crate) fn copies(seen: &[Seen], events: &[Arc<Event>]) -> usize {
    let numbers: HashMap<&[u8], usize> = events.iter().enumerate().map(|(number, event)| (&event.body[..], number)).collect();
    let mut ids: HashMap<&[u8], &str> = HashMap::new();
    let mut firsts = Vec::new();
    for seen in seen {
        let id = seen.headers["trunkline-event-id"].as_str();
        let known = *ids.entry(&seen.value).or_insert_with(|| {
            firsts.push(numbers[&seen.value[..]]);
            id
        });
        assert_eq!(known, id, "two ids of one event");
    }
    assert_eq!(firsts, (0..events.len()).collect::<Vec<_>>());
    seen.len() - firsts.len()
}
