//! An event as a row of `events`: writing, reading, and the checksum that ties its columns together.

use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use rusqlite::{Connection, Row, params};
use trunkline_core::{Event, JournalId, Kind, NewEvent, Offset, Shape, Timestamp};

use crate::engine::Record;

/// The columns that [`read`] expects, in its order.
pub(super) const COLUMNS: &str =
    "offset, time, kind, conversation, type, channel, identity, body, checksum, shape, user, session, answers";

/// What a row turned out to be.
pub(super) enum Found {
    Event(Record),
    Damaged(Offset),
}

/// The columns of a row, borrowed: once for writing and once for reading.
struct Columns<'r> {
    offset: Offset,
    time: Timestamp,
    kind: u8,
    conversation: &'r str,
    event_type: &'r str,
    channel: Option<&'r str>,
    identity: Option<&'r str>,
    body: &'r str,
    /// Null for a flat event.
    shape: Option<u8>,
    user: Option<&'r str>,
    session: Option<&'r str>,
    answers: Option<Offset>,
}

/// Writes one row.
pub(super) fn insert(connection: &Connection, record: &Record) -> Result<(), rusqlite::Error> {
    let Event { offset, time, kind, shape, conversation, user, session, event_type, channel, answers, body, .. } = &*record.event;
    let columns = Columns {
        offset: *offset,
        time: *time,
        kind: kind.number(),
        conversation,
        event_type,
        channel: channel.as_deref(),
        identity: record.identity.as_deref(),
        body: std::str::from_utf8(body).map_err(|error| rusqlite::Error::Utf8Error(7, error))?,
        shape: shape_column(*shape),
        user: user.as_deref(),
        session: session.as_deref(),
        answers: *answers,
    };
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (offset, time, kind, conversation, type, channel, identity, body, checksum, shape, user, session,
             answers) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    )?;
    let checksum = columns.checksum();
    let Columns { offset, time, kind, conversation, event_type, channel, identity, body, shape, user, session, answers } =
        columns;
    let values =
        params![offset, time.0, kind, conversation, event_type, channel, identity, body, checksum, shape, user, session, answers];
    statement.execute(values).map(drop)
}

/// Reads one row of [`COLUMNS`] and verifies it.
pub(super) fn read(row: &Row<'_>, journal: JournalId) -> Result<Found, rusqlite::Error> {
    let offset: Offset = row.get(0)?;
    Ok(verified(row, offset, journal).map_or(Found::Damaged(offset), Found::Event))
}

/// `None` when a column has not the type, the form or the checksum it was written with.
fn verified(row: &Row<'_>, offset: Offset, journal: JournalId) -> Option<Record> {
    let text = |column: usize| row.get_ref(column).ok()?.as_str().ok();
    let maybe = |column: usize| row.get_ref(column).ok()?.as_str_or_null().ok();
    let columns = Columns {
        offset,
        time: Timestamp(row.get(1).ok()?),
        kind: row.get(2).ok()?,
        conversation: text(3)?,
        event_type: text(4)?,
        channel: maybe(5)?,
        identity: maybe(6)?,
        body: text(7)?,
        shape: row.get(9).ok()?,
        user: maybe(10)?,
        session: maybe(11)?,
        answers: row.get(12).ok()?,
    };
    let stored: u32 = row.get(8).ok()?;
    if columns.checksum() != stored {
        return None;
    }
    let event = NewEvent {
        kind: Kind::from_number(columns.kind),
        shape: shape_of(columns.shape),
        conversation: columns.conversation.into(),
        user: columns.user.map(Box::from),
        session: columns.session.map(Box::from),
        event_type: columns.event_type.into(),
        channel: columns.channel.map(CompactString::from),
        answers: columns.answers,
        body: Bytes::copy_from_slice(columns.body.as_bytes()),
    };
    let identity = columns.identity.map(str::to_owned);
    Some(Record { event: Arc::new(event.recorded(journal, columns.time, offset)), identity })
}

/// A shape as its column has it: null for the flat one, which rows of older layouts have too.
pub(super) fn shape_column(shape: Shape) -> Option<u8> {
    (shape != Shape::Flat).then(|| shape.number())
}

/// The shape that its column says.
pub(super) fn shape_of(column: Option<u8>) -> Shape {
    column.map_or(Shape::Flat, Shape::from_number)
}

impl Columns<'_> {
    /// CRC-32 over all columns. Those of layout 3 only count where they have a value, so that rows of older layouts keep theirs.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let text = |hasher: &mut crc32fast::Hasher, text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        hasher.update(&self.offset.to_le_bytes());
        hasher.update(&self.time.0.to_le_bytes());
        hasher.update(&[self.kind, u8::from(self.channel.is_some()), u8::from(self.identity.is_some())]);
        let (channel, identity) = (self.channel.unwrap_or_default(), self.identity.unwrap_or_default());
        for part in [self.conversation, self.event_type, channel, identity, self.body] {
            text(&mut hasher, part);
        }
        if let Some(shape) = self.shape {
            hasher.update(&[b'S', shape]);
        }
        for (mark, part) in [(b'u', self.user), (b's', self.session)] {
            if let Some(part) = part {
                hasher.update(&[mark]);
                text(&mut hasher, part);
            }
        }
        if let Some(answers) = self.answers {
            hasher.update(b"a");
            hasher.update(&answers.to_le_bytes());
        }
        hasher.finalize()
    }
}
