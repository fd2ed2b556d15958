//! Reading events from topics.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio::time::timeout;
use trunkline_brokers::ReadBy;
use trunkline_core::{Reader, Received, Source};
use trunkline_kafka::kafka_source_from_section;
use trunkline_testkit::services;

use crate::common::{LONG, bodies, broker, deliver, from_yaml, journal, plain, plain_section, topic, unique};
use crate::security::{listeners, password};

fn source(yaml: &str) -> Arc<dyn Source> {
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

#[tokio::test]
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
