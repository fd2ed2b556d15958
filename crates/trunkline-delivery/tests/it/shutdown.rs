//! Drain and force.

use std::sync::Arc;

use trunkline_core::Outcome;
use trunkline_delivery::LaneMode;
use trunkline_journal::Progress;

use crate::common::{Fake, NEVER, Reply, World, soon, subscription};

#[tokio::test]
async fn drain_finishes_what_is_under_way_remembers_the_rest_and_closes_the_receiver() {
    let world = World::new();
    world.append(&["a", "a", "a"]).await;
    let fake = Arc::new(Fake::willing().gated(|_| true));
    let mut subscription = subscription(LaneMode::One);
    subscription.batch.events = 1;
    let running = world.start(subscription, &fake);
    fake.until(|log| log.calls.len() == 1).await;
    running.shutdown.drain.cancel();
    fake.gate.add_permits(1);
    running.drain().await;
    let log = fake.log();
    assert_eq!((log.delivered_offsets(), log.calls.len(), log.closed), (vec![1], 1, 1));
    assert_eq!(world.stored().await, Some(Progress::at(2)));
}

#[tokio::test]
async fn drain_does_not_wait_for_a_conversation_that_waits() {
    let world = World::new();
    world.append(&["a", "b"]).await;
    let fake = Arc::new(Fake::each(|event, _| if event.offset == 1 { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.backoff = NEVER;
    let running = world.start(subscription, &fake);
    fake.until_delivered(1).await;
    running.drain().await;
    let progress = world.stored().await.unwrap();
    assert_eq!((progress.position, progress.unsettled[0].offset, progress.unsettled.len()), (3, 1, 1));
}

#[tokio::test]
async fn force_ends_at_once_and_what_was_under_way_comes_again() {
    let world = World::new();
    world.append(&["a"]).await;
    let fake = Arc::new(Fake::scripted(|_, _| Reply::Hang));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until(|log| log.calls.len() == 1).await;
    running.force().await;
    assert_eq!(fake.log().closed, 0);
    let fake = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until_delivered(1).await;
    running.drain().await;
}

#[tokio::test]
async fn force_ends_a_drain_that_does_not_end() {
    let world = World::new();
    world.append(&["a"]).await;
    let mut fake = Fake::willing();
    fake.close_hangs = true;
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until_delivered(1).await;
    running.shutdown.drain.cancel();
    fake.until(|log| log.closed == 1).await;
    running.force().await;
}

#[tokio::test]
async fn drain_before_the_receiver_could_tell_its_position_closes_it_too() {
    let world = World::new();
    let fake = Fake::willing();
    *fake.position.lock().unwrap() = Err("who knows".to_owned());
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::One), &fake);
    soon(async {
        while running.report().problem.as_deref() != Some("who knows") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    running.drain().await;
    assert_eq!(fake.log().closed, 1);
    assert_eq!(world.stored().await, None);
}
