//! One stops nothing but itself, and memory is bounded.

use std::sync::Arc;

use trunkline_core::Outcome;
use trunkline_delivery::LaneMode;

use crate::common::{Fake, NEVER, Reply, World, eventually, soon, subscription};

#[tokio::test]
async fn a_receiver_that_never_answers_does_not_slow_another_on_the_same_journal() {
    let world = World::new();
    let (dead, alive) = (Arc::new(Fake::scripted(|_, _| Reply::Hang)), Arc::new(Fake::willing()));
    let mut other = subscription(LaneMode::Conversations);
    "dead".clone_into(&mut other.name);
    let stuck = world.start(other, &dead);
    world.append(&["a"; 10]).await;
    dead.until(|log| log.calls.len() == 1).await;
    let running = world.start(subscription(LaneMode::Conversations), &alive);
    for _ in 0..10 {
        world.append(&["a", "b", "c"]).await;
    }
    alive.until_delivered(40).await.assert_ordered(40);
    assert_eq!((dead.log().calls.len(), dead.log().finished()), (1, 0));
    running.drain().await;
    stuck.force().await;
}

#[tokio::test]
async fn no_more_events_are_read_than_may_be_unsettled() {
    let world = World::new();
    world.append(&(0..200).map(|index| format!("c{}", index % 50)).collect::<Vec<_>>()).await;
    let fake = Arc::new(Fake::willing().gated(|_| true));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.most_unsettled = 20;
    subscription.batch.events = 4;
    subscription.concurrency = 2;
    let running = world.start(subscription, &fake);
    let mut calls = 0;
    while calls < 50 {
        eventually(async || running.report().owed == 20.min(200 - fake.log().delivered().len())).await;
        fake.gate.add_permits(1);
        let finished = fake.log().finished();
        calls = fake.until(|log| log.finished() > finished || log.delivered().len() == 200).await.finished();
        assert!(running.report().owed <= 20);
        if fake.log().delivered().len() == 200 {
            break;
        }
    }
    fake.gate.add_permits(200);
    fake.until_delivered(200).await.assert_ordered(200);
    running.drain().await;
}

#[tokio::test]
async fn a_slow_conversation_with_a_backlog_larger_than_a_batch_does_not_stop_others() {
    let world = World::new();
    let mut conversations = vec!["slow"; 300];
    conversations.extend(["quick"; 5]);
    world.append(&conversations).await;
    let fake = Arc::new(Fake::willing().gated(|event| event.conversation == "slow"));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.concurrency = 2;
    subscription.batch.events = 16;
    let running = world.start(subscription, &fake);
    let log = fake.until_delivered(5).await;
    assert_eq!(log.delivered_offsets(), [301, 302, 303, 304, 305]);
    fake.gate.add_permits(300);
    fake.until_delivered(305).await.assert_ordered(305);
    running.drain().await;
}

#[tokio::test]
async fn a_slow_conversation_with_a_backlog_larger_than_the_memory_does_not_stop_others() {
    let world = World::new();
    for _ in 0..8 {
        world.append_with(&["slow"; 4], "user", 300_000).await;
    }
    world.append(&["quick"]).await;
    let fake = Arc::new(Fake::willing().gated(|event| event.conversation == "slow"));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.concurrency = 2;
    let running = world.start(subscription, &fake);
    fake.until(|log| log.has_delivered(33)).await;
    fake.gate.add_permits(32);
    let log = fake.until_delivered(33).await;
    log.assert_ordered(33);
    let heaviest = log.calls.iter().map(|call| call.events.iter().map(|event| event.body.len()).sum::<usize>()).max();
    assert!(heaviest <= Some(1 << 20), "a batch keeps its bytes when its events had to be read again");
    running.drain().await;
}

#[tokio::test]
async fn a_failing_conversation_with_a_backlog_larger_than_a_read_does_not_stop_others() {
    let world = World::new();
    world.append(&vec!["failing"; 6_000]).await;
    world.append(&["well"]).await;
    let fake =
        Arc::new(Fake::each(|event, _| if event.conversation == "failing" { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.backoff = NEVER;
    subscription.batch.events = 16;
    let running = world.start(subscription, &fake);
    let log = fake.until_delivered(1).await;
    assert_eq!((log.delivered_offsets(), log.tries(1), log.tries(6_000)), (vec![6_001], 1, 0));
    running.drain().await;
    let progress = soon(world.stored()).await.unwrap();
    assert_eq!((progress.low(), progress.position), (1, 6_002));
}

#[tokio::test]
async fn a_conversation_that_always_fails_alone_does_not_stop_others() {
    let world = World::new();
    world.append(&["failing"]).await;
    let fake =
        Arc::new(Fake::each(|event, _| if event.conversation == "failing" { Outcome::retry("no") } else { Outcome::Delivered }));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until(|log| log.finished() >= 12).await;
    assert!(!running.report().is_down, "one conversation says nothing about the receiver");
    world.append(&["well"]).await;
    fake.until(|log| log.has_delivered(2)).await;
    running.drain().await;
}
