//! Events that are given up, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use trunkline_core::Outcome;
use trunkline_delivery::{LaneMode, OnExhausted, Subscription};
use trunkline_journal::DeadLetterState::{Dead, Held, Replay};
use trunkline_journal::Progress;

use crate::common::{Fake, NEVER, Reply, World, eventually, reject, soon, subscription};

/// Rejects the event at `offset` until it is told that it is mended.
fn poisoned(offset: u64) -> (Arc<AtomicBool>, Fake) {
    let is_mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_mended);
    let fake =
        Fake::each(
            move |event, _| {
                if event.offset == offset && !told.load(Ordering::SeqCst) { reject("poison") } else { Outcome::Delivered }
            },
        );
    (is_mended, fake)
}

fn holding() -> Subscription {
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.on_exhausted = OnExhausted::Hold;
    subscription
}

#[tokio::test]
async fn a_rejected_event_becomes_a_dead_letter_with_its_reason_and_its_conversation_goes_on() {
    let mut world = World::new();
    world.append(&["a", "a", "b", "a"]).await;
    let (_, fake) = poisoned(2);
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    let log = fake.until_delivered(3).await;
    log.assert_ordered(3);
    let id = log.calls[0].events.iter().find(|event| event.offset == 2).unwrap().id;
    running.drain().await;
    world.reopen().await;
    let letters = world.letters().await;
    let letter = &letters[0];
    assert_eq!((letter.event.offset, letter.event.id, letter.attempts, letter.state), (2, id, 1, Dead));
    assert_eq!((letters.len(), letter.reason.as_str(), letter.event.conversation.as_str()), (1, "poison", "a"));
    assert_eq!(world.stored().await, Some(Progress::at(5)));
}

#[tokio::test]
async fn an_event_that_is_a_dead_letter_is_not_tried_again_though_the_cursor_was_not_stored() {
    let mut world = World::new();
    world.append(&["a", "a"]).await;
    let (_, fake) = poisoned(1);
    let fake = Arc::new(fake.gated(|event| event.offset == 2));
    let mut single = subscription(LaneMode::Conversations);
    single.batch.events = 1;
    let running = world.start(single.clone(), &fake);
    fake.until(|log| log.tries(2) == 1).await;
    running.force().await;
    world.reopen().await;
    assert_eq!(world.stored().await, Some(Progress::at(1)));
    let fake = Arc::new(Fake::willing());
    let running = world.start(single, &fake);
    assert_eq!(fake.until(|log| log.has_delivered(2)).await.delivered_offsets(), [2]);
    running.drain().await;
    assert_eq!(world.obituaries().await, [(1, Dead, "poison".to_owned())]);
}

#[tokio::test]
async fn a_held_conversation_waits_across_a_restart_until_its_letter_is_replayed_and_others_go_on() {
    let mut world = World::new();
    world.append(&["a", "b", "a", "b"]).await;
    let (is_mended, fake) = poisoned(1);
    let fake = Arc::new(fake);
    let running = world.start(holding(), &fake);
    assert_eq!(fake.until_delivered(2).await.delivered_offsets(), [2, 4]);
    let letter = world.until_letters(1).await[0].id.clone();
    assert_eq!(world.obituaries().await, [(1, Held, "poison".to_owned())]);
    running.drain().await;

    world.reopen().await;
    let running = world.start(holding(), &fake);
    world.append(&["a", "b"]).await;
    assert_eq!(fake.until(|log| log.has_delivered(6)).await.delivered_offsets(), [2, 4, 6]);
    eventually(async || running.report().owed == 2).await;
    is_mended.store(true, Ordering::SeqCst);
    world.replay(&letter).await;
    running.delivery.look_at_dead_letters();
    let log = fake.until_delivered(6).await;
    assert_eq!(log.delivered_offsets(), [2, 4, 6, 1, 3, 5]);
    eventually(async || world.letters().await.is_empty()).await;
    running.drain().await;
    assert_eq!(world.stored().await, Some(Progress::at(7)));
}

#[tokio::test]
async fn a_held_conversation_waits_after_a_crash_too() {
    let mut world = World::new();
    world.append(&["a", "a"]).await;
    let (_, fake) = poisoned(1);
    let fake = Arc::new(fake);
    let running = world.start(holding(), &fake);
    let letter = world.until_letters(1).await[0].id.clone();
    running.force().await;
    world.reopen().await;
    let running = world.start(holding(), &fake);
    world.append(&["b"]).await;
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [3]);
    soon(world.journal.delete_dead_letter(&letter)).await.unwrap();
    running.delivery.look_at_dead_letters();
    let log = fake.until_delivered(2).await;
    assert_eq!((log.delivered_offsets(), log.tries(1)), (vec![3, 2], 1));
    running.drain().await;
}

#[tokio::test]
async fn a_held_conversation_goes_on_when_its_letter_is_dropped() {
    let world = World::new();
    world.append(&["a", "a", "b"]).await;
    let (_, fake) = poisoned(1);
    let fake = Arc::new(fake);
    let running = world.start(holding(), &fake);
    let letter = world.until_letters(1).await[0].id.clone();
    // At once: perhaps before the lane is held.
    assert!(soon(world.journal.delete_dead_letter(&letter)).await.unwrap());
    running.delivery.look_at_dead_letters();
    assert!(fake.until_delivered(2).await.has_delivered(2));
    running.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_about_a_letter_counts_however_early_it_comes() {
    let world = World::new();
    for round in 0..20u64 {
        let first = round * 2 + 1;
        world.append(&["a", "a"]).await;
        let (is_mended, fake) = poisoned(first);
        let fake = Arc::new(fake);
        let running = world.start(holding(), &fake);
        let letter = world.until_letters(1).await[0].id.clone();
        is_mended.store(true, Ordering::SeqCst);
        world.replay(&letter).await;
        running.delivery.look_at_dead_letters();
        assert_eq!(fake.until_delivered(2).await.delivered_offsets(), [first, first + 1]);
        running.drain().await;
        assert!(world.letters().await.is_empty());
    }
}

#[tokio::test]
async fn a_held_conversation_goes_on_when_its_letter_is_dropped_while_it_is_rejected_again() {
    let world = World::new();
    world.append(&["a", "a"]).await;
    let (_, fake) = poisoned(1);
    let fake = Arc::new(fake.gated(|event| event.offset == 1));
    fake.gate.add_permits(1);
    let running = world.start(holding(), &fake);
    let letter = world.until_letters(1).await[0].id.clone();
    world.replay(&letter).await;
    running.delivery.look_at_dead_letters();
    fake.until(|log| log.tries(1) == 2).await;
    assert!(soon(world.journal.delete_dead_letter(&letter)).await.unwrap());
    fake.gate.add_permits(1);
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [2]);
    running.drain().await;
}

#[tokio::test]
async fn attempts_are_the_last_only_while_the_receiver_is_ready() {
    let world = World::new();
    world.append(&["a", "a"]).await;
    let fake = Fake::each(|event, _| if event.offset == 1 { Outcome::retry("no") } else { Outcome::Delivered });
    fake.is_ready.store(false, Ordering::SeqCst);
    let fake = Arc::new(fake);
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.max_attempts = Some(2);
    let running = world.start(subscription, &fake);
    fake.until(|log| log.tries(1) >= 8).await;
    assert!(world.letters().await.is_empty());
    fake.is_ready.store(true, Ordering::SeqCst);
    let letters = world.until_letters(1).await;
    assert!(letters[0].attempts >= 8 && letters[0].event.offset == 1 && letters[0].reason == "no");
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [2]);
    running.drain().await;
}

#[tokio::test]
async fn a_receiver_that_panics_when_asked_whether_it_is_ready_is_not() {
    let world = World::new();
    world.append(&["a"]).await;
    let mut fake = Fake::each(|_, earlier| if earlier < 6 { Outcome::retry("no") } else { Outcome::Delivered });
    fake.panics_when_asked = true;
    let fake = Arc::new(fake);
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.retry.max_attempts = Some(2);
    let running = world.start(subscription, &fake);
    fake.until_delivered(1).await;
    running.drain().await;
    assert!(world.letters().await.is_empty());
}

/// All of a batch fails when the one at fault is in it.
async fn isolates(lanes: LaneMode, max_attempts: u32) {
    let world = World::new();
    let conversations: Vec<_> = (0..60).map(|index| format!("c{}", index % 20)).collect();
    world.append(&conversations).await;
    let fake = Arc::new(Fake::scripted(|batch, _| {
        let is_guilty = batch.events.iter().any(|event| event.offset == 27);
        let outcome = if is_guilty { Outcome::retry("cannot store") } else { Outcome::Delivered };
        Reply::Outcomes(outcome.all(batch.events.len()))
    }));
    let mut subscription = subscription(lanes);
    subscription.retry.max_attempts = Some(max_attempts);
    let running = world.start(subscription, &fake);
    fake.until_delivered(59).await.assert_ordered(59);
    world.until_letters(1).await;
    assert_eq!(world.obituaries().await, [(27, Dead, "cannot store".to_owned())]);
    eventually(async || !running.report().is_down && running.report().owed == 0).await;
    running.drain().await;
    assert_eq!(world.letters().await.len(), 1);
}

#[tokio::test]
async fn a_receiver_of_all_or_nothing_loses_only_the_event_at_fault_in_conversations() {
    isolates(LaneMode::Conversations, 3).await;
}

#[tokio::test]
async fn a_receiver_of_all_or_nothing_loses_only_the_event_at_fault_at_the_first_attempt() {
    isolates(LaneMode::Conversations, 1).await;
}

#[tokio::test]
async fn a_receiver_of_all_or_nothing_loses_only_the_event_at_fault_in_one_lane_though_the_breaker_opens() {
    isolates(LaneMode::One, 9).await;
}

#[tokio::test]
async fn a_replayed_letter_that_arrives_is_gone() {
    let world = World::new();
    world.append(&["a", "a"]).await;
    let (is_mended, fake) = poisoned(1);
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::One), &fake);
    let letter = world.until_letters(1).await[0].clone();
    is_mended.store(true, Ordering::SeqCst);
    world.replay(&letter.id).await;
    running.delivery.look_at_dead_letters();
    let log = fake.until_delivered(2).await;
    assert_eq!((log.delivered_offsets(), log.delivered_ids()[1]), (vec![2, 1], letter.event.id));
    let replay = log.calls.last().unwrap();
    assert_eq!((replay.offsets(), replay.next), (vec![1], None), "a replay goes alone and moves no cursor");
    world.until_letters(0).await;
    running.drain().await;
}

#[tokio::test]
async fn a_replay_that_was_decided_while_nothing_ran_is_made_at_the_start() {
    let mut world = World::new();
    world.append(&["a"]).await;
    let (_, fake) = poisoned(1);
    let running = world.start(subscription(LaneMode::Conversations), &Arc::new(fake));
    let letter = world.until_letters(1).await[0].id.clone();
    running.drain().await;
    world.replay(&letter).await;
    world.reopen().await;
    let fake = Arc::new(Fake::willing());
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    assert_eq!(fake.until_delivered(1).await.delivered_offsets(), [1]);
    world.until_letters(0).await;
    running.drain().await;
}

#[tokio::test]
async fn a_replayed_letter_that_is_rejected_again_is_dead_again_for_the_new_reason() {
    let world = World::new();
    world.append(&["a"]).await;
    let fake = Arc::new(Fake::each(|_, earlier| reject(if earlier == 0 { "first" } else { "second" })));
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    let letter = world.until_letters(1).await[0].id.clone();
    assert_eq!(world.obituaries().await, [(1, Dead, "first".to_owned())]);
    world.replay(&letter).await;
    assert_eq!(world.obituaries().await, [(1, Replay, "first".to_owned())]);
    let first = world.letters().await[0].clone();
    running.delivery.look_at_dead_letters();
    eventually(async || world.obituaries().await == [(1, Dead, "second".to_owned())]).await;
    let second = world.letters().await[0].clone();
    assert_eq!((second.id, first.attempts, second.attempts), (letter, 1, 2));
    assert!(second.died >= first.died);
    running.drain().await;
}

#[tokio::test]
async fn a_letter_that_is_replayed_twice_is_not_delivered_twice_at_once() {
    let world = World::new();
    world.append(&["a", "b"]).await;
    let (is_mended, fake) = poisoned(1);
    let fake = Arc::new(fake.gated(|event| event.offset == 1));
    fake.gate.add_permits(1);
    let mut subscription = subscription(LaneMode::Conversations);
    subscription.concurrency = 4;
    let running = world.start(subscription, &fake);
    let letter = world.until_letters(1).await[0].id.clone();
    is_mended.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        world.replay(&letter).await;
        running.delivery.look_at_dead_letters();
        fake.until(|log| log.tries(1) == 2).await;
        // Another conversation comes through, so the letter was looked at.
        world.append(&["b"]).await;
        let head = world.journal.head();
        fake.until(|log| log.has_delivered(head)).await;
    }
    assert_eq!(fake.log().tries(1), 2);
    fake.gate.add_permits(1);
    world.until_letters(0).await;
    running.drain().await;
    assert_eq!(fake.log().tries(1), 2);
}

#[tokio::test]
async fn letters_of_a_conversation_are_replayed_in_its_order() {
    let world = World::new();
    world.append(&["a", "a", "a", "a"]).await;
    let is_mended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_mended);
    let fake = Fake::each(move |_, _| if told.load(Ordering::SeqCst) { Outcome::Delivered } else { reject("poison") });
    let fake = Arc::new(fake);
    let running = world.start(subscription(LaneMode::Conversations), &fake);
    let letters = world.until_letters(4).await;
    is_mended.store(true, Ordering::SeqCst);
    for letter in letters.iter().rev() {
        world.replay(&letter.id).await;
    }
    running.delivery.look_at_dead_letters();
    assert_eq!(fake.until_delivered(4).await.delivered_offsets(), [1, 2, 3, 4]);
    world.until_letters(0).await;
    running.drain().await;
}

#[tokio::test]
async fn letters_of_which_not_all_fit_in_at_once_are_all_replayed_in_their_order() {
    for most_unsettled in [1, 2, 7, 50] {
        let world = World::new();
        let conversations: Vec<_> = (0..50).map(|index| format!("c{}", index % 4)).collect();
        world.append(&conversations).await;
        let is_mended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_mended);
        let fake = Fake::each(move |_, _| if told.load(Ordering::SeqCst) { Outcome::Delivered } else { reject("poison") });
        let fake = Arc::new(fake);
        let mut subscription = subscription(LaneMode::Conversations);
        subscription.most_unsettled = most_unsettled;
        let running = world.start(subscription, &fake);
        let letters = world.until_letters(50).await;
        is_mended.store(true, Ordering::SeqCst);
        for letter in letters.iter().rev() {
            world.replay(&letter.id).await;
        }
        running.delivery.look_at_dead_letters();
        fake.until_delivered(50).await.assert_ordered(50);
        world.until_letters(0).await;
        running.drain().await;
    }
}

#[tokio::test]
async fn what_was_not_tried_because_of_a_rejection_before_it_goes_on_at_once_and_has_not_failed() {
    for lanes in [LaneMode::One, LaneMode::Conversations] {
        let world = World::new();
        let conversations: Vec<_> = (0..60).map(|index| format!("c{}", index % 20)).collect();
        world.append(&conversations).await;
        let poison = [1, 7, 8, 30, 60];
        let fake = Arc::new(Fake::scripted(move |batch, _| {
            let mut outcomes: Vec<_> = batch.events.iter().map(|_| Outcome::Delivered).collect();
            if let Some(index) = batch.events.iter().position(|event| poison.contains(&event.offset)) {
                outcomes[index] = reject("poison");
                outcomes.truncate(index + 1);
                outcomes.resize(batch.events.len(), Outcome::retry("not tried"));
            }
            Reply::Outcomes(outcomes)
        }));
        let mut subscription = subscription(lanes);
        // Nothing waits, or the test would not end; and nothing that fails once more is given up.
        subscription.retry.max_attempts = Some(1);
        if lanes == LaneMode::One {
            subscription.retry.backoff = NEVER;
        }
        let running = world.start(subscription, &fake);
        let log = fake.until_delivered(55).await;
        log.assert_ordered(55);
        world.until_letters(5).await;
        let dead: Vec<_> = world.letters().await.iter().map(|letter| (letter.event.offset, letter.attempts)).collect();
        assert_eq!(dead.len(), 5);
        assert!(dead.iter().all(|(offset, attempts)| poison.contains(offset) && *attempts == 1), "{dead:?}");
        if lanes == LaneMode::One {
            let starts: Vec<_> = log.calls.iter().map(|call| (call.offsets()[0], call.events.len())).collect();
            assert_eq!(starts, [(1, 60), (2, 59), (8, 53), (9, 52), (31, 30)]);
            eventually(async || running.report().problem.is_none() && running.report().owed == 0).await;
        }
        running.drain().await;
    }
}
