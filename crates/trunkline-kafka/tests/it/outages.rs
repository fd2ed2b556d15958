//! A server of one's own that asks what a user may do, creates no topics, hangs, and has no room.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::watch;
use trunkline_core::Broker as _;
use trunkline_testkit::contract;
use trunkline_testkit::services::Private;

use crate::common::{batch, broker, copies, deliver_somehow, event, journal, reason, seen, topic};
use crate::contract::Topic;
use crate::permissions;

#[tokio::test]
async fn a_server_that_refuses_hangs_or_is_full_loses_and_inverts_nothing() {
    let settings = format!("auto.create.topics.enable=false\n{}", permissions::SETTINGS);
    let variables = [("TRUNKLINE_SERVICES_KAFKA_SETTINGS", &*settings), ("TRUNKLINE_SERVICES_DISK", "300m")];
    let server = Private::with("kafka", &variables).await;
    let address = format!("localhost:{}", server.port("kafka"));
    let section = |topic: &str| format!("url: {address}\nsecurity_protocol: PLAINTEXT\ntopic: {topic}");

    permissions::are_named(&server).await;

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
    let (delivered, dropped, is_over) = (watch::Sender::new(0), watch::Sender::new(0), Cell::new(false));
    let publishing = async {
        let mut events = Vec::new();
        while !is_over.get() {
            let more: Vec<_> =
                (events.len()..events.len() + 50).map(|number| event(number as u64, "a", &number.to_string())).collect();
            deliver_somehow(&hung, &more, Duration::from_secs(2), &dropped).await;
            events.extend(more);
            delivered.send_replace(events.len());
        }
        events
    };
    let hanging = async {
        delivered.subscribe().wait_for(|delivered| *delivered > 1000).await.unwrap();
        server.hang().await;
        let before = *dropped.borrow();
        dropped.subscribe().wait_for(|dropped| *dropped >= before + 2).await.unwrap();
        server.resume().await;
        is_over.set(true);
    };
    let (events, ()) = tokio::join!(publishing, hanging);
    println!("{} duplicates after hanging", copies(&seen(&address, &topic).await, &events));

    // Kafka ends itself when it cannot write.
    let free = async {
        server.kill().await;
        server.free_disk().await;
        server.start_again().await;
    };
    contract::full(&Topic::on_a_dying(&address).await, server.fill_disk(), free).await;
}
