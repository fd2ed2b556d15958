//! An event as a row of `events`: writing, reading, and the checksum that ties its columns together.

use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use rusqlite::{Connection, Row, params};
use trunkline_core::{Event, EventId, JournalId, Kind, NewEvent, Offset, Shape, Timestamp};

/// The columns that [`read`] expects, in its order.
pub(crate) const COLUMNS: &str = "offset, time, kind, conversation, type, channel, identity, body, checksum";

/// What a row turned out to be.
pub(crate) enum Found {
    Event(Arc<Event>, Option<String>),
    Damaged(Offset),
}

/// Writes one row.
pub(crate) fn insert(
    connection: &Connection,
    offset: Offset,
    time: Timestamp,
    event: &NewEvent,
    identity: Option<&str>,
) -> Result<(), rusqlite::Error> {
    let body = std::str::from_utf8(&event.body).map_err(|error| rusqlite::Error::Utf8Error(7, error))?;
    let checksum = checksum(
        offset,
        time,
        event.kind.number(),
        &event.conversation,
        &event.event_type,
        event.channel.as_deref(),
        identity,
        body,
    );
    let mut statement = connection.prepare_cached(
        "INSERT INTO events (offset, time, kind, conversation, type, channel, identity, body, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement
        .execute(params![
            offset,
            time.0,
            event.kind.number(),
            event.conversation.as_str(),
            event.event_type.as_str(),
            event.channel.as_deref(),
            identity,
            body,
            checksum
        ])
        .map(drop)
}

/// Reads one row of [`COLUMNS`] and verifies it.
pub(crate) fn read(row: &Row<'_>, journal: JournalId) -> Result<Found, rusqlite::Error> {
    let offset: Offset = row.get(0)?;
    Ok(verified(row, offset, journal).unwrap_or(Found::Damaged(offset)))
}

/// `None` when a column has not the type, the form or the checksum it was written with.
fn verified(row: &Row<'_>, offset: Offset, journal: JournalId) -> Option<Found> {
    let time = Timestamp(row.get(1).ok()?);
    let kind: u8 = row.get(2).ok()?;
    let conversation = row.get_ref(3).ok()?.as_str().ok()?;
    let event_type = row.get_ref(4).ok()?.as_str().ok()?;
    let channel = row.get_ref(5).ok()?.as_str_or_null().ok()?;
    let identity = row.get_ref(6).ok()?.as_str_or_null().ok()?;
    let body = row.get_ref(7).ok()?.as_str().ok()?;
    let stored: u32 = row.get(8).ok()?;
    if checksum(offset, time, kind, conversation, event_type, channel, identity, body) != stored {
        return None;
    }
    let event = Event {
        offset,
        id: EventId::derive(journal, time, offset),
        time,
        kind: Kind::from_number(kind),
        shape: Shape::Flat,
        user: None,
        session: None,
        answers: None,
        conversation: conversation.into(),
        event_type: event_type.into(),
        channel: channel.map(CompactString::from),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    Some(Found::Event(Arc::new(event), identity.map(str::to_owned)))
}

#[expect(clippy::too_many_arguments, reason = "these are the columns, once for writing and once for reading")]
fn checksum(
    offset: Offset,
    time: Timestamp,
    kind: u8,
    conversation: &str,
    event_type: &str,
    channel: Option<&str>,
    identity: Option<&str>,
    body: &str,
) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&time.0.to_le_bytes());
    hasher.update(&[kind, u8::from(channel.is_some()), u8::from(identity.is_some())]);
    for text in [conversation, event_type, channel.unwrap_or_default(), identity.unwrap_or_default(), body] {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize()
}
