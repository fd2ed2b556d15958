//! Reading events from topics.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::groups::GroupInfo;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::time::timeout;
use trunkline_adapter::ReadBy;
use trunkline_core::{Event, Reader, Received, Source};
use trunkline_kafka::kafka_source_from_section;
use trunkline_testkit::services;

use crate::common::{LONG, ask, bodies, broker, deliver, event, from_yaml, journal, plain, plain_section, text, topic, unique};
use crate::security::{listeners, password};

pub(crate) fn source(yaml: &str) -> Arc<dyn Source> {
    let (source, said) = from_yaml(yaml, services::tls("ca.pem").parent().unwrap_or(Path::new("")), |section, directory| {
        kafka_source_from_section(section, directory, ReadBy::Person)
    });
    assert_eq!(said, [""; 0], "{yaml}");
    source.unwrap()
}

/// Receives until there are `count`.
async fn receive(reader: &mut dyn Reader, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    while received.len() < count {
        let more = timeout(LONG, reader.receive()).await.expect("more arrives").unwrap().unwrap();
        assert!((1..=256).contains(&more.len()));
        received.extend(more);
    }
    assert_eq!(received.len(), count);
    received
}

fn received_bodies(received: &[Received]) -> Vec<Vec<u8>> {
    received.iter().map(|received| received.body.to_vec()).collect()
}

#[tokio::test]
async fn what_is_settled_does_not_come_again_and_the_rest_does() {
    let topic = topic(&plain(), 1, &[]).await;
    let events = journal(600, 3);
    deliver(&broker(&plain_section(&topic)), &events).await;
    let source = source(&format!("{}group_id: {}", plain_section(&topic), unique("group")));
    let mut reader = source.open().await.unwrap();
    let first = timeout(LONG, reader.receive()).await.unwrap().unwrap().unwrap();
    reader.settle().await.unwrap();
    let settled = first.len();
    assert_eq!(received_bodies(&first), bodies(&events[..settled]));
    assert_eq!(first[0].id.as_deref(), Some(&*events[0].id.to_string()));
    assert_eq!(first[0].origin, format!("topic {topic}, partition 0, offset 0"));
    // A call that is dropped loses nothing.
    let _ = reader.receive().now_or_never();
    drop(reader);

    let mut reader = source.open().await.unwrap();
    let rest = receive(&mut *reader, 600 - settled).await;
    assert_eq!(received_bodies(&rest), bodies(&events[settled..]));
    reader.settle().await.unwrap();
    reader.settle().await.unwrap();
}

#[tokio::test]
async fn what_others_wrote_is_known_by_its_position() {
    let topics = [topic(&plain(), 1, &[]).await, topic(&plain(), 2, &[]).await];
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", plain()).create().unwrap();
    for (topic, partition) in [(&topics[0], 0), (&topics[1], 1)] {
        let record = BaseRecord::<(), str>::to(topic).partition(partition);
        producer.send(record.payload("{\"event\": \"restart\"}")).map_err(|(error, _)| error).unwrap();
    }
    tokio::task::spawn_blocking(move || producer.flush(LONG)).await.unwrap().unwrap();
    let section = format!("{}group_id: {}", plain_section(&format!("[{}, {}]", topics[0], topics[1])), unique("group"));
    let mut reader = source(&section).open().await.unwrap();
    let received = receive(&mut *reader, 2).await;
    let ids: BTreeMap<_, _> = received.iter().map(|received| (received.id.as_deref().unwrap(), &received.body[..])).collect();
    let expected = [format!("{}/0/0", topics[0]), format!("{}/1/0", topics[1])];
    assert_eq!(ids, expected.iter().map(|id| (&**id, &b"{\"event\": \"restart\"}"[..])).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_gets_in_by_every_mechanism_that_the_broker_does() {
    let topic = topic(&plain(), 1, &[]).await;
    let events = journal(3, 1);
    deliver(&broker(&plain_section(&topic)), &events).await;
    for yaml in [
        format!("url: localhost:{}\nsasl_mechanism: OAUTHBEARER\nsasl_oauthbearer_unsecured_principal: me", listeners().sasl),
        format!(
            "url: localhost:{}\nsecurity_protocol: SASL_SSL\nssl_cafile: ca.pem\nsasl_mechanism: SCRAM-SHA-512\n{}",
            listeners().sasl_tls,
            password()
        ),
    ] {
        let source = source(&format!("{yaml}\ntopic: {topic}\ngroup_id: {}", unique("group")));
        let mut reader = source.open().await.unwrap();
        assert_eq!(received_bodies(&receive(&mut *reader, 3).await), bodies(&events), "{yaml}");
    }
}

#[tokio::test]
async fn opening_says_what_is_wrong() {
    let source = source(&format!("url: localhost:{}\nsasl_username: trunkline\nsasl_password: wrong", listeners().sasl));
    let said = source.open().await.err().unwrap();
    assert!(said.contains("Invalid username or password; check `sasl_mechanism`"), "{said}");
}

/// The ids of the members of a group.
async fn members(group: &str) -> Vec<String> {
    let group = group.to_owned();
    let listed = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", plain()).create().unwrap();
        let groups = consumer.fetch_group_list(Some(&group), LONG).unwrap();
        groups.groups().iter().flat_map(GroupInfo::members).map(|member| member.id().to_owned()).collect()
    });
    listed.await.unwrap()
}

#[tokio::test]
async fn asking_whether_it_is_ready_disturbs_no_reader() {
    let topic = topic(&plain(), 4, &[]).await;
    let broker = broker(&plain_section(&topic));
    let group = unique("group");
    let source = source(&format!("{}group_id: {group}", plain_section(&topic)));
    assert_eq!(source.is_ready().await, Ok(()));
    let events = journal(40, 20);
    deliver(&broker, &events[..20]).await;
    let mut reader = source.open().await.unwrap();
    receive(&mut *reader, 20).await;
    assert_eq!(source.is_ready().await, Ok(()));
    assert_eq!(members(&group).await.len(), 1);
    deliver(&broker, &events[20..]).await;
    receive(&mut *reader, 20).await;
    reader.settle().await.unwrap();
}

#[tokio::test]
async fn readers_of_a_group_share_the_partitions() {
    let topic = topic(&plain(), 4, &[]).await;
    let broker = broker(&plain_section(&topic));
    let source = source(&format!("{}group_id: {}", plain_section(&topic), unique("group")));
    let mut readers = [source.open().await.unwrap(), source.open().await.unwrap()];
    let mut by_reader = [0, 0];
    // The partitions are divided while events flow.
    for number in 0.. {
        let events: Vec<_> = (1..=40).map(|user| event(number * 40 + user, &format!("user{user}"), "Hallo")).collect();
        deliver(&broker, &events).await;
        let mut missing: HashSet<_> = bodies(&events).into_iter().collect();
        while !missing.is_empty() {
            let [first, second] = &mut readers;
            let reading = async {
                tokio::select! {
                    received = first.receive() => (0, received),
                    received = second.receive() => (1, received),
                }
            };
            let (reader, received) = timeout(LONG, reading).await.expect("more arrives");
            let received = received.unwrap().unwrap();
            readers[reader].settle().await.unwrap();
            by_reader[reader] += received.len();
            for body in received_bodies(&received) {
                missing.remove(&body);
            }
        }
        if by_reader.iter().all(|count| *count > 0) {
            break;
        }
    }
}

#[tokio::test]
async fn who_is_put_out_of_the_group_before_it_settles_reads_again() {
    let topic = topic(&plain(), 1, &[]).await;
    let events = journal(3, 1);
    deliver(&broker(&plain_section(&topic)), &events).await;
    let group = unique("group");
    let mut reader = source(&format!("{}group_id: {group}", plain_section(&topic))).open().await.unwrap();
    receive(&mut *reader, 3).await;
    let [member] = &members(&group).await[..] else { panic!("it is the only one") };
    // `LeaveGroup`, version 0; the answer is that there is no error.
    assert_eq!(ask(services::port("kafka"), 13, 0, &[text(&group), text(member)].concat()), [0, 0]);
    assert_eq!(reader.settle().await, Ok(()));
    assert_eq!(received_bodies(&receive(&mut *reader, 3).await), bodies(&events));
    assert_eq!(reader.settle().await, Ok(()));
}

#[tokio::test]
async fn what_is_compressed_by_any_means_is_read() {
    let events = journal(300, 1);
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        // The server compresses anew what it gets.
        let topic = topic(&plain(), 1, &[("compression.type", codec)]).await;
        deliver(&broker(&plain_section(&topic)), &events).await;
        let source = source(&format!("{}group_id: {}", plain_section(&topic), unique("group")));
        let mut reader = source.open().await.unwrap();
        assert_eq!(received_bodies(&receive(&mut *reader, 300).await), bodies(&events), "{codec}");
    }
}

/// Reads all of a topic, through the death of its server, which another test sees to. As a gateway does: a reader that fails is
/// dropped, and another is opened.
pub(crate) async fn read_on(section: &str, events: &[Arc<Event>], is_read: impl Fn(usize)) {
    let source = source(section);
    let (mut reader, mut read) = (None, Vec::new());
    while read.len() < events.len() {
        let Some(open) = &mut reader else {
            reader = source.open().await.ok();
            continue;
        };
        match open.receive().await {
            Ok(received) => {
                let is_settled = open.settle().await.is_ok();
                let more = received_bodies(&received.unwrap()).into_iter().filter(|body| !read.contains(body));
                read.extend(more.collect::<Vec<_>>());
                is_read(read.len());
                reader = reader.filter(|_| is_settled);
            }
            Err(said) => {
                assert!(said.contains("Kafka at localhost:"), "{said}");
                reader = None;
            }
        }
    }
    assert_eq!(read, bodies(events));
}

#[tokio::test]
async fn a_topic_that_is_not_there_yet_is_named_among_others() {
    let (there, missing) = (topic(&plain(), 1, &[]).await, unique("missing"));
    let source = source(&format!("{}group_id: {}", plain_section(&format!("[{there}, {missing}]")), unique("group")));
    // The server would create it.
    assert_eq!(source.is_ready().await, Ok(()));
    let mut reader = source.open().await.unwrap();
    let said = timeout(LONG, reader.receive()).await.expect("it is seen that the topic is missing").unwrap_err();
    assert!(said.contains(&missing) && !said.contains(&there) && said.contains("Unknown topic"), "{said}");
}
