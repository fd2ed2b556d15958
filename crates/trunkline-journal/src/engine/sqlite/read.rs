//! The half that reads: by offset, by name, by time, by identity.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use trunkline_core::{EventId, JournalId, Offset, Timestamp};

use super::index::{self, Index};
use super::row::{self, Found};
use super::{dead_letters, positions, schema, subscriptions};
use crate::engine::{self, Record};
use crate::{
    By, Chunk, ConversationSummary, DeadLetter, DeadLetterId, Limits, OpenDeadLetter, Options, Progress, ReadError, Stats,
    StoredSubscription,
};

/// A pair of connections for reading.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) journal: JournalId,
    pub(super) events: Connection,
    pub(super) index: Connection,
}

/// Reads for the process that writes, and so knows what is not in the index file yet.
#[derive(Debug)]
pub(crate) struct Reader {
    connections: Connections,
    index: Arc<Index>,
    options: Options,
}

impl Connections {
    pub(super) fn open(directory: &Path) -> Result<Self, rusqlite::Error> {
        let events = schema::open_for_reading(directory)?;
        let journal = schema::journal_id(&events)?;
        Ok(Self { journal, events, index: index::file::open_for_reading(directory)? })
    }

    /// The events from `from` up to and including `to`.
    pub(super) fn range(&self, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, rusqlite::Error> {
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        chunk.next = visit(&self.events, self.journal, from, to, &mut |found| {
            match found {
                Found::Event(Record { event, .. }) => {
                    bytes += event.body.len();
                    chunk.events.push(event);
                }
                Found::Damaged(offset) => chunk.damaged.push(offset),
            }
            let is_full = bytes >= limits.bytes || chunk.events.len() + chunk.damaged.len() >= limits.events;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(chunk)
    }

    /// One record.
    pub(super) fn get(&self, offset: Offset) -> Result<Option<Found>, rusqlite::Error> {
        get(&self.events, self.journal, offset)
    }

    /// The records at `offsets` in their order, as far as `bytes` of bodies allow, but one at the least. Answers how many of the
    /// offsets were looked at too.
    pub(super) fn at(&self, offsets: &[Offset], mut bytes: usize) -> Result<(Chunk, usize), rusqlite::Error> {
        let (mut chunk, mut looked_at) = (Chunk::default(), 0);
        for &offset in offsets {
            if bytes == 0 {
                break;
            }
            match self.get(offset) {
                Ok(Some(Found::Event(Record { event, .. }))) => {
                    bytes = bytes.saturating_sub(event.body.len());
                    chunk.events.push(event);
                }
                Ok(Some(Found::Damaged(_))) => chunk.damaged.push(offset),
                Ok(None) => {}
                Err(error) if is_damage(&error) => chunk.damaged.push(offset),
                Err(error) => return Err(error),
            }
            looked_at += 1;
        }
        Ok((chunk, looked_at))
    }

    pub(super) fn stats(&self) -> Result<Stats, rusqlite::Error> {
        let head = head(&self.events)?;
        let first = bounds(&self.events)?.map_or(head + 1, |(first, _)| first);
        let time = |offset: Offset| -> Result<Option<i64>, rusqlite::Error> {
            self.events.query_row("SELECT time FROM events WHERE offset = ?1", [offset], |row| row.get(0)).optional()
        };
        Ok(Stats {
            id: self.journal.to_string(),
            first,
            head,
            first_time: time(first)?,
            head_time: time(head)?,
            bytes: used_bytes(&self.events)?,
            indexed_to: index::file::indexed_to(&self.index)?,
            conversations: index::file::count_conversations(&self.index)?,
        })
    }
}

impl Reader {
    pub(super) fn new(connections: Connections, index: Arc<Index>, options: Options) -> Self {
        Self { connections, index, options }
    }
}

impl engine::Read for Reader {
    fn range(&mut self, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        Ok(self.connections.range(from, to, limits)?)
    }

    fn at(&mut self, offsets: &[Offset]) -> Result<Chunk, ReadError> {
        Ok(self.connections.at(offsets, usize::MAX)?.0)
    }

    fn by(&mut self, by: By<'_>, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let Connections { index, events, .. } = &self.connections;
        // The index forgets what retention has removed little by little.
        let oldest: Option<Offset> = events.prepare_cached("SELECT min(offset) FROM events")?.query_row([], |row| row.get(0))?;
        let from = from.max(oldest.unwrap_or(0));
        let mut offsets = self.index.named(index, by, from, limits.events).map_err(ReadError::Failed)?;
        offsets.retain(|offset| *offset <= to);
        let (mut chunk, looked_at) = self.connections.at(&offsets, limits.bytes)?;
        chunk.next = offsets.get(..looked_at).and_then(<[_]>::last).map_or(from, |last| last + 1);
        Ok(chunk)
    }

    fn conversation_back(&mut self, name: &str, before: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let by = By::Conversation(name);
        let offsets = self.index.named_back(&self.connections.index, by, before, limits.events).map_err(ReadError::Failed)?;
        let (mut chunk, looked_at) = self.connections.at(&offsets, limits.bytes)?;
        let is_all = looked_at == offsets.len() && offsets.len() < limits.events;
        chunk.next = offsets.get(..looked_at).and_then(<[_]>::last).copied().filter(|_| !is_all).unwrap_or(0);
        Ok(chunk)
    }

    fn identity(&mut self, conversation: &str, identity: &str, head: Offset) -> Result<Option<Offset>, ReadError> {
        let Connections { journal, events, index } = &self.connections;
        let candidates = self.index.identity(index, conversation, identity).map_err(ReadError::Failed)?;
        let window = Window::new(&self.options, head);
        Ok(find_identity(events, *journal, window, &candidates, conversation, identity)?)
    }

    fn offset_at(&mut self, time: Timestamp) -> Result<Offset, ReadError> {
        Ok(offset_at(&self.connections.events, time)?)
    }

    fn conversations(&mut self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        self.index.conversations(&self.connections.index, most).map_err(ReadError::Failed)
    }

    fn stats(&mut self) -> Result<Stats, ReadError> {
        Ok(self.connections.stats()?)
    }

    fn subscriptions(&mut self) -> Result<Vec<StoredSubscription>, ReadError> {
        Ok(subscriptions::load(&self.connections.events)?)
    }

    fn dead_letters(&mut self, subscription: Option<&str>, most: usize) -> Result<Vec<DeadLetter>, ReadError> {
        let Connections { journal, events, .. } = &self.connections;
        Ok(dead_letters::list(events, *journal, subscription, most)?)
    }

    fn dead_letter(&mut self, id: &DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let Connections { journal, events, .. } = &self.connections;
        Ok(dead_letters::get(events, *journal, id)?)
    }

    fn open_dead_letters(&mut self, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, ReadError> {
        Ok(dead_letters::open(&self.connections.events, subscription, replays)?)
    }

    fn owed_dead_letters(&mut self, subscription: &str, progress: &Progress) -> Result<HashSet<EventId>, ReadError> {
        let Connections { journal, events, .. } = &self.connections;
        Ok(dead_letters::owed(events, *journal, subscription, progress)?)
    }

    fn position(&mut self, source: &str) -> Result<Option<String>, ReadError> {
        Ok(positions::load(&self.connections.events, source)?)
    }
}

/// For how long, and over how many events, identities are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Nothing older counts.
    oldest: Timestamp,
    /// Nothing up to here counts.
    below: Offset,
}

impl Window {
    pub(super) fn new(options: &Options, head: Offset) -> Self {
        let oldest = options.clock.now().minus(options.deduplication_window);
        Self { oldest, below: head.saturating_sub(options.deduplication_events) }
    }
}

/// The newest of `candidates` that really is of `conversation`, has `identity` and lies within the window.
pub(super) fn find_identity(
    events: &Connection,
    journal: JournalId,
    window: Window,
    candidates: &[Offset],
    conversation: &str,
    identity: &str,
) -> Result<Option<Offset>, rusqlite::Error> {
    for &offset in candidates.iter().rev().take_while(|offset| **offset > window.below) {
        let found = match get(events, journal, offset) {
            // Nobody can tell any more what stood there.
            Err(error) if is_damage(&error) => continue,
            found => found?,
        };
        if let Some(Found::Event(Record { event, identity: Some(stored) })) = found
            && stored == identity
            && event.conversation == conversation
        {
            return Ok((event.time >= window.oldest).then_some(offset));
        }
    }
    Ok(None)
}

/// Shows every record from `from` up to and including `to` to `each` until that breaks, and answers where to go on. Around
/// pages that SQLite cannot read it goes offset by offset, so that damage costs the damaged records.
pub(super) fn visit(
    events: &Connection,
    journal: JournalId,
    from: Offset,
    to: Offset,
    each: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<Offset, rusqlite::Error> {
    let mut next = from;
    while next <= to {
        match scan(events, journal, &mut next, to, each) {
            Ok(ControlFlow::Continue(())) => return Ok(to + 1),
            Ok(ControlFlow::Break(())) => return Ok(next),
            Err(error) if is_damage(&error) => {}
            Err(error) => return Err(error),
        }
        let found = match get(events, journal, next) {
            Err(error) if is_damage(&error) => Some(Found::Damaged(next)),
            result => result?,
        };
        next += 1;
        if found.is_some_and(|found| each(found).is_break()) {
            break;
        }
    }
    Ok(next)
}

fn scan(
    events: &Connection,
    journal: JournalId,
    next: &mut Offset,
    to: Offset,
    each: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, rusqlite::Error> {
    let mut statement =
        events.prepare_cached(&format!("SELECT {} FROM events WHERE offset BETWEEN ?1 AND ?2 ORDER BY offset", row::COLUMNS))?;
    let mut rows = statement.query((*next, to))?;
    while let Some(row) = rows.next()? {
        let found = row::read(row, journal)?;
        *next = match &found {
            Found::Event(record) => record.event.offset,
            Found::Damaged(offset) => *offset,
        } + 1;
        if each(found).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Whether the file, rather than the call, is at fault, so that reading around it may help.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure))
}

fn get(events: &Connection, journal: JournalId, offset: Offset) -> Result<Option<Found>, rusqlite::Error> {
    events
        .prepare_cached(&format!("SELECT {} FROM events WHERE offset = ?1", row::COLUMNS))?
        .query_row([offset], |row| row::read(row, journal))
        .optional()
}

/// The oldest and the newest offset; `None` when there is no record.
pub(super) fn bounds(events: &Connection) -> Result<Option<(Offset, Offset)>, rusqlite::Error> {
    // Two statements: SQLite answers min and max from the ends of the table only when asked for one of them.
    let first: Option<Offset> = events.query_row("SELECT min(offset) FROM events", [], |row| row.get(0))?;
    let last: Option<Offset> = events.query_row("SELECT max(offset) FROM events", [], |row| row.get(0))?;
    Ok(first.zip(last))
}

/// The newest offset ever given out; 0 when none was.
pub(super) fn head(events: &Connection) -> Result<Offset, rusqlite::Error> {
    let last = bounds(events)?.map_or(0, |(_, last)| last);
    Ok(last.max(schema::floor(events)?.saturating_sub(1)))
}

/// The first offset whose record was appended at `time` or later; one more than the newest when there is none.
pub(super) fn offset_at(events: &Connection, time: Timestamp) -> Result<Offset, rusqlite::Error> {
    let Some((mut low, last)) = bounds(events)? else { return Ok(head(events)? + 1) };
    let mut high = last + 1;
    let mut statement = events.prepare_cached("SELECT offset, time FROM events WHERE offset >= ?1 ORDER BY offset LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let (offset, at): (Offset, i64) = statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if at < time.0 {
            low = offset + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// The time of the record at `offset`; the beginning of time when there is none.
pub(super) fn time_of(events: &Connection, offset: Offset) -> Result<Timestamp, rusqlite::Error> {
    let time = events.query_row("SELECT time FROM events WHERE offset = ?1", [offset], |row| row.get(0)).optional()?;
    Ok(time.map_or(Timestamp::default(), Timestamp))
}

/// The bytes of the pages in use.
pub(super) fn used_bytes(events: &Connection) -> Result<u64, rusqlite::Error> {
    let pragma = |name: &str| events.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}
