//! Reading from the two files: by offset, by conversation, by time, by identity.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _};
use serde::Serialize;
use trunkline_core::{Event, JournalId, Offset, Timestamp};

use crate::row::{self, Found};
use crate::{index, schema};

/// How much a read may answer.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events at the most.
    pub events: usize,
    /// Bytes of bodies at the most, but always one event.
    pub bytes: usize,
}

impl Default for Limits {
    /// 512 events, 1 MiB.
    fn default() -> Self {
        Self { events: 512, bytes: 1 << 20 }
    }
}

/// Events in the order of the journal.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The events.
    pub events: Vec<Arc<Event>>,
    /// The offsets of records that could not be read, or not as they were written.
    pub damaged: Vec<Offset>,
    /// Where the next read starts.
    pub next: Offset,
}

/// One conversation, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConversationSummary {
    /// Its id.
    pub conversation: String,
    /// How many records it has or had, those that retention removed included.
    pub events: u64,
    /// The offset of its first record.
    pub first: Offset,
    /// The offset of its last record.
    pub last: Offset,
}

/// The journal in figures.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// The identity of the journal.
    pub id: String,
    /// The offset of the oldest record kept; one more than `head` when there is none.
    pub first: Offset,
    /// The offset of the newest record.
    pub head: Offset,
    /// When the oldest was appended, in milliseconds since 1970.
    pub first_time: Option<i64>,
    /// When the newest was appended, in milliseconds since 1970.
    pub head_time: Option<i64>,
    /// The bytes of `journal.db` in use, without its log.
    pub bytes: u64,
    /// Up to which offset the index file reaches.
    pub indexed_to: Offset,
    /// How many conversations there are.
    pub conversations: u64,
}

/// A pair of connections for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) journal: JournalId,
    pub(crate) events: Connection,
    pub(crate) index: Connection,
}

impl Reader {
    pub(crate) fn open(directory: &Path) -> Result<Self, rusqlite::Error> {
        let events = schema::open_for_reading(directory)?;
        let journal = schema::journal_id(&events)?;
        Ok(Self { journal, events, index: index::file::open_for_reading(directory)? })
    }

    /// The events from `from` up to and including `to`.
    pub(crate) fn range(&self, from: Offset, to: Offset, limits: Limits) -> Result<Chunk, rusqlite::Error> {
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        chunk.next = visit(&self.events, self.journal, from, to, &mut |found| {
            match found {
                Found::Event(event, _) => {
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

    /// One record with its identity.
    pub(crate) fn get(&self, offset: Offset) -> Result<Option<Found>, rusqlite::Error> {
        get(&self.events, self.journal, offset)
    }

    /// The records at `offsets`, which ascend, as far as `bytes` of bodies allow, but one at the least; `next` is one more than
    /// the last of them that was read.
    pub(crate) fn at(&self, offsets: &[Offset], mut bytes: usize) -> Result<Chunk, rusqlite::Error> {
        let mut chunk = Chunk::default();
        for &offset in offsets {
            if bytes == 0 {
                break;
            }
            match self.get(offset) {
                Ok(Some(Found::Event(event, _))) => {
                    bytes = bytes.saturating_sub(event.body.len());
                    chunk.events.push(event);
                }
                Ok(Some(Found::Damaged(_))) => chunk.damaged.push(offset),
                Ok(None) => {}
                Err(error) if is_damage(&error) => chunk.damaged.push(offset),
                Err(error) => return Err(error),
            }
            chunk.next = offset + 1;
        }
        Ok(chunk)
    }

    /// The oldest and the newest offset; `None` when there is no record.
    pub(crate) fn bounds(&self) -> Result<Option<(Offset, Offset)>, rusqlite::Error> {
        bounds(&self.events)
    }

    /// The first offset whose record was appended at `time` or later; one more than the newest when there is none.
    pub(crate) fn offset_at(&self, time: Timestamp) -> Result<Offset, rusqlite::Error> {
        offset_at(&self.events, time)
    }

    pub(crate) fn stats(&self) -> Result<Stats, rusqlite::Error> {
        let head = head(&self.events)?;
        let first = self.bounds()?.map_or(head + 1, |(first, _)| first);
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
            conversations: self.index.query_row("SELECT count(*) FROM conversations", [], |row| row.get(0))?,
        })
    }
}

/// Shows every record from `from` up to and including `to` to `each` until that breaks, and answers where to go on. Around
/// pages that SQLite cannot read it goes offset by offset, so that damage costs the damaged records.
pub(crate) fn visit(
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
            Found::Event(event, _) => event.offset,
            Found::Damaged(offset) => *offset,
        } + 1;
        if each(found).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Whether the file, rather than the call, is at fault, so that reading around it may help.
fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure))
}

pub(crate) fn get(events: &Connection, journal: JournalId, offset: Offset) -> Result<Option<Found>, rusqlite::Error> {
    events
        .prepare_cached(&format!("SELECT {} FROM events WHERE offset = ?1", row::COLUMNS))?
        .query_row([offset], |row| row::read(row, journal))
        .optional()
}

pub(crate) fn bounds(events: &Connection) -> Result<Option<(Offset, Offset)>, rusqlite::Error> {
    // Two statements: SQLite answers min and max from the ends of the table only when asked for one of them.
    let first: Option<Offset> = events.query_row("SELECT min(offset) FROM events", [], |row| row.get(0))?;
    let last: Option<Offset> = events.query_row("SELECT max(offset) FROM events", [], |row| row.get(0))?;
    Ok(first.zip(last))
}

/// The newest offset ever given out; 0 when none was.
pub(crate) fn head(events: &Connection) -> Result<Offset, rusqlite::Error> {
    let last = bounds(events)?.map_or(0, |(_, last)| last);
    Ok(last.max(schema::floor(events)?.saturating_sub(1)))
}

pub(crate) fn offset_at(events: &Connection, time: Timestamp) -> Result<Offset, rusqlite::Error> {
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

/// The bytes of the pages in use.
pub(crate) fn used_bytes(events: &Connection) -> Result<u64, rusqlite::Error> {
    let pragma = |name: &str| events.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}
