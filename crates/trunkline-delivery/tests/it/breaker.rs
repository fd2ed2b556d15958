//! A receiver that is down as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trunkline_core::Outcome;
use trunkline_delivery::LaneMode;

use crate::common::{Fake, Reply, World, eventually, subscription};

/// Fails everything until it is told to be up.
fn down() -> (Arc<AtomicBool>, Arc<Fake>) {
    let is_up = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_up);
    let fake = Fake::scripted(move |batch, _| {
        let outcome = if told.load(Ordering::SeqCst) { Outcome::Delivered } else { Outcome::retry("down") };
        Reply::Outcomes(outcome.all(batch.events.len()))
    });
    (is_up, Arc::new(fake))
}

async fn recovers(lanes: LaneMode) {
    let world = World::new();
    world.append(&(0..120).map(|index| format!("c{}", index % 40)).collect::<Vec<_>>()).await;
    let (is_up, fake) = down();
    let mut subscription = subscription(lanes);
    subscription.batch.events = 6;
    let running = world.start(subscription, &fake);
    fake.until(|log| log.finished() >= 20).await;
    let report = running.report();
    assert!(report.is_down && report.problem.as_deref() == Some("down"));
    is_up.store(true, Ordering::SeqCst);
    let log = fake.until_delivered(120).await;
    log.assert_ordered(120);
    let failed: Vec<_> =
        log.calls.iter().filter(|call| call.outcomes.iter().flatten().any(|one| *one != Outcome::Delivered)).collect();
    assert!(failed.iter().skip(5).all(|call| call.events.len() == 1), "only probes while it is down");
    eventually(async || running.report().problem.is_none() && !running.report().is_down).await;
    running.drain().await;
    assert_eq!(world.stored().await.unwrap().low(), 121);
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn probes_alone_go_to_a_receiver_that_is_down_and_everything_arrives_in_order_once_it_is_up() {
    recovers(LaneMode::Conversations).await;
}

#[tokio::test]
async fn one_lane_recovers_in_order() {
    recovers(LaneMode::One).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_go_one_at_a_time_whatever_was_under_way_before() {
    let world = World::new();
    world.append(&(0..60).map(|index| format!("c{index}")).collect::<Vec<_>>()).await;
    let (is_up, fake) = down();
    let fake = Arc::new(Arc::into_inner(fake).unwrap().gated(|_| true));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.batch.events = 1;
    subscription.concurrency = 8;
    let running = world.start(subscription, &fake);
    fake.until(|log| log.calls.len() == 8).await;
    // Five failures open it. Four of them made room for others, so that seven calls are still under way when the first probe
    // goes; they fail before it does.
    fake.gate.add_permits(5);
    fake.until(|log| log.finished() == 5 && log.calls.len() == 13).await;
    for finished in 6..40 {
        fake.gate.add_permits(1);
        let log = fake.until(|log| log.finished() == finished).await;
        let probes = log.calls.iter().skip(12).filter(|call| call.outcomes.is_none()).count();
        assert!(probes <= 1);
    }
    is_up.store(true, Ordering::SeqCst);
    fake.gate.add_permits(1_000);
    fake.until_delivered(60).await.assert_ordered(60);
    running.drain().await;
}
