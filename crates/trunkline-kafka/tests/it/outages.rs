//! A server of one's own that creates no topics, hangs, and has no room.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_core::{Broker as _, Event, Outcome};
use trunkline_testkit::contract;
use trunkline_testkit::services::Private;

use crate::common::{LONG, Seen, batch, bodies, broker, journal, reason, seen, topic};
use crate::contract::Topic;

/// Publishes as the delivery does, until all is delivered.
async fn deliver_somehow(broker: &trunkline_kafka::KafkaBroker, events: &[Arc<Event>], within: Duration) {
    let begin = Instant::now();
    let mut rest = events.to_vec();
    while !rest.is_empty() {
        assert!(begin.elapsed() < LONG * 2, "{} events are not delivered", rest.len());
        let tried = batch(&rest);
        let outcomes = timeout(within, broker.publish(&tried)).await.unwrap_or_else(|_| Outcome::retry("late").all(rest.len()));
        rest = rest
            .into_iter()
            .zip(outcomes)
            .filter(|(_, outcome)| *outcome != Outcome::Delivered)
            .map(|(event, _)| event)
            .collect();
    }
}

/// Demands that everything is there, that each event's first copy stands behind those of all before it, and that copies have the
/// same id. Answers how many copies there are too many.
fn check(seen: &[Seen], events: &[Arc<Event>]) -> usize {
    let mut ids: HashMap<&[u8], &str> = HashMap::new();
    let mut firsts = Vec::new();
    for seen in seen {
        let id = seen.headers["trunkline-event-id"].as_str();
        if *ids.entry(&seen.value).or_insert_with(|| {
            firsts.push(seen.value.clone());
            id
        }) != id
        {
            panic!("two ids of one event");
        }
    }
    assert_eq!(firsts, bodies(events));
    seen.len() - firsts.len()
}

#[tokio::test]
async fn a_server_that_hangs_or_is_full_loses_and_inverts_nothing() {
    let variables =
        [("TRUNKLINE_SERVICES_KAFKA_SETTINGS", "auto.create.topics.enable=false"), ("TRUNKLINE_SERVICES_DISK", "300m")];
    let server = Private::with("kafka", &variables).await;
    let address = format!("localhost:{}", server.port("kafka"));
    let section = |topic: &str| format!("url: {address}\nsecurity_protocol: PLAINTEXT\ntopic: {topic}");

    // A topic that is missing and is not created.
    let missing = broker(&section("missing"));
    let expected = format!(
        "Kafka at {address} has no topic `missing` and does not create it by itself; create it, as with `kafka-topics.sh --create --topic missing`"
    );
    assert_eq!(missing.is_ready().await, Err(expected.clone()));
    assert_eq!(reason(&missing.publish(&batch(&journal(1, 1))).await[0]), expected);

    // While it hangs, calls are dropped by their caller, and made again.
    let topic = topic(&address, 1, &[]).await;
    let hung = broker(&section(&topic));
    let events = journal(10_000, 1);
    let delivered = watch::Sender::new(0);
    let publishing = async {
        for events in events.chunks(50) {
            deliver_somehow(&hung, events, Duration::from_secs(2)).await;
            delivered.send_modify(|delivered| *delivered += events.len());
        }
    };
    let hanging = async {
        delivered.subscribe().wait_for(|delivered| *delivered > 1000).await.unwrap();
        server.hang().await;
        assert!(*delivered.borrow() < 9000, "it hung in the middle");
        // Long enough for two calls to be dropped.
        tokio::time::sleep(Duration::from_secs(5)).await;
        server.resume().await;
    };
    tokio::join!(publishing, hanging);
    println!("{} duplicates after hanging", check(&seen(&address, &topic).await, &events));

    // Kafka ends itself when it cannot write.
    let free = async {
        server.kill().await;
        server.free_disk().await;
        server.start_again().await;
    };
    contract::full(&Topic::new(&address, "").await, server.fill_disk(), free).await;
}
