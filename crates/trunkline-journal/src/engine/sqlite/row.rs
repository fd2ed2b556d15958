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
    body: &'r [u8],
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
        body,
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
    // SQLite is not to call something a text that is none.
    let body = std::str::from_utf8(body).map_err(|error| rusqlite::Error::Utf8Error(7, error))?;
    let Columns { offset, time, kind, conversation, event_type, channel, identity, shape, user, session, answers, .. } = columns;
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
        // The checksum says that it is the text that was written.
        body: row.get_ref(7).ok()?.as_bytes().ok()?,
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
        body: Bytes::copy_from_slice(columns.body),
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
        let mut digest = Digest::default();
        digest.add(&self.offset.to_le_bytes());
        digest.add(&self.time.0.to_le_bytes());
        digest.add(&[self.kind, u8::from(self.channel.is_some()), u8::from(self.identity.is_some())]);
        let (channel, identity) = (self.channel.unwrap_or_default(), self.identity.unwrap_or_default());
        for part in [self.conversation, self.event_type, channel, identity] {
            digest.add_text(part.as_bytes());
        }
        digest.add_text(self.body);
        if let Some(shape) = self.shape {
            digest.add(&[b'S', shape]);
        }
        for (mark, part) in [(b'u', self.user), (b's', self.session)] {
            if let Some(part) = part {
                digest.add(&[mark]);
                digest.add_text(part.as_bytes());
            }
        }
        if let Some(answers) = self.answers {
            digest.add(b"a");
            digest.add(&answers.to_le_bytes());
        }
        digest.end()
    }
}

/// A CRC-32 of many small parts. They are put together first, because of long ones it is made many times as fast.
struct Digest {
    hasher: crc32fast::Hasher,
    small: [u8; 128],
    filled: usize,
}

impl Default for Digest {
    fn default() -> Self {
        Self { hasher: crc32fast::Hasher::new(), small: [0; 128], filled: 0 }
    }
}

impl Digest {
    fn add_text(&mut self, text: &[u8]) {
        self.add(&(text.len() as u64).to_le_bytes());
        self.add(text);
    }

    #[inline]
    fn add(&mut self, part: &[u8]) {
        match self.small.get_mut(self.filled..self.filled + part.len()) {
            Some(place) => {
                place.copy_from_slice(part);
                self.filled += part.len();
            }
            None => self.add_beyond(part),
        }
    }

    /// Adds a part that there is no more room for.
    fn add_beyond(&mut self, part: &[u8]) {
        self.flush();
        if part.len() < self.small.len() {
            self.add(part);
        } else {
            self.hasher.update(part);
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.small[..self.filled]);
        self.filled = 0;
    }

    fn end(mut self) -> u32 {
        self.flush();
        self.hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_all_parts_together_however_long_they_are() {
        let lengths = [0, 1, 8, 104, 120, 121, 127, 128, 129, 1_000];
        let text: Vec<u8> = (0_u8..=255).cycle().take(1_000).collect();
        for first in lengths {
            for second in lengths {
                let (mut digest, mut all) = (Digest::default(), Vec::new());
                for part in [&text[..first], &text[..second], &text[..7]] {
                    digest.add_text(part);
                    all.extend((part.len() as u64).to_le_bytes());
                    all.extend(part);
                }
                assert_eq!(digest.end(), crc32fast::hash(&all), "{first} {second}");
            }
        }
    }
}
