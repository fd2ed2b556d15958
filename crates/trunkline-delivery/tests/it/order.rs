//! Order, and what is tried again.

use std::sync::Arc;
use std::time::Duration;

use trunkline_core::Outcome;
use trunkline_delivery::LaneMode;

use crate::common::{Fake, Reply, World, subscription};

/// `count` events, dealt out to `conversations` conversations in an irregular order.
fn dealt(count: usize, conversations: usize) -> Vec<String> {
    (0..count).map(|index| format!("c{}", (index * index + index / 3) % conversations)).collect()
}

async fn order_holds(lanes: LaneMode, concurrency: usize) {
    let world = World::new();
    world.append(&dealt(150, 12)).await;
    let fails = |offset: u64| u32::try_from(offset * 7 % 3).unwrap();
    let decide = move |event: &trunkline_core::Event, earlier| {
        if earlier < fails(event.offset) { Outcome::retry("not yet") } else { Outcome::Delivered }
    };
    let fake = Arc::new(if lanes == LaneMode::One { Fake::each_until_one_fails(decide) } else { Fake::each(decide) });
    let mut subscription = subscription(lanes);
    subscription.concurrency = concurrency;
    subscription.batch.events = 16;
    let running = world.start(subscription, &fake);
    fake.until_delivered(100).await;
    world.append(&dealt(50, 12)).await;
    let log = fake.until_delivered(200).await;
    log.assert_ordered(200);
    if lanes == LaneMode::One {
        assert!(log.delivered_offsets().is_sorted());
    }
    running.drain().await;
    assert_eq!(world.stored().await.unwrap().low(), 201);
}

#[tokio::test]
async fn conversations_keep_their_order_under_failures_each_in_a_lane() {
    order_holds(LaneMode::Conversations, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_keep_their_order_under_failures_with_batches_side_by_side() {
    order_holds(LaneMode::Conversations, 4).await;
}

#[tokio::test]
async fn the_whole_journal_keeps_its_order_under_failures_in_one_lane() {
    order_holds(LaneMode::One, 4).await;
}

#[tokio::test]
async fn a_batch_that_partly_fails_repeats_only_what_failed() {
    let world = World::new();
    world.append(&["a", "b", "c", "b", "a"]).await;
    let fake = Arc::new(Fake::each(|event, earlier| {
        if event.conversation == "b" && earlier == 0 { Outcome::retry("not yet") } else { Outcome::Delivered }
    }));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    let log = fake.until_delivered(5).await;
    let calls: Vec<_> = log.calls.iter().map(crate::common::Call::offsets).collect();
    // Each event of `b` fails once; nothing of `a` and `c` comes again.
    assert_eq!(calls, [vec![1, 2, 3, 4, 5], vec![2], vec![4], vec![4]]);
    running.drain().await;
}

#[tokio::test]
async fn outcomes_that_are_missing_mean_to_try_again() {
    let world = World::new();
    world.append(&["a", "b", "c"]).await;
    let fake = Arc::new(Fake::scripted(|_, _| Reply::Outcomes(vec![Outcome::Delivered])));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until(|log| log.delivered_offsets().len() == 3).await.assert_ordered(3);
    running.drain().await;
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn a_panic_of_the_receiver_means_to_try_again() {
    let world = World::new();
    world.append(&["a", "a"]).await;
    let fake = Arc::new(Fake::scripted(|batch, number| match number {
        0 | 1 => Reply::Panic,
        _ => Reply::Outcomes(Outcome::Delivered.all(batch.events.len())),
    }));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until_delivered(2).await.assert_ordered(2);
    running.drain().await;
    assert_eq!(world.stored().await.unwrap().low(), 3);
}

#[tokio::test]
async fn an_answer_that_does_not_come_means_to_try_again() {
    let world = World::new();
    world.append(&["a", "a"]).await;
    let fake = Arc::new(Fake::scripted(|batch, number| match number {
        0 => Reply::Hang,
        _ => Reply::Outcomes(Outcome::Delivered.all(batch.events.len())),
    }));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.timeout = Duration::from_millis(20);
    let running = world.start(subscription, &fake);
    let log = fake.until_delivered(2).await;
    assert_eq!((log.tries(1), log.tries(2)), (2, 2));
    log.assert_ordered(2);
    running.drain().await;
}
