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
mod tests;
