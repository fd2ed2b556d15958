//! Order holds, and nothing is forgotten.

use std::time::Duration;

use proptest::prelude::*;
use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

use super::*;

fn event(conversation: u8, offset: Offset) -> Arc<Event> {
    let event = NewEvent::new(Kind::Event, &format!("c{conversation}"), "user", "{}");
    Arc::new(event.recorded(JournalId::random(), Timestamp(1), offset))
}

fn id(number: u32) -> DeadLetterId {
    DeadLetterId::new(&number.to_string())
}

fn offsets(batch: &[Owed]) -> Vec<Offset> {
    batch.iter().map(|owed| owed.offset).collect()
}

fn done(batch: Vec<Owed>) -> Vec<(Owed, Settled)> {
    batch.into_iter().map(|owed| (owed, Settled::Done)).collect()
}

const ANY: BatchLimits = BatchLimits { events: 100, bytes: 1 << 20 };

#[test]
fn one_lane_is_the_order_of_the_journal_one_batch_at_a_time() {
    let mut lanes = Lanes::new(LaneMode::One, 1);
    for offset in 1..=5 {
        lanes.offer(event(0, offset), 0, 0);
    }
    lanes.advance(6);
    let batch = lanes.take(BatchLimits { events: 3, ..ANY }).unwrap();
    assert_eq!(offsets(&batch), [1, 2, 3]);
    assert!(lanes.take(ANY).is_none());
    assert_eq!(lanes.progress(), Progress::at(1));
    lanes.settle(done(batch));
    assert_eq!(lanes.progress(), Progress::at(4));
    let batch = lanes.take(ANY).unwrap();
    assert_eq!(offsets(&batch), [4, 5]);
    lanes.settle(done(batch));
    assert_eq!((lanes.progress(), lanes.owed(), lanes.bytes()), (Progress::at(6), 0, 0));
    assert!(lanes.by_key.is_empty());
}

#[test]
fn a_failing_conversation_waits_while_others_go_on() {
    let (mut lanes, now) = (Lanes::new(LaneMode::Conversations, 1), Instant::now());
    for offset in 1..=6 {
        lanes.offer(event(u8::from(offset % 2 == 0), offset), 0, 0);
    }
    lanes.advance(7);
    let batch = lanes.take(ANY).unwrap();
    assert_eq!(offsets(&batch), [1, 2, 3, 4, 5, 6]);
    let later = now + Duration::from_secs(1);
    let settled = batch.into_iter().map(|mut owed| {
        if owed.offset == 3 || owed.offset == 5 {
            owed.attempts += 1;
            (owed, Settled::Again(later))
        } else {
            (owed, Settled::Done)
        }
    });
    lanes.settle(settled.collect());
    lanes.offer(event(0, 7), 0, 0);
    lanes.offer(event(1, 8), 0, 0);
    lanes.advance(9);
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [8]);
    assert_eq!(lanes.next_wake(), Some(later));
    // What lies behind all that was tried is not listed, but read again.
    let progress = lanes.progress();
    assert_eq!(progress.unsettled.iter().map(|owed| (owed.offset, owed.attempts)).collect::<Vec<_>>(), [(3, 1), (5, 1)]);
    assert_eq!(progress.position, 7);
    lanes.wake(now);
    assert!(lanes.take(ANY).is_none());
    lanes.wake(later);
    let alone = lanes.take(ANY).unwrap();
    assert_eq!(offsets(&alone), [3]);
    lanes.settle(done(alone));
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [5]);
}

#[test]
fn a_batch_is_in_the_order_of_the_journal_across_conversations() {
    let mut lanes = Lanes::new(LaneMode::Conversations, 1);
    for offset in 1..=9 {
        lanes.offer(event(u8::try_from(offset % 3).unwrap(), offset), 0, 0);
    }
    let first = lanes.take(BatchLimits { events: 4, ..ANY }).unwrap();
    assert_eq!(offsets(&first), [1, 2, 3, 4]);
    // All three conversations are under way.
    assert!(lanes.take(ANY).is_none());
    lanes.settle(done(first));
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [5, 6, 7, 8, 9]);
}

#[test]
fn a_held_lane_waits_for_its_dead_letter() {
    let mut lanes = Lanes::new(LaneMode::Conversations, 1);
    lanes.offer(event(0, 1), 0, 0);
    lanes.offer(event(0, 2), 0, 0);
    let batch = lanes.take(BatchLimits { events: 1, ..ANY }).unwrap();
    lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Held(id(77)))).collect());
    assert!(lanes.take(ANY).is_none());
    assert_eq!(lanes.held(), [id(77)]);
    lanes.replay(id(77), 1, "c0");
    lanes.replay(id(77), 1, "c0");
    let batch = lanes.take(ANY).unwrap();
    assert_eq!((offsets(&batch), batch[0].letter.clone()), (vec![1], Some(id(77))));
    lanes.settle(done(batch));
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [2]);
}

#[test]
fn a_lane_with_a_backlog_or_a_wait_can_be_held_all_the_same() {
    let (mut lanes, now) = (Lanes::new(LaneMode::Conversations, 1), Instant::now());
    lanes.offer(event(0, 2), 0, 0);
    lanes.offer(event(1, 3), 1, 1);
    lanes.hold("c0", id(77));
    let batch = lanes.take(ANY).unwrap();
    lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Again(now))).collect());
    lanes.hold("c1", id(78));
    lanes.wake(now);
    assert!(lanes.take(ANY).is_none());
    lanes.release(&id(78));
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [3]);
    lanes.release(&id(77));
    assert_eq!(offsets(&lanes.take(ANY).unwrap()), [2]);
}

#[test]
fn a_letter_that_is_to_be_replayed_before_its_lane_is_held_does_not_stay_held() {
    let mut lanes = Lanes::new(LaneMode::Conversations, 1);
    lanes.offer(event(0, 1), 0, 0);
    let batch = lanes.take(ANY).unwrap();
    lanes.replay(id(77), 1, "c0");
    lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Held(id(77)))).collect());
    assert!(lanes.take(ANY).is_none());
    lanes.replay(id(77), 1, "c0");
    assert_eq!((offsets(&lanes.take(ANY).unwrap()), lanes.owed()), (vec![1], 1));
}

#[test]
fn what_comes_back_behind_a_dead_letter_stays_behind_its_replay() {
    let (mut lanes, now) = (Lanes::new(LaneMode::Conversations, 1), Instant::now());
    lanes.offer(event(0, 1), 0, 0);
    lanes.offer(event(0, 2), 0, 0);
    let batch = lanes.take(ANY).unwrap();
    // A person was faster than the end of the attempt.
    lanes.replay(id(77), 1, "c0");
    lanes.settle(batch.into_iter().zip([Settled::Held(id(77)), Settled::Again(now)]).collect());
    lanes.replay(id(77), 1, "c0");
    for offset in [1, 2] {
        let batch = lanes.take(ANY).unwrap();
        assert_eq!(offsets(&batch), [offset]);
        lanes.settle(done(batch));
    }
}

#[test]
fn letters_of_a_lane_are_replayed_in_their_order_and_before_what_waits() {
    let mut lanes = Lanes::new(LaneMode::Conversations, 1);
    lanes.offer(event(0, 9), 0, 0);
    lanes.replay(id(5), 2, "c0");
    lanes.replay(id(7), 4, "c0");
    lanes.replay(id(6), 3, "c0");
    for offset in [2, 3, 4, 9] {
        let batch = lanes.take(ANY).unwrap();
        assert_eq!(offsets(&batch), [offset]);
        lanes.settle(done(batch));
    }
}

#[test]
fn what_failed_is_tried_alone() {
    let mut lanes = Lanes::new(LaneMode::Conversations, 1);
    for (offset, attempts) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0)] {
        lanes.offer(event(u8::try_from(offset).unwrap(), offset), attempts, 1);
    }
    let batches: Vec<_> = std::iter::from_fn(|| lanes.take(ANY)).map(|batch| offsets(&batch)).collect();
    assert_eq!(batches, [vec![1, 2], vec![3], vec![4], vec![5]]);
}

#[test]
fn the_stored_progress_of_one_lane_repeats_nothing_that_was_settled() {
    let (mut lanes, now) = (Lanes::new(LaneMode::One, 1), Instant::now());
    lanes.offer(event(0, 1), 2, 5);
    lanes.offer(event(1, 4), 0, 0);
    lanes.resume(7);
    let listed = |lanes: &Lanes| {
        let progress = lanes.progress();
        (progress.unsettled.iter().map(|owed| owed.offset).collect::<Vec<_>>(), progress.position)
    };
    (7..=12).for_each(|offset| lanes.offer(event(0, offset), 0, 0));
    lanes.advance(14);
    assert_eq!(listed(&lanes), (vec![1, 4], 7));
    for _ in 0..2 {
        let batch = lanes.take(BatchLimits { events: 1, ..ANY }).unwrap();
        lanes.settle(done(batch));
    }
    let batch = lanes.take(BatchLimits { events: 3, ..ANY }).unwrap();
    let settled = batch.into_iter().map(|owed| {
        let outcome = if owed.offset == 8 { Settled::Done } else { Settled::Again(now) };
        (owed, outcome)
    });
    lanes.settle(settled.collect());
    assert_eq!(listed(&lanes), (vec![7], 9));
}

#[test]
fn the_bytes_of_a_batch_are_known_though_its_events_are_not_in_memory() {
    let mut lanes = Lanes::new(LaneMode::One, 1);
    (1..=4).for_each(|offset| lanes.offer(event(0, offset), 0, 0));
    lanes.unload_all();
    assert_eq!(lanes.bytes(), 0);
    assert_eq!(offsets(&lanes.take(BatchLimits { events: 9, bytes: 4 }).unwrap()), [1, 2]);
}

#[test]
fn a_batch_ends_with_its_bytes_but_has_always_one_event() {
    let mut lanes = Lanes::new(LaneMode::One, 1);
    (1..=4).for_each(|offset| lanes.offer(event(0, offset), 0, 0));
    assert_eq!(offsets(&lanes.take(BatchLimits { events: 9, bytes: 1 }).unwrap()), [1]);
}

#[derive(Clone, Debug)]
enum Step {
    Offer(u8),
    Take(usize),
    /// Settle the oldest batch under way; each bit says whether an event is done.
    Settle(u32),
    Wake,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => (0..5u8).prop_map(Step::Offer),
            3 => (1..6usize).prop_map(Step::Take),
            3 => any::<u32>().prop_map(Step::Settle),
            1 => Just(Step::Wake),
        ],
        0..120,
    )
}

proptest! {
    /// Whatever happens, each conversation is tried in order, nothing is owed twice and nothing is forgotten.
    #[test]
    fn order_holds_and_nothing_is_lost(steps in steps(), mode in prop_oneof![Just(LaneMode::One), Just(LaneMode::Conversations)]) {
        let (mut lanes, now) = (Lanes::new(mode, 1), Instant::now());
        let mut next = 1;
        let mut offered: Vec<(u8, Offset)> = Vec::new();
        let mut finished: HashMap<u8, Vec<Offset>> = HashMap::default();
        let mut under_way: VecDeque<Vec<Owed>> = VecDeque::new();
        let conversation = |offered: &[(u8, Offset)], offset: Offset| offered.iter().find(|(_, other)| *other == offset).unwrap().0;
        let mut finish = |lanes: &mut Lanes, offered: &[(u8, Offset)], batch: Vec<Owed>, bits: u32| {
            let mut failed = std::collections::HashSet::new();
            let settled: Vec<_> = batch.into_iter().enumerate().map(|(index, owed)| {
                let key = conversation(offered, owed.offset);
                if bits >> (index % 32) & 1 == 0 || failed.contains(&owed.lane) {
                    failed.insert(owed.lane);
                    return (owed, Settled::Again(now));
                }
                finished.entry(key).or_default().push(owed.offset);
                (owed, Settled::Done)
            }).collect();
            lanes.settle(settled);
        };
        for step in steps {
            match step {
                Step::Offer(key) => {
                    lanes.offer(event(key, next), 0, 0);
                    offered.push((key, next));
                    next += 1;
                    lanes.advance(next);
                }
                Step::Take(events) => under_way.extend(lanes.take(BatchLimits { events, bytes: 1 << 20 })),
                Step::Settle(bits) => if let Some(batch) = under_way.pop_front() { finish(&mut lanes, &offered, batch, bits) },
                Step::Wake => lanes.wake(now),
            }
            let progress = lanes.progress();
            let listed = progress.unsettled.len() + usize::try_from(next - progress.position).unwrap();
            prop_assert!(listed >= lanes.owed());
        }
        while lanes.owed() > 0 {
            lanes.wake(now);
            under_way.extend(lanes.take(ANY));
            let batch = under_way.pop_front().expect("what is owed can be taken");
            finish(&mut lanes, &offered, batch, u32::MAX);
        }
        prop_assert_eq!(lanes.bytes(), 0);
        for (key, offsets) in finished {
            let expected: Vec<_> = offered.iter().filter(|(other, _)| *other == key).map(|(_, offset)| *offset).collect();
            prop_assert_eq!(offsets, expected);
        }
    }
}

#[test]
fn a_batch_has_as_many_bytes_as_it_may_and_one_event_at_the_least() {
    let mut lanes = Lanes::new(LaneMode::One, 1);
    for offset in 1..=5 {
        let event = NewEvent::new(Kind::Event, "c", "user", "x".repeat(10));
        lanes.offer(Arc::new(event.recorded(JournalId::random(), Timestamp(1), offset)), 0, 0);
    }
    lanes.advance(6);
    for (bytes, expected) in [(29, vec![1, 2]), (20, vec![3, 4]), (9, vec![5])] {
        let batch = lanes.take(BatchLimits { bytes, ..ANY }).unwrap();
        assert_eq!(offsets(&batch), expected);
        lanes.settle(done(batch));
    }
}

#[test]
fn reading_begins_again_behind_what_was_tried() {
    let mut lanes = Lanes::new(LaneMode::One, 1);
    (1..=3).for_each(|offset| lanes.offer(event(0, offset), 0, 0));
    lanes.advance(4);
    let mut batch = lanes.take(BatchLimits { events: 1, ..ANY }).unwrap();
    batch[0].attempts = 1;
    lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Again(Instant::now()))).collect());
    let Progress { position, unsettled } = lanes.progress();
    assert_eq!((position, unsettled.iter().map(|owed| owed.offset).collect::<Vec<_>>()), (2, vec![1]));
}
