//! Where a subscription starts, and starts again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use trunkline_core::Outcome;
use trunkline_delivery::{Filter, LaneMode, Start};
use trunkline_journal::{DeadLetterState, Progress};

use crate::common::{Call, Fake, NEVER, Reply, World, eventually, subscription};

#[tokio::test]
async fn what_is_owed_and_how_often_it_was_tried_is_restored() {
    let mut world = World::new();
    world.append(&["a", "b", "a", "b"]).await;
    let fake = Arc::new(Fake::each(|event, _| if event.conversation == "a" { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut before = subscription(LaneMode::Conversations);
    before.retry.backoff = NEVER;
    let running = world.start(before, &fake);
    fake.until_delivered(2).await;
    running.drain().await;
    world.reopen().await;
    let progress = world.stored().await.unwrap();
    assert_eq!(progress.position, 5);
    assert_eq!(progress.unsettled.iter().map(|owed| (owed.offset, owed.attempts)).collect::<Vec<_>>(), [(1, 1), (3, 0)]);
    assert!(progress.unsettled[0].since > 0 && progress.unsettled[1].since == 0);

    let fake = Arc::new(Fake::each(|event, _| if event.offset == 1 { Outcome::retry("still no") } else { Outcome::Delivered }));
    let mut after = subscription(LaneMode::Conversations);
    after.retry.max_attempts = Some(2);
    let running = world.start(after, &fake);
    let log = fake.until_delivered(1).await;
    assert_eq!((log.delivered_offsets(), log.tries(1)), (vec![3], 1), "the attempt before the restart counts");
    let letters = world.until_letters(1).await;
    assert_eq!((letters[0].event.offset, letters[0].attempts, letters[0].reason.as_str()), (1, 2, "still no"));
    running.drain().await;
}

#[tokio::test]
async fn only_what_was_not_stored_yet_is_delivered_again_and_under_the_same_ids() {
    let mut world = World::new();
    world.append(&["a", "b", "c", "a", "b"]).await;
    let first = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &first);
    first.until_delivered(5).await;
    running.drain().await;
    let second = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &second);
    world.append(&["a", "b", "c"]).await;
    let tail = second.until_delivered(3).await;
    assert_eq!(tail.delivered_offsets(), [6, 7, 8]);
    running.force().await;
    world.reopen().await;
    world.append(&["a"]).await;
    let third = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &third);
    let log = third.until(|log| log.has_delivered(9)).await;
    for (offset, id) in log.delivered_offsets().into_iter().zip(log.delivered_ids()) {
        assert!(offset == 9 || tail.delivered_ids().contains(&id), "{offset} was stored as delivered");
    }
    running.drain().await;
    assert_eq!(world.stored().await, Some(Progress::at(10)));
}

#[tokio::test]
async fn one_lane_repeats_nothing_that_was_delivered_behind_a_failure() {
    let mut world = World::new();
    world.append(&["a", "b", "c"]).await;
    let fake = Arc::new(Fake::each(|event, _| if event.offset == 1 { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut before = subscription(LaneMode::One);
    before.retry.backoff = NEVER;
    let running = world.start(before, &fake);
    fake.until_delivered(2).await;
    running.drain().await;
    world.reopen().await;
    world.append(&["d"]).await;
    let fake = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::One), &fake);
    assert_eq!(fake.until(|log| log.has_delivered(4)).await.delivered_offsets(), [1, 4]);
    running.drain().await;
}

#[tokio::test]
async fn another_way_to_sort_into_lanes_repeats_and_forgets_nothing() {
    let world = World::new();
    world.append(&["a", "b", "a", "c", "a", "b"]).await;
    let fake = Arc::new(Fake::each(|event, _| if event.conversation == "a" { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut before = subscription(LaneMode::Conversations);
    before.retry.backoff = NEVER;
    let running = world.start(before, &fake);
    fake.until_delivered(3).await;
    running.drain().await;
    let fake = Arc::new(Fake::each(|event, _| if event.offset == 3 { Outcome::retry("no") } else { Outcome::Delivered }));
    let mut one = subscription(LaneMode::One);
    one.retry.backoff = NEVER;
    let running = world.start(one, &fake);
    fake.until(|log| log.tries(3) == 1 && log.has_delivered(1)).await;
    running.drain().await;
    let fake = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    fake.until(|log| log.has_delivered(5)).await;
    assert_eq!(fake.log().delivered_offsets(), [3, 5]);
    running.drain().await;
}

#[tokio::test]
async fn the_cursor_that_the_receiver_stored_counts() {
    let world = World::new();
    world.append(&["a", "b", "c", "d"]).await;
    let fake = Arc::new(Fake::willing().at_position(3));
    let running = world.start(subscription(LaneMode::One), &fake);
    let log = fake.until_delivered(2).await;
    assert_eq!((log.delivered_offsets(), log.calls[0].next), (vec![3, 4], Some(5)));
    running.drain().await;
}

#[tokio::test]
async fn a_receiver_that_has_lost_what_it_confirmed_gets_it_again() {
    let world = World::new();
    world.append(&["a", "b", "c", "d"]).await;
    let fake = Fake::scripted(|batch, call| {
        let outcome = if call == 1 { Outcome::Behind { reason: "failover".to_owned() } } else { Outcome::Delivered };
        Reply::Outcomes(outcome.all(batch.events.len()))
    });
    let fake = Arc::new(fake.at_position(1));
    let running = world.start(subscription(LaneMode::One), &fake);
    fake.until_delivered(4).await;
    *fake.position.lock().unwrap() = Ok(Some(3));
    world.append(&["e"]).await;
    let log = fake.until_delivered(7).await;
    assert_eq!(log.calls.iter().map(Call::offsets).collect::<Vec<_>>(), [vec![1, 2, 3, 4], vec![5], vec![3, 4, 5]]);
    assert_eq!(log.calls[2].next, Some(6));
    running.drain().await;
    assert_eq!(world.stored().await, Some(Progress::at(6)));
}

#[tokio::test]
async fn a_receiver_that_is_not_ready_is_reported_before_there_is_an_event_for_it() {
    let world = World::new();
    let fake = Fake::willing();
    fake.is_ready.store(false, Ordering::SeqCst);
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    eventually(async || running.report().problem.as_deref() == Some("not ready")).await;
    fake.is_ready.store(true, Ordering::SeqCst);
    eventually(async || running.report().problem.is_none()).await;
    running.drain().await;
}

#[tokio::test]
async fn a_receiver_that_is_ahead_of_the_journal_gets_what_comes_next() {
    let world = World::new();
    world.append(&["a", "b", "c"]).await;
    let fake = Arc::new(Fake::willing().at_position(1_000));
    let running = world.start(subscription(LaneMode::One), &fake);
    eventually(async || world.stored().await == Some(Progress::at(4))).await;
    world.append(&["d"]).await;
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [4]);
    running.drain().await;
}

#[tokio::test]
async fn a_receiver_that_cannot_tell_its_position_yet_is_asked_again() {
    let world = World::new();
    world.append(&["a", "b"]).await;
    let fake = Fake::willing();
    *fake.position.lock().unwrap() = Err("starting".to_owned());
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::One), &fake);
    eventually(async || running.report().problem.as_deref() == Some("starting")).await;
    *fake.position.lock().unwrap() = Ok(Some(2));
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [2]);
    eventually(async || running.report().problem.is_none()).await;
    running.drain().await;
}

#[tokio::test]
async fn a_start_with_the_newest_is_remembered_even_when_nothing_came() {
    let mut world = World::new();
    world.append(&["a", "b"]).await;
    let fake = Arc::new(Fake::willing());
    let mut now = subscription(LaneMode::Conversations);
    now.start = Start::Now;
    let running = world.start(now.clone(), &fake);
    eventually(async || world.stored().await == Some(Progress::at(3))).await;
    running.drain().await;
    world.append(&["c"]).await;
    world.reopen().await;
    let running = world.start(now, &fake);
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [3]);
    running.drain().await;
}

#[tokio::test]
async fn events_that_are_not_wanted_move_the_cursor() {
    let world = World::new();
    let fake = Arc::new(Fake::willing());
    let mut bots = subscription(LaneMode::Conversations);
    bots.filter = Filter::published().with_types(vec!["bot".to_owned()]);
    let running = world.start(bots, &fake);
    world.append(&["a"; 1_000]).await;
    eventually(async || world.stored().await == Some(Progress::at(1_001))).await;
    assert_eq!(running.report().low, 1_001);
    world.append_with(&["a"], "bot", 0).await;
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [1_001]);
    running.drain().await;
}

#[tokio::test]
async fn a_rejection_that_the_journal_could_not_record_is_made_up_for_after_a_restart() {
    let mut world = World::new();
    world.append(&["a", "a"]).await;
    let fake = Arc::new(Fake::each(|_, _| crate::common::reject("poison")).gated(|_| true));
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.batch.events = 1;
    let running = world.start(subscription.clone(), &fake);
    fake.until(|log| log.calls.len() == 1).await;
    world.journal.close().await;
    fake.gate.add_permits(100);
    // It was rejected, cannot be buried, and is therefore tried again.
    fake.until(|log| log.finished() >= 2).await;
    running.drain().await;
    assert!(fake.log().calls.iter().all(|call| call.offsets() == [1]), "what comes behind it waits");
    world.reopen().await;
    assert!(world.letters().await.is_empty());
    let running = world.start(subscription, &fake);
    world.until_letters(2).await;
    let dead = |offset| (offset, DeadLetterState::Dead, "poison".to_owned());
    assert_eq!(world.obituaries().await, [dead(1), dead(2)]);
    running.drain().await;
}
