//! What holds while the receiver works.

use std::sync::Arc;

use trunkline_core::{Event, Outcome};

use super::Subject;
use super::arrived::{after_a_fault, copies, once};
use super::delivery::Delivery;
use super::journal::Journal;

/// 1,106 events of a real assistant, in batches of many sizes: each arrives once, unchanged, in order.
pub async fn real_events_arrive_in_order_and_byte_for_byte(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.real();
    let mut delivery = Delivery::new(subject, &journal);
    assert_eq!(delivery.broker().is_ready().await, Ok(()));
    delivery.owe(&events);
    for size in [1, 2, 7, 64, 250].into_iter().cycle() {
        if delivery.owed() == 0 {
            break;
        }
        let outcomes = delivery.publish(size).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
    }
    assert_eq!(delivery.broker().is_ready().await, Ok(()));
    delivery.close().await;
    once(subject, &events).await;
}

/// 10,000 events in one batch.
pub async fn a_large_batch_arrives(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(10_000);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events);
    delivery.finish(events.len()).await;
    delivery.close().await;
    once(subject, &events).await;
}

/// Whatever may be the id of a conversation, and texts up to 100,000 characters.
pub async fn awkward_conversations_and_long_texts_arrive(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let (long, wide) = ("x".repeat(255), "é".repeat(255));
    let conversations =
        ["a/b", "a b", "#", "*", "..", "%2f", "'; --", "\"quoted\"", "{braced}", "tab\tline\nend", "\\", "😀", &long, &wide];
    let mut events = Vec::new();
    for length in [1, 20, 100_000] {
        for (number, conversation) in conversations.into_iter().enumerate() {
            events.push(journal.said(conversation, &format!("{number} {}", "ä".repeat(if number == 0 { length } else { 3 }))));
        }
    }
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events);
    delivery.finish(10).await;
    delivery.close().await;
    once(subject, &events).await;
}

/// Our process ends without a word between two batches; the next one begins where it must.
pub async fn a_fresh_broker_goes_on(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(300);
    let mut delivery = Delivery::new(subject, &journal);
    assert_eq!(delivery.position().await, None);
    delivery.owe(&events);
    while delivery.owed() > 0 {
        let outcomes = delivery.publish(70).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "{outcomes:?}");
        let owed = delivery.owed();
        delivery.restart(&events).await;
        assert_eq!(delivery.owed(), owed);
    }
    delivery.close().await;
    once(subject, &events).await;
}

/// Events that a person sends again arrive again, and the cursor stays where it is.
pub async fn a_replay_arrives_again(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(40);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events[..30]);
    delivery.finish(30).await;
    let before = delivery.position().await;
    delivery.replay(&events[..7], None).await;
    assert_eq!(delivery.position().await, before);
    delivery.owe(&events[30..]);
    delivery.finish(30).await;
    delivery.close().await;
    assert_eq!(copies(subject, &events).await, 7);
}

/// An export may have events with any offsets, also those of another place: the cursor stays where it is, and nothing that the
/// delivery owes is taken for published.
pub async fn an_export_moves_no_cursor(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(30);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events[..10]);
    delivery.finish(10).await;
    let before = delivery.position().await;
    let exported: Vec<_> = events[10..20].iter().map(|event| exported(event)).collect();
    delivery.replay(&exported, Some("0123456789abcdef0123456789abcdef")).await;
    assert_eq!(delivery.position().await, before);
    delivery.owe(&events[10..]);
    delivery.restart(&events).await;
    delivery.finish(7).await;
    delivery.close().await;
    once(subject, &[&events[..], &exported].concat()).await;
}

/// Another event at the same offset.
fn exported(event: &Event) -> Arc<Event> {
    let conversation = "exported".into();
    Arc::new(Event { conversation, body: format!("{{\"exported\": {}}}", event.offset).into(), ..event.clone() })
}

/// The delivery gives a call up when it takes too long, and makes it again: of the same broker, and of a fresh one.
pub async fn a_batch_that_was_given_up_is_published_again(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(500);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events);
    for polls in [1, 2, 5] {
        delivery.give_up(60, polls).await;
        delivery.finish_one(80).await;
        delivery.give_up(60, polls).await;
        delivery.restart(&events).await;
    }
    delivery.finish(100).await;
    delivery.close().await;
    after_a_fault(subject, &events).await;
}

/// `Delivered` is said when it is true, and not when closing makes it so; and closing loses nothing.
pub async fn what_is_delivered_survives_closing(subject: &dyn Subject) {
    let mut journal = Journal::new();
    let events = journal.made(1000);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events);
    delivery.finish_one(300).await;
    delivery.close().await;
    // A broker is closed with its subscription, and nothing says that it cannot be used again.
    delivery.restart(&events).await;
    delivery.give_up(300, 2).await;
    delivery.close().await;
    delivery.restart(&events).await;
    delivery.finish(300).await;
    // Not closed: what was delivered is there all the same.
    after_a_fault(subject, &events).await;
}
