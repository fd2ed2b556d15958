//! Events that are too large, and topics that take little at a time.

use std::sync::Arc;

use trunkline_core::{Broker as _, Event, Outcome};

use crate::common::{batch, bodies, broker, deliver, event, journal, plain, plain_section, reason, seen, topic, values};

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
