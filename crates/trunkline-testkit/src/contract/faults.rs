//! What holds when the receiver is down, killed, full, or will not have us.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use trunkline_core::{Batch, Broker, CursorKey, Outcome};

use super::Subject;
use super::arrived::after_a_fault;
use super::delivery::{Delivery, LIMIT};
use super::journal::Journal;

/// The receiver goes away and comes back: in between the broker says so without delay, and then everything arrives.
///
/// `down` and `up` may kill and start a server, or stop its processes and let them go on.
pub async fn outage(subject: &dyn Subject, down: impl Future<Output = ()>, up: impl Future<Output = ()>) {
    let mut journal = Journal::new();
    let events = journal.real();
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events[..100]);
    delivery.finish(30).await;
    delivery.owe(&events[100..]);
    down.await;
    let reason = timeout(LIMIT, delivery.broker().is_ready()).await.expect("is_ready hangs").unwrap_err();
    assert!(!reason.trim().is_empty(), "a reason is a sentence");
    for _ in 0..2 {
        for outcome in delivery.publish(50).await {
            let Outcome::Retry { reason, .. } = outcome else { panic!("nobody is there to take it: {outcome:?}") };
            assert!(!reason.trim().is_empty(), "a reason is a sentence");
        }
    }
    up.await;
    delivery.finish(50).await;
    assert_eq!(timeout(LIMIT, delivery.broker().is_ready()).await.expect("is_ready hangs"), Ok(()));
    delivery.close().await;
    after_a_fault(subject, &events).await;
}

/// The receiver has no room, as with a full disk, and gets some again. It may still say that it is well, and take a few.
pub async fn full(subject: &dyn Subject, fill: impl Future<Output = ()>, free: impl Future<Output = ()>) {
    const MOST: usize = 100_000;
    let mut journal = Journal::new();
    let mut events = journal.real();
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events[..100]);
    delivery.finish(30).await;
    delivery.owe(&events[100..]);
    fill.await;
    loop {
        let outcomes = delivery.publish(100).await;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry { reason, .. } if !reason.trim().is_empty())) {
            break;
        }
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Delivered), "room is no property of an event: {outcomes:?}");
        if delivery.owed() < 100 {
            assert!(events.len() < MOST, "it is not full");
            let more = journal.made(1000);
            delivery.owe(&more);
            events.extend(more);
        }
    }
    free.await;
    delivery.finish(100).await;
    delivery.close().await;
    after_a_fault(subject, &events).await;
}

/// Something happens to the receiver while events flow, as that it is killed and started again. `fault` ends when the
/// receiver is back. Then our process restarts as well.
pub async fn fault_under_load(subject: &dyn Subject, fault: impl Future<Output = ()>) {
    const MOST: usize = 50_000;
    let mut journal = Journal::new();
    let mut events = journal.made(500);
    let mut delivery = Delivery::new(subject, &journal);
    delivery.owe(&events);
    delivery.finish(100).await;

    let deadline = Instant::now() + LIMIT * 2;
    tokio::pin!(fault);
    let mut is_over = false;
    while !is_over || delivery.owed() > 0 {
        if !is_over && delivery.owed() < 400 && events.len() < MOST {
            let more = journal.made(200);
            delivery.owe(&more);
            events.extend(more);
        }
        if delivery.owed() == 0 {
            fault.as_mut().await;
            is_over = true;
            continue;
        }
        let publish = async {
            let outcomes = delivery.publish(100).await;
            delivery.pause(&outcomes, deadline).await;
        };
        tokio::pin!(publish);
        // Both go on at the same time, and no call is given up.
        tokio::select! {
            () = &mut publish => continue,
            () = &mut fault, if !is_over => is_over = true,
        }
        publish.await;
    }
    delivery.restart(&events).await;
    let rest = journal.made(200);
    delivery.owe(&rest);
    events.extend(rest);
    delivery.finish(100).await;
    delivery.close().await;
    after_a_fault(subject, &events).await;
}

/// An event whose body the receiver will never take: it is rejected, and all others arrive, in order.
pub async fn poison(subject: &dyn Subject, body: impl Into<Bytes>) {
    let mut journal = Journal::new();
    let mut events = journal.made(25);
    let poison = journal.with_body("user4", body.into());
    let after = journal.made(25);
    let mut delivery = Delivery::new(subject, &journal);
    let whole: Vec<_> = events.iter().chain([&poison]).chain(&after).cloned().collect();
    delivery.owe(&whole);
    let deadline = Instant::now() + LIMIT;
    while delivery.rejected.is_empty() {
        let outcomes = delivery.publish(whole.len()).await;
        delivery.pause(&outcomes, deadline).await;
        if let Some(Outcome::Reject { reason }) = outcomes.iter().find(|outcome| matches!(outcome, Outcome::Reject { .. })) {
            assert!(!reason.trim().is_empty(), "a reason is a sentence");
        }
    }
    assert_eq!(delivery.rejected, [poison.offset]);
    if subject.is_exactly_once() {
        // Until the dead letter is durable, the cursor is all that keeps the event from being lost.
        assert!(delivery.position().await.is_none_or(|position| position <= poison.offset), "the cursor is past the event");
    }
    delivery.finish(20).await;
    assert_eq!(delivery.rejected, [poison.offset]);
    events.extend(after);
    delivery.close().await;
    after_a_fault(subject, &events).await;
}

/// A broker that the receiver will not let in: it says so, naming all of `named` and none of `secrets`, and publishes nothing.
pub async fn refused(broker: &dyn Broker, named: &[&str], secrets: &[&str]) {
    let limit = Duration::from_mins(1);
    let mut journal = Journal::new();
    let cursor = CursorKey { journal: journal.id, subscription: "contract".into() };
    let batch = Batch::new(journal.made(3), cursor);
    let reason = timeout(limit, broker.is_ready()).await.expect("is_ready hangs").unwrap_err();
    let outcomes = timeout(limit, broker.publish(&batch)).await.expect("publish hangs");
    assert_eq!(outcomes.len(), 3);
    let reasons = outcomes.iter().map(|outcome| match outcome {
        Outcome::Retry { reason, .. } => reason,
        other => panic!("nothing can be published: {other:?}"),
    });
    for reason in reasons.chain([&reason]) {
        for secret in secrets {
            assert!(!reason.contains(secret), "a secret is in the message: {reason}");
        }
    }
    for name in named {
        assert!(reason.contains(name), "`{name}` is not named: {reason}");
    }
    timeout(limit, broker.close()).await.expect("close hangs");
}
