//! The order of things: which events may be tried now. Pure bookkeeping, no I/O and no clock.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;
use trunkline_core::{Event, Offset};
use trunkline_journal::{Progress, Unsettled};
use xxhash_rust::xxh3::xxh3_64;

use crate::{BatchLimits, LaneMode};

/// An event that is owed.
#[derive(Clone, Debug)]
pub(crate) struct Owed {
    pub(crate) lane: u64,
    pub(crate) offset: Offset,
    /// Absent while its lane waits, and of a replay until it is taken; it is read again from the journal.
    pub(crate) event: Option<Arc<Event>>,
    /// The bytes of its body, present or not; 0 for a replay, which is taken alone.
    pub(crate) size: usize,
    /// How many attempts were made in vain.
    pub(crate) attempts: u32,
    /// When the first of them was made, in milliseconds since 1970.
    pub(crate) since: i64,
    /// The number of the dead letter that is replayed with it.
    pub(crate) letter: Option<i64>,
}

/// What became of an event that was taken.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Delivered, or a dead letter: nothing is owed any more.
    Done,
    /// It became this dead letter, and its lane is held for it.
    Held(i64),
    /// To be tried again, not before this time.
    Again(Instant),
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Owed>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the queue of lanes that may be taken from, unless empty.
    #[default]
    Ready,
    /// Some of its events are under way.
    Busy,
    /// It failed and waits.
    Waiting(Instant),
    /// It waits for a person to decide about this dead letter.
    Held(i64),
}

/// All lanes of a subscription.
#[derive(Debug)]
pub(crate) struct Lanes {
    mode: LaneMode,
    /// How many events of one lane may be in a batch.
    per_lane: usize,
    by_key: HashMap<u64, Lane>,
    ready: VecDeque<u64>,
    waiting: BTreeSet<(Instant, u64)>,
    /// What was taken and did not come back yet.
    taken: HashMap<Offset, Unsettled>,
    /// The offsets of what is owed, replays left out.
    offsets: BTreeSet<Offset>,
    /// Nothing beyond this offset was settled.
    settled_to: Offset,
    /// The dead letters that are replayed.
    replays: BTreeSet<i64>,
    /// What is owed, taken or not, replays included.
    owed: usize,
    /// The bytes of the events held in queues.
    bytes: usize,
    /// The next offset to read from the journal.
    position: Offset,
}

impl Lanes {
    pub(crate) fn new(mode: LaneMode, per_lane: usize, position: Offset) -> Self {
        Self {
            mode,
            per_lane,
            by_key: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            taken: HashMap::new(),
            offsets: BTreeSet::new(),
            settled_to: position.saturating_sub(1),
            replays: BTreeSet::new(),
            owed: 0,
            bytes: 0,
            position,
        }
    }

    /// The next offset to read from the journal.
    pub(crate) fn position(&self) -> Offset {
        self.position
    }

    /// Goes on at `position` after a restart: everything below was offered, or is settled, or is not wanted.
    pub(crate) fn resume(&mut self, position: Offset) {
        self.position = position;
        self.settled_to = position.saturating_sub(1);
    }

    /// Everything below `position` was offered, or is not wanted.
    pub(crate) fn advance(&mut self, position: Offset) {
        self.position = position;
    }

    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something may be tried now.
    pub(crate) fn is_any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    fn key(&self, conversation: &str) -> u64 {
        match self.mode {
            LaneMode::One => 0,
            LaneMode::Slices(count) => xxh3_64(conversation.as_bytes()) % u64::from(count.max(1)),
            LaneMode::Conversations => xxh3_64(conversation.as_bytes()),
        }
    }

    /// Adds an event behind all others of its lane.
    pub(crate) fn offer(&mut self, event: Arc<Event>, attempts: u32, since: i64) {
        let key = self.key(&event.conversation);
        let (offset, size) = (event.offset, event.body.len());
        self.enqueue(Owed { lane: key, offset, event: Some(event), size, attempts, since, letter: None });
    }

    /// Puts a dead letter that is replayed before all others of its lane, behind older dead letters, and lets go of the lane
    /// when it was held for it.
    pub(crate) fn replay(&mut self, letter: i64, offset: Offset, conversation: &str) {
        let lane = self.key(conversation);
        // It may be held although it is replayed already: when that was decided before the lane heard of the dead letter.
        if self.by_key.get(&lane).is_some_and(|lane| lane.state == State::Held(letter)) {
            self.free(lane);
        }
        if !self.replays.insert(letter) {
            return;
        }
        self.enqueue(Owed { lane, offset, event: None, size: 0, attempts: 0, since: 0, letter: Some(letter) });
    }

    /// How many dead letters are replayed.
    pub(crate) fn replays(&self) -> usize {
        self.replays.len()
    }

    /// Holds the lane of `conversation` for a dead letter.
    pub(crate) fn hold(&mut self, conversation: &str, letter: i64) {
        let key = self.key(conversation);
        let lane = self.by_key.entry(key).or_default();
        match lane.state {
            // What is under way is what died; coming back, it holds the lane itself.
            State::Busy => return,
            State::Ready => self.ready.retain(|other| *other != key),
            State::Waiting(at) => drop(self.waiting.remove(&(at, key))),
            State::Held(_) => {}
        }
        lane.state = State::Held(letter);
        self.unload(key);
    }

    /// The dead letters for which lanes are held.
    pub(crate) fn held(&self) -> Vec<i64> {
        let held = self.by_key.values().filter_map(|lane| if let State::Held(letter) = lane.state { Some(letter) } else { None });
        held.collect()
    }

    /// Lets go of the lane that is held for `letter`.
    pub(crate) fn release(&mut self, letter: i64) {
        let held = self.by_key.iter().find(|(_, lane)| lane.state == State::Held(letter));
        if let Some((&key, _)) = held {
            self.free(key);
        }
    }

    fn free(&mut self, key: u64) {
        if let Some(lane) = self.by_key.get_mut(&key) {
            lane.state = State::Ready;
        }
        self.make_ready(key);
    }

    fn enqueue(&mut self, mut owed: Owed) {
        let key = owed.lane;
        let lane = self.by_key.entry(key).or_default();
        if !matches!(lane.state, State::Ready | State::Busy) {
            owed.event = None;
        }
        self.bytes += weight(&owed);
        self.owed += 1;
        if owed.letter.is_none() {
            self.offsets.insert(owed.offset);
        }
        let was_empty = lane.queue.is_empty();
        if owed.letter.is_some() {
            let place = |owed: &Owed| (owed.offset, owed.letter);
            let older = lane.queue.iter().take_while(|other| other.letter.is_some() && place(other) < place(&owed)).count();
            lane.queue.insert(older, owed);
        } else {
            lane.queue.push_back(owed);
        }
        if was_empty && lane.state == State::Ready {
            self.ready.push_back(key);
        }
    }

    fn make_ready(&mut self, key: u64) {
        match self.by_key.get(&key) {
            Some(lane) if lane.queue.is_empty() => drop(self.by_key.remove(&key)),
            Some(_) => self.ready.push_back(key),
            None => {}
        }
    }

    /// Lanes whose wait is over at `now` may be taken from again.
    pub(crate) fn wake(&mut self, now: Instant) {
        while let Some(&(at, key)) = self.waiting.first() {
            if at > now {
                return;
            }
            self.waiting.pop_first();
            self.free(key);
        }
    }

    /// When the next lane wakes.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// Takes events that may be tried now, from as many lanes as it takes to fill a batch. A replay is taken alone: it does not
    /// move the cursor. What failed before is taken alone too, so that the one at fault takes no other with it.
    pub(crate) fn take(&mut self, limits: BatchLimits) -> Option<Vec<Owed>> {
        let mut batch: Vec<Owed> = Vec::new();
        let mut bytes = 0;
        while let Some(&key) = self.ready.front() {
            let Some(lane) = self.by_key.get_mut(&key) else {
                self.ready.pop_front();
                continue;
            };
            let before = batch.len();
            while batch.len() < limits.events
                && let Some(owed) = lane.queue.front()
            {
                let is_alone = batch.first().into_iter().chain([owed]).any(|owed| owed.letter.is_some() || owed.attempts > 0);
                if !batch.is_empty() && (bytes + owed.size > limits.bytes || is_alone) || batch.len() - before >= self.per_lane {
                    break;
                }
                let Some(owed) = lane.queue.pop_front() else { break };
                bytes += owed.size;
                self.bytes -= self::weight(&owed);
                if owed.letter.is_none() {
                    let state = Unsettled { offset: owed.offset, attempts: owed.attempts, since: owed.since };
                    self.taken.insert(owed.offset, state);
                }
                batch.push(owed);
            }
            if batch.len() == before {
                break;
            }
            lane.state = State::Busy;
            self.ready.pop_front();
            if batch.len() >= limits.events || bytes >= limits.bytes {
                break;
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Brings a batch back. What is to be tried again goes to the front of its lane, in its order, and the lane waits.
    pub(crate) fn settle(&mut self, batch: Vec<(Owed, Settled)>) {
        let mut touched: HashMap<u64, State> = HashMap::new();
        for (mut owed, settled) in batch.into_iter().rev() {
            self.owed -= 1;
            if owed.letter.is_none() {
                self.taken.remove(&owed.offset);
                self.offsets.remove(&owed.offset);
            }
            if let Some(letter) = owed.letter.filter(|_| !matches!(settled, Settled::Again(_))) {
                self.replays.remove(&letter);
            }
            if owed.letter.is_none() && !matches!(settled, Settled::Again(_)) {
                self.settled_to = self.settled_to.max(owed.offset);
            }
            let state = touched.entry(owed.lane).or_default();
            match settled {
                Settled::Done => {}
                Settled::Held(letter) => *state = State::Held(letter),
                Settled::Again(at) => {
                    // The earliest event decides: it is the next to be tried. It comes last in this loop.
                    if !matches!(state, State::Held(_)) {
                        *state = State::Waiting(at);
                    }
                    owed.event = None;
                    self.owed += 1;
                    if owed.letter.is_none() {
                        self.offsets.insert(owed.offset);
                    }
                    if let Some(lane) = self.by_key.get_mut(&owed.lane) {
                        lane.queue.push_front(owed);
                    }
                }
            }
        }
        for (key, state) in touched {
            if let Some(lane) = self.by_key.get_mut(&key) {
                lane.state = state;
            }
            match state {
                State::Waiting(at) => {
                    self.unload(key);
                    self.waiting.insert((at, key));
                }
                State::Held(_) => self.unload(key),
                State::Ready | State::Busy => self.make_ready(key),
            }
        }
    }

    /// Keeps only the offsets of what is queued.
    pub(crate) fn unload_all(&mut self) {
        for owed in self.by_key.values_mut().flat_map(|lane| &mut lane.queue) {
            owed.event = None;
        }
        self.bytes = 0;
    }

    /// Keeps only the offsets of a lane that waits.
    fn unload(&mut self, key: u64) {
        let Some(lane) = self.by_key.get_mut(&key) else { return };
        for owed in &mut lane.queue {
            self.bytes -= weight(owed);
            owed.event = None;
        }
    }

    /// Everything below this offset is settled.
    pub(crate) fn low(&self) -> Offset {
        self.offsets.first().copied().unwrap_or(self.position)
    }

    /// What has to be stored to go on from here after a restart.
    pub(crate) fn progress(&self) -> Progress {
        let queued = self.by_key.values().flat_map(|lane| &lane.queue).filter(|owed| owed.letter.is_none());
        let queued = queued.map(|owed| Unsettled { offset: owed.offset, attempts: owed.attempts, since: owed.since });
        let mut unsettled: Vec<Unsettled> = queued.chain(self.taken.values().cloned()).collect();
        unsettled.sort_unstable_by_key(|owed| owed.offset);
        if self.mode == LaneMode::One {
            // What lies behind all that was settled or tried is read again, and need not be listed.
            let tried = unsettled.iter().rfind(|owed| owed.attempts > 0).map_or(0, |owed| owed.offset);
            let listed = unsettled.partition_point(|owed| owed.offset <= self.settled_to.max(tried));
            let position = unsettled.get(listed).map_or(self.position, |owed| owed.offset);
            unsettled.truncate(listed);
            return Progress { position, unsettled };
        }
        Progress { position: self.position, unsettled }
    }
}

fn weight(owed: &Owed) -> usize {
    if owed.event.is_some() { owed.size + 200 } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use trunkline_core::{EventId, JournalId, Kind, Timestamp};

    use super::*;

    fn event(conversation: u8, offset: Offset) -> Arc<Event> {
        Arc::new(Event {
            offset,
            id: EventId::derive(JournalId::random(), Timestamp(1), offset),
            time: Timestamp(1),
            kind: Kind::Event,
            conversation: format!("c{conversation}").into(),
            event_type: "user".into(),
            channel: None,
            body: "{}".into(),
        })
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
        let mut lanes = Lanes::new(LaneMode::One, usize::MAX, 1);
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
        let (mut lanes, now) = (Lanes::new(LaneMode::Conversations, usize::MAX, 1), Instant::now());
        for offset in 1..=6 {
            lanes.offer(event(u8::from(offset % 2 == 0), offset), 0, 0);
        }
        lanes.advance(7);
        let batch = lanes.take(ANY).unwrap();
        assert_eq!(offsets(&batch), [1, 3, 5, 2, 4, 6]);
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
        assert_eq!(
            lanes.progress().unsettled.iter().map(|owed| (owed.offset, owed.attempts)).collect::<Vec<_>>(),
            [(3, 1), (5, 1), (7, 0), (8, 0)]
        );
        lanes.wake(now);
        assert!(lanes.take(ANY).is_none());
        lanes.wake(later);
        let alone = lanes.take(ANY).unwrap();
        assert_eq!(offsets(&alone), [3]);
        lanes.settle(done(alone));
        assert_eq!(offsets(&lanes.take(ANY).unwrap()), [5]);
    }

    #[test]
    fn a_held_lane_waits_for_its_dead_letter() {
        let mut lanes = Lanes::new(LaneMode::Conversations, usize::MAX, 1);
        lanes.offer(event(0, 1), 0, 0);
        lanes.offer(event(0, 2), 0, 0);
        let batch = lanes.take(BatchLimits { events: 1, ..ANY }).unwrap();
        lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Held(77))).collect());
        assert!(lanes.take(ANY).is_none());
        assert_eq!(lanes.held(), [77]);
        lanes.replay(77, 1, "c0");
        lanes.replay(77, 1, "c0");
        let batch = lanes.take(ANY).unwrap();
        assert_eq!((offsets(&batch), batch[0].letter), (vec![1], Some(77)));
        lanes.settle(done(batch));
        assert_eq!(offsets(&lanes.take(ANY).unwrap()), [2]);
    }

    #[test]
    fn a_lane_with_a_backlog_or_a_wait_can_be_held_all_the_same() {
        let (mut lanes, now) = (Lanes::new(LaneMode::Conversations, usize::MAX, 1), Instant::now());
        lanes.offer(event(0, 2), 0, 0);
        lanes.offer(event(1, 3), 1, 1);
        lanes.hold("c0", 77);
        let batch = lanes.take(ANY).unwrap();
        lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Again(now))).collect());
        lanes.hold("c1", 78);
        lanes.wake(now);
        assert!(lanes.take(ANY).is_none());
        lanes.release(78);
        assert_eq!(offsets(&lanes.take(ANY).unwrap()), [3]);
        lanes.release(77);
        assert_eq!(offsets(&lanes.take(ANY).unwrap()), [2]);
    }

    #[test]
    fn a_letter_that_is_to_be_replayed_before_its_lane_is_held_does_not_stay_held() {
        let mut lanes = Lanes::new(LaneMode::Conversations, usize::MAX, 1);
        lanes.offer(event(0, 1), 0, 0);
        let batch = lanes.take(ANY).unwrap();
        lanes.replay(77, 1, "c0");
        lanes.settle(batch.into_iter().map(|owed| (owed, Settled::Held(77))).collect());
        assert!(lanes.take(ANY).is_none());
        lanes.replay(77, 1, "c0");
        assert_eq!((offsets(&lanes.take(ANY).unwrap()), lanes.owed()), (vec![1], 1));
    }

    #[test]
    fn letters_of_a_lane_are_replayed_in_their_order_and_before_what_waits() {
        let mut lanes = Lanes::new(LaneMode::Conversations, usize::MAX, 1);
        lanes.offer(event(0, 9), 0, 0);
        lanes.replay(5, 2, "c0");
        lanes.replay(7, 4, "c0");
        lanes.replay(6, 3, "c0");
        for offset in [2, 3, 4, 9] {
            let batch = lanes.take(ANY).unwrap();
            assert_eq!(offsets(&batch), [offset]);
            lanes.settle(done(batch));
        }
    }

    #[test]
    fn what_failed_is_tried_alone() {
        let mut lanes = Lanes::new(LaneMode::Conversations, usize::MAX, 1);
        for (offset, attempts) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 0)] {
            lanes.offer(event(u8::try_from(offset).unwrap(), offset), attempts, 1);
        }
        let batches: Vec<_> = std::iter::from_fn(|| lanes.take(ANY)).map(|batch| offsets(&batch)).collect();
        assert_eq!(batches, [vec![1, 2], vec![3], vec![4], vec![5]]);
    }

    #[test]
    fn the_stored_progress_of_one_lane_repeats_nothing_that_was_settled() {
        let (mut lanes, now) = (Lanes::new(LaneMode::One, usize::MAX, 1), Instant::now());
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
        let mut lanes = Lanes::new(LaneMode::One, usize::MAX, 1);
        (1..=4).for_each(|offset| lanes.offer(event(0, offset), 0, 0));
        lanes.unload_all();
        assert_eq!(lanes.bytes(), 0);
        assert_eq!(offsets(&lanes.take(BatchLimits { events: 9, bytes: 4 }).unwrap()), [1, 2]);
    }

    #[test]
    fn a_batch_ends_with_its_bytes_but_has_always_one_event() {
        let mut lanes = Lanes::new(LaneMode::One, usize::MAX, 1);
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
        fn order_holds_and_nothing_is_lost(steps in steps(), mode in prop_oneof![Just(LaneMode::One), Just(LaneMode::Slices(2)), Just(LaneMode::Conversations)]) {
            let (mut lanes, now) = (Lanes::new(mode, usize::MAX, 1), Instant::now());
            let mut next = 1;
            let mut offered: Vec<(u8, Offset)> = Vec::new();
            let mut finished: HashMap<u8, Vec<Offset>> = HashMap::new();
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
                prop_assert!(mode != LaneMode::One && progress.unsettled.len() == lanes.owed() || mode == LaneMode::One && listed >= lanes.owed());
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
}
