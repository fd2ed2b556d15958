//! The order of things: which events may be tried now. Pure bookkeeping, no I/O and no clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use tokio::time::Instant;
use trunkline_core::{Event, Offset};
use trunkline_journal::{DeadLetterId, Progress, Unsettled};
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
    /// The dead letter that is replayed with it.
    pub(crate) letter: Option<DeadLetterId>,
}

/// What became of an event that was taken.
#[derive(Debug)]
pub(crate) enum Settled {
    /// Delivered, or a dead letter: nothing is owed any more.
    Done,
    /// It became this dead letter, and its lane is held for it.
    Held(DeadLetterId),
    /// To be tried again, not before this time.
    Again(Instant),
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Owed>,
    state: LaneState,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum LaneState {
    /// Among the lanes that may be taken from, unless empty.
    #[default]
    Ready,
    /// Some of its events are under way.
    Busy,
    /// It failed and waits.
    Waiting(Instant),
    /// It waits for a person to decide about this dead letter.
    Held(DeadLetterId),
}

/// All lanes of a subscription.
#[derive(Debug)]
pub(crate) struct Lanes {
    mode: LaneMode,
    by_key: HashMap<u64, Lane>,
    /// The lanes that may be taken from, each by the event that is its next: what is taken is in the order of the journal.
    ready: BTreeSet<(Offset, u64)>,
    waiting: BTreeSet<(Instant, u64)>,
    /// What is owed, taken or not, replays left out.
    owed: BTreeMap<Offset, Tries>,
    /// The dead letters that are replayed.
    replays: HashSet<DeadLetterId>,
    /// Nothing beyond this offset was settled, or tried in vain.
    touched_to: Offset,
    /// The bytes of the events held in queues.
    bytes: usize,
    /// The next offset to read from the journal.
    position: Offset,
}

/// How often an event was tried in vain, and since when.
#[derive(Clone, Copy, Debug)]
struct Tries {
    attempts: u32,
    since: i64,
}

impl Lanes {
    pub(crate) fn new(mode: LaneMode, position: Offset) -> Self {
        Self {
            mode,
            by_key: HashMap::default(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            owed: BTreeMap::new(),
            replays: HashSet::default(),
            touched_to: position.saturating_sub(1),
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
        self.touched_to = position.saturating_sub(1);
    }

    /// Everything below `position` was offered, or is not wanted.
    pub(crate) fn advance(&mut self, position: Offset) {
        self.position = position;
    }

    /// How much is owed, replays included.
    pub(crate) fn owed(&self) -> usize {
        self.owed.len() + self.replays.len()
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
    pub(crate) fn replay(&mut self, letter: DeadLetterId, offset: Offset, conversation: &str) {
        let lane = self.key(conversation);
        // It may be held although it is replayed already: when that was decided before the lane heard of the dead letter.
        if self.by_key.get(&lane).is_some_and(|lane| lane.is_held_for(&letter)) {
            self.free(lane);
        }
        if !self.replays.insert(letter.clone()) {
            return;
        }
        self.enqueue(Owed { lane, offset, event: None, size: 0, attempts: 0, since: 0, letter: Some(letter) });
    }

    /// How many dead letters are replayed.
    pub(crate) fn replays(&self) -> usize {
        self.replays.len()
    }

    /// Holds the lane of `conversation` for a dead letter.
    pub(crate) fn hold(&mut self, conversation: &str, letter: DeadLetterId) {
        let key = self.key(conversation);
        let lane = self.by_key.entry(key).or_default();
        match lane.state {
            // What is under way is what died; coming back, it holds the lane itself.
            LaneState::Busy => return,
            LaneState::Ready => drop(lane.next().map(|offset| self.ready.remove(&(offset, key)))),
            LaneState::Waiting(at) => drop(self.waiting.remove(&(at, key))),
            LaneState::Held(_) => {}
        }
        lane.state = LaneState::Held(letter);
        self.unload(key);
    }

    /// The dead letters for which lanes are held.
    pub(crate) fn held(&self) -> Vec<DeadLetterId> {
        let held = self
            .by_key
            .values()
            .filter_map(|lane| if let LaneState::Held(letter) = &lane.state { Some(letter.clone()) } else { None });
        held.collect()
    }

    /// Lets go of the lane that is held for `letter`.
    pub(crate) fn release(&mut self, letter: &DeadLetterId) {
        let held = self.by_key.iter().find(|(_, lane)| lane.is_held_for(letter));
        if let Some((&key, _)) = held {
            self.free(key);
        }
    }

    fn free(&mut self, key: u64) {
        let Some(lane) = self.by_key.get_mut(&key) else { return };
        lane.state = LaneState::Ready;
        match lane.next() {
            Some(offset) => drop(self.ready.insert((offset, key))),
            None => drop(self.by_key.remove(&key)),
        }
    }

    fn enqueue(&mut self, mut owed: Owed) {
        let key = owed.lane;
        let lane = self.by_key.entry(key).or_default();
        if !matches!(lane.state, LaneState::Ready | LaneState::Busy) {
            owed.event = None;
        }
        self.bytes += weight(&owed);
        if owed.letter.is_none() {
            self.owed.insert(owed.offset, Tries { attempts: owed.attempts, since: owed.since });
        }
        let before = lane.next();
        lane.insert(owed);
        let next = lane.next();
        if lane.state == LaneState::Ready && next != before {
            before.map(|offset| self.ready.remove(&(offset, key)));
            next.map(|offset| self.ready.insert((offset, key)));
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

    /// Takes events that may be tried now, in the order of the journal, from as many lanes as it takes to fill a batch. A replay is
    /// taken alone: it does not move the cursor. What failed before is taken alone too, so that the one at fault takes no other
    /// with it.
    pub(crate) fn take(&mut self, limits: BatchLimits) -> Option<Vec<Owed>> {
        let (mut batch, mut bytes, mut touched) = (Vec::new(), 0, Vec::new());
        let mut is_full = false;
        while !is_full && let Some((_, key)) = self.ready.pop_first() {
            // The next event of another lane: until then, this one can be taken from without looking.
            let until = self.ready.first().map_or(Offset::MAX, |(offset, _)| *offset);
            let Some(lane) = self.by_key.get_mut(&key) else { continue };
            while lane.next().is_some_and(|offset| offset <= until) {
                let Some(owed) = lane.queue.pop_front_if(|owed| fits(&batch, bytes, owed, limits)) else {
                    is_full = true;
                    break;
                };
                bytes += owed.size;
                self.bytes -= weight(&owed);
                if lane.state != LaneState::Busy {
                    lane.state = LaneState::Busy;
                    touched.push(key);
                }
                batch.push(owed);
            }
            if let Some(offset) = lane.next() {
                self.ready.insert((offset, key));
            }
        }
        for key in touched {
            if let Some(offset) = self.by_key.get(&key).and_then(Lane::next) {
                self.ready.remove(&(offset, key));
            }
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Brings a batch back. What is to be tried again goes to its place in its lane, and the lane waits.
    pub(crate) fn settle(&mut self, batch: Vec<(Owed, Settled)>) {
        let mut touched: HashMap<u64, LaneState> = HashMap::default();
        for (mut owed, settled) in batch.into_iter().rev() {
            let is_settled = !matches!(settled, Settled::Again(_));
            match &owed.letter {
                Some(letter) if is_settled => drop(self.replays.remove(letter)),
                Some(_) => {}
                None if is_settled => drop(self.owed.remove(&owed.offset)),
                None => drop(self.owed.insert(owed.offset, Tries { attempts: owed.attempts, since: owed.since })),
            }
            if owed.letter.is_none() && (is_settled || owed.attempts > 0) {
                self.touched_to = self.touched_to.max(owed.offset);
            }
            let state = touched.entry(owed.lane).or_default();
            match settled {
                Settled::Done => {}
                Settled::Held(letter) => *state = LaneState::Held(letter),
                Settled::Again(at) => {
                    // The earliest event decides: it is the next to be tried. It comes last in this loop.
                    if !matches!(state, LaneState::Held(_)) {
                        *state = LaneState::Waiting(at);
                    }
                    owed.event = None;
                    if let Some(lane) = self.by_key.get_mut(&owed.lane) {
                        lane.insert(owed);
                    }
                }
            }
        }
        for (key, state) in touched {
            match state {
                LaneState::Waiting(at) => {
                    self.unload(key);
                    self.waiting.insert((at, key));
                }
                LaneState::Held(_) => self.unload(key),
                LaneState::Ready | LaneState::Busy => {
                    self.free(key);
                    continue;
                }
            }
            if let Some(lane) = self.by_key.get_mut(&key) {
                lane.state = state;
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
        self.owed.first_key_value().map_or(self.position, |(offset, _)| *offset)
    }

    /// What has to be stored to go on from here after a restart. What lies behind all that was settled or tried is read again, and
    /// need not be listed.
    pub(crate) fn progress(&self) -> Progress {
        let listed = self.owed.range(..=self.touched_to);
        let unsettled = listed.map(|(&offset, &Tries { attempts, since })| Unsettled { offset, attempts, since }).collect();
        let behind = self.owed.range(self.touched_to + 1..).next();
        Progress { position: behind.map_or(self.position, |(offset, _)| *offset), unsettled }
    }
}

impl Lane {
    /// Puts an event into its place: replays first, and everything in the order of the journal. What was tried in vain may find a
    /// replay before it that was asked for in the meantime.
    fn insert(&mut self, owed: Owed) {
        let place = |owed: &Owed| (owed.letter.is_none(), owed.offset);
        // Nearly everything comes in its order; to search for the end of a long lane costs more than all else that is done here.
        if self.queue.back().is_none_or(|last| place(last) <= place(&owed)) {
            return self.queue.push_back(owed);
        }
        let index = self.queue.partition_point(|other| place(other) < place(&owed));
        self.queue.insert(index, owed);
    }

    fn is_held_for(&self, letter: &DeadLetterId) -> bool {
        matches!(&self.state, LaneState::Held(held) if held == letter)
    }

    /// The offset of the event that is taken next.
    fn next(&self) -> Option<Offset> {
        self.queue.front().map(|owed| owed.offset)
    }
}

/// Whether a batch of so many bytes has room for `owed`. It has always room for one event.
fn fits(batch: &[Owed], bytes: usize, owed: &Owed, limits: BatchLimits) -> bool {
    let is_alone = |owed: &Owed| owed.letter.is_some() || owed.attempts > 0;
    let Some(first) = batch.first() else { return true };
    batch.len() < limits.events && bytes + owed.size <= limits.bytes && !is_alone(first) && !is_alone(owed)
}

fn weight(owed: &Owed) -> usize {
    if owed.event.is_some() { owed.size + 200 } else { 0 }
}

#[cfg(test)]
mod tests;
