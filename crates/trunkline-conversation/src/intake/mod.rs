//! The one door: everything that is appended to a partition's journal goes through here, wherever it comes from.
//!
//! ```text
//! channel ─┐                      ┌─ lock of the conversation
//! API ─────┤                      ├─ session start, where one is due
//! source ──┼──► entry ──► intake ─┼─ channel, where the event names none   ──► journal
//! turn ────┘                      ├─ identity
//!                                 └─ memory of sessions and channels
//! ```
//!
//! It holds the only [`Appender`] of the journal, so what it remembers of a conversation is true: nobody else appends.

mod channel;
mod finish;
mod identity;
mod locks;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use trunkline_core::{Clock, NewEvent, Offset, Timestamp};
use trunkline_journal::{Append, Appended, Appender, Journal, ReadError, Unavailable};

pub use channel::carry_channel;
use finish::to_the_end;
pub use identity::{Identity, Route};
use locks::{Guard, Locks};
use memory::{Known, Memory};

/// Events of one conversation that are to be recorded together.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The events, in order; at least one, all of one conversation.
    pub events: Vec<NewEvent>,
    /// What makes them the same as earlier ones.
    pub identity: Option<Identity>,
    /// When a session start goes before them.
    pub session: SessionStart,
}

impl Entry {
    /// Events that come as they are, without a session start.
    pub fn plain(events: Vec<NewEvent>, identity: Option<Identity>) -> Self {
        Self { events, identity, session: SessionStart::Never }
    }

    pub(crate) fn conversation(&self) -> &str {
        self.events.first().map_or("", |event| &event.conversation)
    }

    fn has_message(&self) -> bool {
        self.events.iter().any(|event| event.event_type == "user")
    }

    /// Whether they bring a session start of their own, before the first message.
    fn starts_itself(&self) -> bool {
        let before = self.events.iter().take_while(|event| event.event_type != "user");
        before
            .into_iter()
            .any(|event| event.event_type == "session_started" || event.action_name().as_deref() == Some("action_session_start"))
    }
}

/// When a session start goes before the events of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionStart {
    /// When they are the first of their conversation, or its last message is too long ago.
    WhenDue,
    /// When they are the first of their conversation and bring none themselves.
    InNewConversation,
    /// Never: they were recorded elsewhere, with their own.
    Never,
}

/// What became of an entry that is on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was recorded now.
    New {
        /// The offset of its first event, session start included.
        first: Offset,
        /// The offset of its last event.
        last: Offset,
    },
    /// It is known: an earlier one had the same identity, and stands here with its last event.
    Known {
        /// The offset of that event.
        last: Offset,
    },
}

impl Recorded {
    /// The offset of the last event, recorded now or then.
    pub fn last(self) -> Offset {
        match self {
            Self::New { last, .. } | Self::Known { last } => last,
        }
    }
}

impl From<Appended> for Recorded {
    fn from(Appended { first, last, duplicate }: Appended) -> Self {
        if duplicate { Self::Known { last } } else { Self::New { first, last } }
    }
}

/// Why an entry is not on record, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrecorded {
    /// It is not recorded; later it may be.
    #[error("{0}")]
    Refused(String),
    /// It may be recorded all the same: under the same identity it can be handed in again, and is recorded once.
    #[error("{0}; what was sent may have been recorded all the same")]
    Maybe(String),
}

impl From<Unavailable> for Unrecorded {
    fn from(error: Unavailable) -> Self {
        if error.maybe_recorded { Self::Maybe(error.to_string()) } else { Self::Refused(error.to_string()) }
    }
}

impl From<ReadError> for Unrecorded {
    fn from(error: ReadError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The door to a journal: the only holder of its [`Appender`]. It locks a conversation, starts its sessions, fills in its channel, knows
/// what was recorded before, and appends.
#[derive(Debug)]
pub struct Intake {
    appender: Appender,
    memory: Arc<Memory>,
    locks: Locks,
    /// Sessions end so long after the last user message; zero: never.
    session_expiration: Duration,
}

impl Intake {
    pub(crate) fn new(appender: Appender, session_expiration: Duration) -> Self {
        Self { appender, memory: Arc::default(), locks: Locks::default(), session_expiration }
    }

    fn journal(&self) -> &Journal {
        self.appender.journal()
    }

    fn clock(&self) -> &Clock {
        self.journal().clock()
    }

    /// Keeps others from appending to a conversation, so that the next events can be made from those before them.
    pub async fn lock(&self, conversation: &str) -> Locked<'_> {
        let guard = self.locks.one(conversation).await;
        Locked { intake: self, seconds: self.clock().seconds(), guard }
    }

    /// Records entries, each for itself, in their order within a conversation. `Ok` means durable.
    pub async fn append_all(&self, entries: Vec<Entry>) -> Vec<Result<Recorded, Unrecorded>> {
        let guards = self.locks.several(entries.iter().map(Entry::conversation)).await;
        self.record(guards, entries, self.clock().seconds()).await
    }

    /// The only place that appends. `guards` hold the locks of all conversations since `seconds`, and until the journal has answered,
    /// even when nobody waits for that any more: who comes next must find what was recorded.
    async fn record(&self, guards: Vec<Guard>, mut entries: Vec<Entry>, seconds: f64) -> Vec<Result<Recorded, Unrecorded>> {
        let (count, mut then) = (entries.len(), Vec::new());
        // Until a journal that lost sight of a commit has recovered, looking does not tell what is recorded.
        if let Err(error) = self.appender.admit(count) {
            return vec![Err(error.into()); count];
        }
        for entries in by_conversation(&mut entries).chunk_by_mut(|one, next| one.conversation() == next.conversation()) {
            match self.prepare(entries, seconds).await {
                Ok(known) => then.extend(known),
                Err(error) => return vec![Err(error.into()); count],
            }
        }
        let append = |entry: Entry| Append::new(entry.events).known_by(entry.identity.map(Identity::into_text));
        let queued = self.appender.queue(entries.into_iter().map(append).collect()).await;
        let memory = Arc::clone(&self.memory);
        to_the_end(async move {
            let answers = queued.answers().await;
            if answers.iter().all(|answer| answer.as_ref().is_ok_and(|appended| !appended.duplicate)) {
                for (conversation, known) in then {
                    memory.remember(conversation, known);
                }
            }
            drop(guards);
            answers.into_iter().map(|answer| Ok(answer?.into())).collect()
        })
        .await
    }

    /// Puts everything into entries of one conversation that the door adds, and answers what will be known of it when they are recorded.
    async fn prepare(&self, entries: &mut [&mut Entry], seconds: f64) -> Result<Option<(CompactString, Known)>, ReadError> {
        let (conversation, now) = (CompactString::from(entries[0].conversation()), self.clock().now());
        let names_channel = entries[0].events.first().is_some_and(|event| event.channel.is_some());
        let starts_none = entries.iter().all(|entry| entry.session == SessionStart::Never);
        let seen = match self.memory.take(&conversation) {
            Some(known) => Seen::Known(known),
            // Nobody asks what came before events that bring everything themselves.
            None if starts_none && names_channel => Seen::Nothing,
            None => memory::look_up(self.journal(), &conversation).await?.map_or(Seen::New, Seen::Known),
        };
        if self.starts_session(entries[0], &seen, now) {
            put_session_start_before(entries[0], seconds);
        }
        let has_message = entries.iter().any(|entry| entry.has_message());
        let then = match seen {
            // It may have an earlier message and another channel.
            Seen::Nothing => None,
            Seen::New => Some(Known::default()),
            Seen::Known(known) => Some(known),
        };
        let mut channel = then.as_ref().and_then(|known| known.channel.clone());
        carry_channel(&mut channel, entries.iter_mut().flat_map(|entry| &mut entry.events).map(|event| &mut event.channel));
        let then = then.map(|known| Known { last_message: if has_message { Some(now) } else { known.last_message }, channel });
        Ok(then.map(|known| (conversation, known)))
    }

    /// Whether a session starts with an entry, which is the first to come to what was seen of its conversation.
    fn starts_session(&self, entry: &Entry, seen: &Seen, now: Timestamp) -> bool {
        match (entry.session, seen) {
            (SessionStart::InNewConversation, Seen::New) => !entry.starts_itself(),
            (SessionStart::WhenDue, Seen::New) => true,
            (SessionStart::WhenDue, Seen::Known(known)) if !self.session_expiration.is_zero() => {
                known.last_message.is_some_and(|last| now.since(last) > self.session_expiration)
            }
            _ => false,
        }
    }
}

fn put_session_start_before(entry: &mut Entry, seconds: f64) {
    let channel = entry.events.first().and_then(|event| event.channel.clone());
    let start = NewEvent::session_start(entry.conversation(), channel.as_deref(), seconds);
    entry.events.splice(0..0, start);
}

/// The entries of one conversation after those of another, each in their order.
fn by_conversation(entries: &mut [Entry]) -> Vec<&mut Entry> {
    let mut entries: Vec<_> = entries.iter_mut().collect();
    entries.sort_by(|one, other| one.conversation().cmp(other.conversation()));
    entries
}

/// What is seen of a conversation before more is appended to it.
enum Seen {
    /// It was not looked for.
    Nothing,
    /// It has no event.
    New,
    /// It has events.
    Known(Known),
}

/// A conversation that nobody else appends to.
#[derive(Debug)]
pub struct Locked<'i> {
    intake: &'i Intake,
    seconds: f64,
    guard: Guard,
}

impl Locked<'_> {
    /// The time since which it is locked, in Unix seconds. What is made under the lock bears it, so that times rise along a conversation.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Records an entry of the conversation. When this answers that it is recorded, it is durable.
    pub async fn append(self, entry: Entry) -> Result<Recorded, Unrecorded> {
        let answer = self.intake.record(vec![self.guard], vec![entry], self.seconds).await.pop();
        answer.unwrap_or_else(|| unreachable!("every entry is answered"))
    }
}
