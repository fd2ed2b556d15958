//! The engine for tests: everything in memory, and faults on demand.
//!
//! It keeps the promises of the journal as long as the process lives; retention and the sharing of a disk are not among them. What
//! no disk can be made to do on command it does: [`Faults`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trunkline_core::{Event, EventId, JournalId, Offset, Timestamp};

use super::{Batch, Committed, Failed, Maintained, Numbering, Opened, Read, Record, SetAside, Write};
use crate::change::{Change, Changed, Changes};
use crate::{
    By, Chunk, ConversationSummary, DeadLetter, DeadLetterId, DeadLetterState, Limits, OpenDeadLetter, Options, Progress,
    ReadError, Stats, StoredSubscription,
};

/// How often the writer is woken to recover, and to see to what a real engine sees to.
const TICK: Duration = Duration::from_millis(10);

/// What the journal can be told to do wrong.
#[derive(Clone, Default)]
pub struct Faults(Arc<Controls>);

#[derive(Default)]
struct Controls {
    state: Mutex<Fault>,
    changed: Condvar,
    hangs: AtomicBool,
}

/// What the next commits come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    Refuse,
    Hang,
    Maybe {
        is_recorded: bool,
    },
}

impl Faults {
    /// Refuses every commit from now on, as on a full disk.
    pub fn refuse(&self) {
        self.set(Fault::Refuse);
    }

    /// Lets every commit from now on hang.
    pub fn hang(&self) {
        self.set(Fault::Hang);
    }

    /// Whether a commit hangs now.
    pub fn is_hanging(&self) -> bool {
        self.0.hangs.load(Ordering::Relaxed)
    }

    /// Lets the next commit end without a word about what became of it, and records it or not.
    pub fn lose_sight(&self, is_recorded: bool) {
        self.set(Fault::Maybe { is_recorded });
    }

    /// Goes on as if nothing had been.
    pub fn mend(&self) {
        self.set(Fault::None);
    }

    fn set(&self, fault: Fault) {
        *self.lock() = fault;
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Fault> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the commit that begins now is to come to.
    fn next(&self) -> Fault {
        let mut state = self.lock();
        while *state == Fault::Hang {
            self.0.hangs.store(true, Ordering::Relaxed);
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.0.hangs.store(false, Ordering::Relaxed);
        let fault = *state;
        if matches!(fault, Fault::Maybe { .. }) {
            *state = Fault::None;
        }
        fault
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults({:?})", *self.lock())
    }
}

/// What sources gave that is no event.
#[derive(Debug, Default)]
struct Aside(Mutex<HashMap<String, String>>);

impl super::Aside for Aside {
    fn add(&self, source: &str, lines: &str) -> Result<SetAside, String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.entry(source.to_owned()).or_default().push_str(lines);
        Ok(SetAside { place: format!("the memory of {source}"), older_deleted: false })
    }
}

/// Everything that is kept.
#[derive(Debug, Default)]
struct Store {
    /// The record at offset `n` stands at `n - 1`.
    records: Vec<Record>,
    subscriptions: BTreeMap<String, StoredSubscription>,
    /// By number.
    letters: BTreeMap<i64, DeadLetter>,
    positions: HashMap<String, String>,
}

type Shared = Arc<Mutex<Store>>;

fn lock(store: &Shared) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an engine with so many readers. `tick` is called until the writer is closed.
pub(crate) fn open(options: &Options, readers: usize, tick: impl Fn() + Send + 'static) -> (Opened<Writer, Reader>, Faults) {
    let (store, faults, id) = (Shared::default(), Faults::default(), JournalId::random());
    let numbering = Numbering { journal: id, clock: options.clock.clone(), next: 1, last_time: Timestamp::default() };
    let (closed, stop) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        while stop.recv_timeout(TICK) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            tick();
        }
    });
    let reader = || Reader { store: Arc::clone(&store), options: options.clone(), id };
    let readers = (0..readers).map(|_| reader()).collect();
    let writer = Writer {
        store,
        numbering,
        options: options.clone(),
        faults: faults.clone(),
        unseen: Vec::new(),
        next_letter: 1,
        closed: Some(closed),
    };
    (Opened { id, head: 0, layout_2_to: 0, writer, readers, aside: Arc::new(Aside::default()), thread }, faults)
}

/// The half that writes.
pub(crate) struct Writer {
    store: Shared,
    numbering: Numbering,
    options: Options,
    faults: Faults,
    /// What a commit recorded that nobody was told of.
    unseen: Vec<Record>,
    next_letter: i64,
    /// Dropped to end the ticker.
    closed: Option<std::sync::mpsc::Sender<()>>,
}

impl Write for Writer {
    fn commit(&mut self, batch: Batch) -> Result<Committed, Failed> {
        let fault = self.faults.next();
        if fault == Fault::Refuse {
            return Err(Failed { reason: "the disk is full".to_owned(), maybe_recorded: false, is_broken: false });
        }
        let lost = Failed { reason: "a write failed (it was told to)".to_owned(), maybe_recorded: true, is_broken: true };
        if fault == (Fault::Maybe { is_recorded: false }) {
            return Err(lost);
        }
        let mut store = lock(&self.store);
        let numbered = self.numbering.number(batch.appends, |conversation, identity| {
            let head = self.numbering.next - 1;
            Ok(store.find(conversation, identity, &self.options, head))
        });
        let changes = batch.changes.iter().map(|changes| store.apply(changes, &mut self.next_letter)).collect();
        self.numbering.advance(&numbered.records);
        if fault == (Fault::Maybe { is_recorded: true }) {
            self.unseen = numbered.records;
            return Err(lost);
        }
        store.records.extend(numbered.records.iter().cloned());
        drop(store);
        Ok(Committed { appends: numbered.appends, changes, records: numbered.records, ..Committed::default() })
    }

    fn maintain(&mut self, is_refused: bool) -> Result<Maintained, Failed> {
        if is_refused && *self.faults.lock() == Fault::Refuse {
            return Err(Failed { reason: "the disk is full".to_owned(), maybe_recorded: false, is_broken: false });
        }
        Ok(Maintained::default())
    }

    fn recover(&mut self) -> Result<Vec<Record>, String> {
        let unseen = std::mem::take(&mut self.unseen);
        lock(&self.store).records.extend(unseen.iter().cloned());
        Ok(unseen)
    }

    fn close(&mut self) {
        self.closed = None;
    }
}

impl Store {
    fn find(&self, conversation: &str, identity: &str, options: &Options, head: Offset) -> Option<Offset> {
        let oldest = options.clock.now().minus(options.deduplication_window);
        let below = head.saturating_sub(options.deduplication_events);
        let within = self.records.iter().rev().take_while(|record| record.event.offset > below);
        let mut same = within.filter(|Record { event, identity: stored }| {
            stored.as_deref() == Some(identity) && event.conversation == conversation
        });
        same.next().filter(|record| record.event.time >= oldest).map(|record| record.event.offset)
    }

    fn apply(&mut self, changes: &Changes, next_letter: &mut i64) -> Vec<Changed> {
        let time = changes.time;
        changes.list.iter().map(|change| self.apply_one(change.clone(), time, next_letter)).collect()
    }

    fn apply_one(&mut self, change: Change, time: Timestamp, next_letter: &mut i64) -> Changed {
        match change {
            Change::Progress { name, progress } => {
                let stored = StoredSubscription { name: name.clone(), progress, active: true, updated: time };
                self.subscriptions.insert(name, stored);
                Changed::Done
            }
            Change::KeepActive { names } => {
                for (name, stored) in &mut self.subscriptions {
                    stored.active = names.contains(name);
                }
                Changed::Done
            }
            Change::AddLetter(new) => {
                let crate::NewDeadLetter { subscription, event, reason, attempts, state } = new;
                let is_it = |letter: &DeadLetter| letter.subscription == subscription && letter.event.id == event.id;
                let earlier = self.letters.iter().find(|(_, letter)| is_it(letter)).map(|(number, _)| *number);
                let number = earlier.unwrap_or_else(|| std::mem::replace(next_letter, *next_letter + 1));
                let id = DeadLetterId::of(number);
                let letter = DeadLetter { id: id.clone(), subscription, event, reason, attempts, died: time, state };
                self.letters.insert(number, letter);
                Changed::Added(id)
            }
            Change::SetLetter { id, state, death } => {
                let Some(letter) = id.number().and_then(|number| self.letters.get_mut(&number)) else {
                    return Changed::Found(false);
                };
                letter.state = state;
                if let Some(death) = death {
                    (letter.reason, letter.died) = (death.reason, time);
                    letter.attempts += death.attempts;
                }
                Changed::Found(true)
            }
            Change::RemoveLetter { id } => {
                Changed::Found(id.number().is_some_and(|number| self.letters.remove(&number).is_some()))
            }
            Change::Position { source, position } => {
                self.positions.insert(source, position);
                Changed::Done
            }
        }
    }
}

/// The half that reads.
pub(crate) struct Reader {
    store: Shared,
    options: Options,
    id: JournalId,
}

/// As many of `events` as `limits` allow; `more` tells where to go on when that is not all.
fn chunk(events: impl Iterator<Item = Arc<Event>>, limits: Limits, more: impl Fn(&Event) -> Offset, end: Offset) -> Chunk {
    let (mut chunk, mut bytes) = (Chunk { next: end, ..Chunk::default() }, 0);
    for event in events {
        bytes += event.body.len();
        chunk.events.push(Arc::clone(&event));
        if chunk.events.len() >= limits.events || bytes >= limits.bytes {
            chunk.next = more(&event);
            break;
        }
    }
    chunk
}

impl Read for Reader {
    fn range(&mut self, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let store = lock(&self.store);
        let events = store.records.iter().map(|record| &record.event).filter(|event| (from..=to).contains(&event.offset));
        Ok(chunk(events.cloned(), limits, |event| event.offset + 1, to + 1))
    }

    fn at(&mut self, offsets: &[Offset]) -> Result<Chunk, ReadError> {
        let store = lock(&self.store);
        let place = |offset: &Offset| usize::try_from(offset.checked_sub(1)?).ok();
        let events = offsets.iter().filter_map(|offset| Some(Arc::clone(&store.records.get(place(offset)?)?.event)));
        Ok(Chunk { events: events.collect(), ..Chunk::default() })
    }

    fn by(&mut self, by: By<'_>, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let store = lock(&self.store);
        let events = store.records.iter().map(|record| &record.event);
        let events = events.filter(|event| (from..=to).contains(&event.offset) && by.has(event));
        let last = events.clone().next_back().map_or(from, |last| last.offset + 1);
        Ok(chunk(events.cloned(), limits, |event| event.offset + 1, last))
    }

    fn conversation_back(&mut self, name: &str, before: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let store = lock(&self.store);
        let events = store.records.iter().rev().map(|record| &record.event);
        let events = events.filter(|event| event.offset < before && event.conversation == name);
        Ok(chunk(events.cloned(), limits, |event| event.offset, 0))
    }

    fn identity(&mut self, conversation: &str, identity: &str, head: Offset) -> Result<Option<Offset>, ReadError> {
        Ok(lock(&self.store).find(conversation, identity, &self.options, head))
    }

    fn offset_at(&mut self, time: Timestamp) -> Result<Offset, ReadError> {
        let store = lock(&self.store);
        Ok(store.records.partition_point(|record| record.event.time < time) as Offset + 1)
    }

    fn conversations(&mut self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        let store = lock(&self.store);
        let mut found: HashMap<&str, ConversationSummary> = HashMap::new();
        for Record { event, .. } in &store.records {
            let first = || ConversationSummary {
                conversation: event.conversation.to_string(),
                events: 0,
                first: event.offset,
                last: event.offset,
            };
            let summary = found.entry(&event.conversation).or_insert_with(first);
            (summary.events, summary.last) = (summary.events + 1, event.offset);
        }
        let mut found: Vec<_> = found.into_values().collect();
        found.sort_unstable_by_key(|summary| std::cmp::Reverse(summary.last));
        found.truncate(most);
        Ok(found)
    }

    fn stats(&mut self) -> Result<Stats, ReadError> {
        let conversations = self.conversations(usize::MAX)?.len() as u64;
        let store = lock(&self.store);
        let time = |record: Option<&Record>| record.map(|record| record.event.time.0);
        let head = store.records.len() as Offset;
        Ok(Stats {
            id: self.id.to_string(),
            first: 1,
            head,
            first_time: time(store.records.first()),
            head_time: time(store.records.last()),
            bytes: store.records.iter().map(|record| record.event.body.len() as u64).sum(),
            indexed_to: head,
            conversations,
        })
    }

    fn subscriptions(&mut self) -> Result<Vec<StoredSubscription>, ReadError> {
        Ok(lock(&self.store).subscriptions.values().cloned().collect())
    }

    fn dead_letters(&mut self, subscription: Option<&str>, most: usize) -> Result<Vec<DeadLetter>, ReadError> {
        let store = lock(&self.store);
        let wanted = |letter: &&DeadLetter| subscription.is_none_or(|subscription| letter.subscription == subscription);
        Ok(store.letters.values().filter(wanted).take(most).cloned().collect())
    }

    fn dead_letter(&mut self, id: &DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let store = lock(&self.store);
        Ok(id.number().and_then(|number| store.letters.get(&number)).cloned())
    }

    fn open_dead_letters(&mut self, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, ReadError> {
        let store = lock(&self.store);
        let in_state = |state: DeadLetterState, most: usize| {
            let wanted = |letter: &&DeadLetter| letter.subscription == subscription && letter.state == state;
            let mut letters: Vec<_> = store.letters.values().filter(wanted).collect();
            letters.sort_by_key(|letter| letter.event.offset);
            letters.truncate(most);
            letters
        };
        let mut letters = in_state(DeadLetterState::Held, usize::MAX);
        letters.extend(in_state(DeadLetterState::Replay, replays));
        let open = |letter: &DeadLetter| OpenDeadLetter {
            id: letter.id.clone(),
            offset: letter.event.offset,
            conversation: letter.event.conversation.clone(),
            state: letter.state,
        };
        Ok(letters.into_iter().map(open).collect())
    }

    fn owed_dead_letters(&mut self, subscription: &str, progress: &Progress) -> Result<HashSet<EventId>, ReadError> {
        let store = lock(&self.store);
        let letters = store.letters.values().filter(|letter| letter.subscription == subscription);
        Ok(letters.filter(|letter| progress.owes(letter.event.offset)).map(|letter| letter.event.id).collect())
    }

    fn position(&mut self, source: &str) -> Result<Option<String>, ReadError> {
        Ok(lock(&self.store).positions.get(source).cloned())
    }
}
