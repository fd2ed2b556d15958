//! Events that are too large, and topics that take little at a time.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use trunkline_core::{Broker as _, Event, JournalId, Outcome};
use trunkline_kafka::KafkaBroker;

use crate::common::{
    LONG, batch, bodies, broker, copies, deliver, deliver_somehow, event, journal, plain, plain_section, reason, seen, topic,
    values,
};

fn large(offset: u64, conversation: &str, size: usize) -> Arc<Event> {
    event(offset, conversation, &"x".repeat(size))
}

#[tokio::test]
async fn an_event_over_the_limit_of_the_topic_is_rejected_and_the_rest_arrives_in_order() {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&plain_section(&topic));
    let mut events = journal(20, 1);
    events[10] = large(11, "user0", 2_000_000);
    let mut rest = events.clone();
    let mut rejected = Vec::new();
    for _ in 0..5 {
        let outcomes = broker.publish(&batch(&rest)).await;
        let undelivered = rest.iter().zip(outcomes).filter_map(|(event, outcome)| match outcome {
            Outcome::Delivered => None,
            Outcome::Retry { .. } | Outcome::Behind { .. } => Some(Arc::clone(event)),
            Outcome::Reject { reason } => {
                rejected.push((event.offset, reason));
                None
            }
        });
        rest = undelivered.collect();
    }
    assert_eq!(rest, []);
    let [(11, reason)] = &rejected[..] else { panic!("{rejected:?}") };
    let size = events.remove(10).body.len();
    assert_eq!(
        *reason,
        format!(
            "the event of {size} bytes is too large for the topic `{topic}` at {}; raise its `max.message.bytes`, and replay the event",
            plain()
        )
    );
    assert_eq!(values(seen(&plain(), &topic).await), bodies(&events));
}

#[tokio::test]
async fn a_limit_above_the_librarys_own_is_used() {
    let topic = topic(&plain(), 1, &[("max.message.bytes", "5000000")]).await;
    let events = [large(1, "a", 10), large(2, "a", 3_000_000), large(3, "a", 10)];
    deliver(&broker(&plain_section(&topic)), &events).await;
    assert_eq!(values(seen(&plain(), &topic).await), bodies(&events));
}

#[tokio::test]
async fn a_topic_that_takes_little_at_a_time_gets_it_in_small_requests_and_in_order() {
    let topic = topic(&plain(), 1, &[("max.message.bytes", "20000")]).await;
    let broker = broker(&plain_section(&topic));
    let mut events = journal(2000, 1);
    events[1000] = large(1001, "user0", 30_000);
    let mut rest = events.clone();
    let mut rejected = Vec::new();
    for _ in 0..20 {
        if rest.is_empty() {
            break;
        }
        let outcomes = broker.publish(&batch(&rest)).await;
        rejected.extend(
            rest.iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| matches!(outcome, Outcome::Reject { .. }))
                .map(|(event, _)| event.offset),
        );
        rest = rest
            .into_iter()
            .zip(outcomes)
            .filter(|(_, outcome)| matches!(outcome, Outcome::Retry { .. }))
            .map(|(event, _)| event)
            .collect();
    }
    assert_eq!((rest.len(), &rejected[..]), (0, &[1001][..]));
    events.remove(1000);
    assert_eq!(values(seen(&plain(), &topic).await), bodies(&events));
}

#[tokio::test]
async fn an_event_that_no_broker_takes_is_rejected_without_asking() {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&plain_section(&topic));
    let events = [large(1, "a", 10), large(2, "a", 64 << 20), large(3, "a", 10)];
    let outcomes = broker.publish(&batch(&events)).await;
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Delivered, &Outcome::Delivered));
    assert!(matches!(&outcomes[1], Outcome::Reject { .. }) && reason(&outcomes[1]).contains("too large"), "{outcomes:?}");
    assert_eq!(seen(&plain(), &topic).await.len(), 2);
}

/// A topic that takes 110,000 bytes at a time, and a broker that sends 125,000 since it was refused a million.
async fn with_small_requests(partitions: i32, settings: &[(&str, &str)]) -> (String, KafkaBroker) {
    let topic = topic(&plain(), partitions, &[&[("max.message.bytes", "110000")], settings].concat()).await;
    let broker = broker(&plain_section(&topic));
    let events: Vec<_> = (1..=4).map(|offset| large(offset, "small", 50_000)).collect();
    let outcomes = broker.publish(&batch(&events)).await;
    assert!(reason(&outcomes[3]).ends_with("as too large; from now on they are smaller"), "{outcomes:?}");
    (topic, broker)
}

#[tokio::test]
async fn behind_a_request_that_is_refused_a_fresh_producer_writes_nothing() {
    let (topic, broker) = with_small_requests(1, &[]).await;
    // librdkafka makes requests of two of them and of one, in turn; the first is too large, and the second is not.
    let sizes = [90_000, 30_000, 100_000].into_iter().cycle();
    let events: Vec<_> = (5..14).zip(sizes).map(|(offset, size)| large(offset, "a", size)).collect();
    deliver_somehow(&broker, &events, LONG, &watch::Sender::new(0)).await;
    let mut seen = seen(&plain(), &topic).await;
    seen.retain(|seen| events.iter().any(|event| event.body[..] == seen.value[..]));
    copies(&seen, &events);
}

#[tokio::test]
async fn an_event_that_is_too_large_makes_no_request_smaller() {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&plain_section(&topic));
    for offset in [1, 4] {
        let events = [large(offset, "a", 10), large(offset + 1, "a", 2_000_000), large(offset + 2, "b", 10)];
        let outcomes = broker.publish(&batch(&events)).await;
        assert_eq!(outcomes[0], Outcome::Delivered);
        assert!(matches!(&outcomes[1], Outcome::Reject { .. }), "{outcomes:?}");
        let expected = format!(
            "an event of the same call is too large for the topic `{topic}` at {}; the others are sent without it",
            plain()
        );
        assert_eq!(outcomes[2], Outcome::retry(expected));
        deliver(&broker, &events[2..]).await;
    }
    assert_eq!(seen(&plain(), &topic).await.len(), 4);
}

#[tokio::test]
async fn what_is_on_its_way_when_an_event_is_refused_does_not_come_again() {
    // The server compresses anew what it gets, so that it is busy for a while.
    let (topic, broker) = with_small_requests(2, &[("compression.type", "gzip"), ("compression.gzip.level", "9")]).await;
    let first = journal(16, 16);
    deliver(&broker, &first).await;
    let partitions: HashMap<_, _> = seen(&plain(), &topic).await.into_iter().map(|seen| (seen.value, seen.partition)).collect();
    let conversation = |partition| {
        let event = first.iter().find(|event| partitions[&event.body.to_vec()] == partition).unwrap();
        event.conversation.to_string()
    };
    let random = |length: usize| (0..length / 32).map(|_| JournalId::random().to_string()).collect::<String>();
    for _ in 0..4 {
        deliver(&broker, &first).await;
        let refused = event(17, &conversation(0), &random(130_000));
        let other = event(18, &conversation(1), &random(100_000));
        let outcomes = broker.publish(&batch(&[refused, Arc::clone(&other)])).await;
        assert!(matches!(&outcomes[0], Outcome::Reject { .. }), "{}", reason(&outcomes[0]));
        // It may not have been on its way yet.
        if outcomes[1] != Outcome::Delivered {
            deliver(&broker, &[Arc::clone(&other)]).await;
        }
        let seen = values(seen(&plain(), &topic).await);
        assert_eq!(seen.iter().filter(|value| value[..] == other.body[..]).count(), 1, "{}", reason(&outcomes[1]));
    }
}
