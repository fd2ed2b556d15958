//! What keeps the records of a journal, and the seam between it and the rest.
//!
//! Above the seam, once for all engines, are the queue and the group commit ([`crate::writer`]), the newest events in memory, the
//! head, the status and the figures. Below it are numbering and look-up of identities, everything that is stored and how, and what
//! has to be done after a failure. An engine has two halves: one thread writes ([`Write`]), several read ([`Read`]).
//!
//! | engine | keeps records in | for |
//! | --- | --- | --- |
//! | [`sqlite`] | a directory with two files of SQLite | gateways on one machine |
//! | `memory` | the memory of the process | tests: it can be told to refuse, to hang, and to lose sight of a commit |

#[cfg(feature = "memory")]
pub(crate) mod memory;
pub(crate) mod sqlite;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread::JoinHandle;

use compact_str::CompactString;
use trunkline_core::{Clock, Event, EventId, JournalId, Offset, Timestamp};

use crate::change::{Changed, Changes};
use crate::{
    Append, Appended, By, Chunk, ConversationSummary, DeadLetter, DeadLetterId, Limits, OpenDeadLetter, Progress, ReadError,
    Stats, StoredSubscription,
};

/// An engine that is open: its parts, and what they found.
pub(crate) struct Opened<W, R> {
    pub(crate) id: JournalId,
    /// The offset of the newest record.
    pub(crate) head: Offset,
    /// The newest record that a program of layout 2 wrote.
    pub(crate) layout_2_to: Offset,
    pub(crate) writer: W,
    pub(crate) readers: Vec<R>,
    pub(crate) aside: Arc<dyn Aside>,
    /// A thread of its own, which ends when the writer is closed.
    pub(crate) thread: JoinHandle<()>,
}

/// Keeps what sources gave that is no event.
pub(crate) trait Aside: Send + Sync + 'static {
    /// Adds `lines` of `source`, each with its newline. When this answers, they are durable.
    fn add(&self, source: &str, lines: &str) -> Result<SetAside, String>;
}

/// What a source gave that is no event is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Where, for a person.
    pub place: String,
    /// Whether older lines of the same source had to be deleted for it.
    pub older_deleted: bool,
}

/// What goes into one commit: all of it, or nothing.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) appends: Vec<Append>,
    pub(crate) changes: Vec<Changes>,
}

/// What a commit did.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    /// What became of each append. One whose identity could not be looked up was left out, for the reason given.
    pub(crate) appends: Vec<Result<Appended, String>>,
    /// What became of each change.
    pub(crate) changes: Vec<Vec<Changed>>,
    /// What was recorded, ascending.
    pub(crate) records: Vec<Record>,
    /// What was removed.
    pub(crate) removed: Removed,
}

/// An event with the identity that it was appended under.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) event: Arc<Event>,
    pub(crate) identity: Option<String>,
}

/// What retention has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) events: u64,
    /// How many of them a subscription had not passed yet.
    pub(crate) undelivered: u64,
}

/// How the engine stands after it was looked after.
#[derive(Debug, Default)]
pub(crate) struct Maintained {
    pub(crate) removed: Removed,
    /// Why no more events can be taken, when their share of the room is used up.
    pub(crate) full: Option<String>,
    /// The bytes that the records take.
    pub(crate) bytes: u64,
}

/// Why a commit failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Why, for the operator.
    pub(crate) reason: String,
    /// Whether it may have been recorded all the same.
    pub(crate) maybe_recorded: bool,
    /// Whether the engine has to recover before it can be used again.
    pub(crate) is_broken: bool,
}

/// The half of an engine that writes. One thread has it.
pub(crate) trait Write: Send + 'static {
    /// Makes a batch durable.
    fn commit(&mut self, batch: Batch) -> Result<Committed, Failed>;

    /// Called about once a second: removes what may go, and while appends are refused finds out whether they would succeed.
    fn maintain(&mut self, is_refused: bool) -> Result<Maintained, Failed>;

    /// Makes a broken engine usable again. Answers the records that a failed commit has left behind after all, ascending; they are
    /// durable from now on.
    fn recover(&mut self) -> Result<Vec<Record>, String>;

    /// Lets go of everything. Nothing is asked afterwards.
    fn close(&mut self);
}

/// The half of an engine that reads.
pub(crate) trait Read: Send + 'static {
    /// The events from `from` up to and including `to`.
    fn range(&mut self, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError>;

    /// The events at `offsets`, which ascend.
    fn at(&mut self, offsets: &[Offset]) -> Result<Chunk, ReadError>;

    /// The events of somebody from `from` up to and including `to`.
    fn by(&mut self, by: By<'_>, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError>;

    /// The events of a conversation before `before`, the newest first; `next` is where to go on, 0 at the end.
    fn conversation_back(&mut self, name: &str, before: Offset, limits: Limits) -> Result<Chunk, ReadError>;

    /// The offset that was recorded in a conversation under `identity` within the window, which ends at `head`.
    fn identity(&mut self, conversation: &str, identity: &str, head: Offset) -> Result<Option<Offset>, ReadError>;

    /// The first offset that was appended at `time` or later; one more than the newest when there is none.
    fn offset_at(&mut self, time: Timestamp) -> Result<Offset, ReadError>;

    /// The conversations, those with the newest events first.
    fn conversations(&mut self, most: usize) -> Result<Vec<ConversationSummary>, ReadError>;

    /// The journal in figures.
    fn stats(&mut self) -> Result<Stats, ReadError>;

    /// All subscriptions that were ever stored.
    fn subscriptions(&mut self) -> Result<Vec<StoredSubscription>, ReadError>;

    /// Up to `most` dead letters of a subscription, or of all, oldest first.
    fn dead_letters(&mut self, subscription: Option<&str>, most: usize) -> Result<Vec<DeadLetter>, ReadError>;

    /// One dead letter.
    fn dead_letter(&mut self, id: &DeadLetterId) -> Result<Option<DeadLetter>, ReadError>;

    /// All dead letters of a subscription that are held, and up to `replays` of those to be replayed, each in the order of the
    /// journal.
    fn open_dead_letters(&mut self, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, ReadError>;

    /// The events that are dead letters of a subscription although `progress` says that it owes them.
    fn owed_dead_letters(&mut self, subscription: &str, progress: &Progress) -> Result<HashSet<EventId>, ReadError>;

    /// How far a source was read.
    fn position(&mut self, source: &str) -> Result<Option<String>, ReadError>;
}

/// Gives out offsets and times.
#[derive(Debug)]
pub(crate) struct Numbering {
    pub(crate) journal: JournalId,
    pub(crate) clock: Clock,
    /// The next offset.
    pub(crate) next: Offset,
    /// The time of the newest record; a clock that is set back does not bring events out of order.
    pub(crate) last_time: Timestamp,
}

/// The appends of a batch with their offsets.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    pub(crate) appends: Vec<Result<Appended, String>>,
    /// What is to be recorded.
    pub(crate) records: Vec<Record>,
}

impl Numbering {
    /// Tells which of `appends` are duplicates, of earlier ones or of each other, and gives the events of all others offsets and
    /// times. `known` looks an identity up among what was recorded before. Where that fails, the append is refused, and so is all
    /// that comes behind it in its conversation, which keeps its order that way.
    pub(crate) fn number(
        &self,
        appends: Vec<Append>,
        mut known: impl FnMut(&str, &str) -> Result<Option<Offset>, String>,
    ) -> Numbered {
        let mut numbered = Numbered { appends: Vec::with_capacity(appends.len()), records: Vec::with_capacity(appends.len()) };
        let mut within: HashMap<(CompactString, String), Offset> = HashMap::new();
        let mut refused: HashMap<CompactString, String> = HashMap::new();
        let time = self.clock.now().max(self.last_time);
        for append in appends {
            if let Some(reason) = refused.get(append.conversation()) {
                numbered.appends.push(Err(reason.clone()));
                continue;
            }
            let (events, identity) = append.into_parts();
            let key = identity.clone().zip(events.first()).map(|(identity, event)| (event.conversation.clone(), identity));
            let earlier = match &key {
                None => Ok(None),
                Some(key) => match within.get(key) {
                    Some(offset) => Ok(Some(*offset)),
                    None => known(&key.0, &key.1),
                },
            };
            let first = self.next + numbered.records.len() as Offset;
            let last = (first + events.len() as Offset).saturating_sub(1);
            let appended = match earlier {
                Err(reason) => {
                    refused.extend(key.map(|(conversation, _)| (conversation, reason.clone())));
                    Err(reason)
                }
                Ok(Some(offset)) => Ok(Appended { first: offset, last: offset, duplicate: true }),
                Ok(None) => {
                    for (offset, event) in (first..).zip(events) {
                        let event = Arc::new(event.recorded(self.journal, time, offset));
                        let identity = if offset == last { identity.clone() } else { None };
                        numbered.records.push(Record { event, identity });
                    }
                    key.map(|key| within.insert(key, last));
                    Ok(Appended { first, last, duplicate: false })
                }
            };
            numbered.appends.push(appended);
        }
        numbered
    }

    /// What was numbered is recorded.
    pub(crate) fn advance(&mut self, records: &[Record]) {
        if let Some(Record { event, .. }) = records.last() {
            self.next = event.offset + 1;
            self.last_time = event.time;
        }
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::NewEvent;

    use super::*;

    #[test]
    fn what_comes_behind_an_append_that_is_refused_is_refused_in_its_conversation_only() {
        let numbering =
            Numbering { journal: JournalId::random(), clock: Clock::system(), next: 7, last_time: Timestamp::default() };
        let append = |conversation: &str, identity: Option<&str>| {
            let event = NewEvent::parse(br#"{"sender_id": "a", "event": "x"}"#, Some(conversation), 1.0).unwrap();
            Append::one(event).known_by(identity.map(str::to_owned))
        };
        let appends = vec![
            append("a", Some("known")),
            append("a", Some("unreadable")),
            append("a", None),
            append("b", Some("unreadable here")),
            append("b", None),
            append("c", None),
        ];
        let known = |_: &str, identity: &str| match identity {
            "known" => Ok(Some(3)),
            reason => Err(reason.to_owned()),
        };
        let numbered = numbering.number(appends, known);
        let refused = |reason: &str| Err(reason.to_owned());
        assert_eq!(
            numbered.appends,
            [
                Ok(Appended { first: 3, last: 3, duplicate: true }),
                refused("unreadable"),
                refused("unreadable"),
                refused("unreadable here"),
                refused("unreadable here"),
                Ok(Appended { first: 7, last: 7, duplicate: false }),
            ]
        );
        let recorded: Vec<_> = numbered.records.iter().map(|record| record.event.conversation.as_str()).collect();
        assert_eq!(recorded, ["c"]);
    }
}
