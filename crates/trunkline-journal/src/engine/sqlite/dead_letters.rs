//! Dead letters, each with a copy of its event.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};
use trunkline_core::{EventId, JournalId, Kind, NewEvent, Timestamp};

use super::{limit, row};
use crate::{DeadLetter, DeadLetterId, DeadLetterState, Death, NewDeadLetter, OpenDeadLetter, Progress};

const COLUMNS: &str = "id, subscription, offset, time, kind, shape, conversation, user, session, type, channel, answers, body, \
                       reason, attempts, died, state";

/// Keeps a dead letter. There is one for an event and a subscription: whoever was not told that it is recorded can hand it in again.
pub(super) fn insert(events: &Connection, letter: &NewDeadLetter, now: Timestamp) -> Result<DeadLetterId, rusqlite::Error> {
    let event = &letter.event;
    // All states are named so that the index serves.
    let earlier: Option<i64> = events
        .prepare_cached(
            "UPDATE dead_letters SET state = ?4, reason = ?5, attempts = ?6, died = ?7
             WHERE subscription = ?1 AND state IN ('dead', 'held', 'replay') AND offset = ?2 AND event_id = ?3 RETURNING id",
        )?
        .query_row(
            (
                &letter.subscription,
                event.offset,
                event.id.to_string(),
                letter.state.as_str(),
                &letter.reason,
                letter.attempts,
                now.0,
            ),
            |row| row.get(0),
        )
        .optional()?;
    if let Some(earlier) = earlier {
        return Ok(DeadLetterId::of(earlier));
    }
    let values: [&dyn ToSql; 17] = [
        &letter.subscription,
        &event.offset,
        &event.id.to_string(),
        &event.time.0,
        &event.kind.number(),
        &row::shape_column(event.shape),
        &event.conversation.as_str(),
        &event.user.as_deref(),
        &event.session.as_deref(),
        &event.event_type.as_str(),
        &event.channel.as_deref(),
        &event.answers,
        &event.body_str(),
        &letter.reason,
        &letter.attempts,
        &now.0,
        &letter.state.as_str(),
    ];
    events
        .prepare_cached(
            "INSERT INTO dead_letters (subscription, offset, event_id, time, kind, shape, conversation, user, session, type,
                 channel, answers, body, reason, attempts, died, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
        )?
        .execute(values)?;
    Ok(DeadLetterId::of(events.last_insert_rowid()))
}

/// Up to `most` dead letters of a subscription, or of all, oldest first.
pub(super) fn list(
    events: &Connection,
    journal: JournalId,
    subscription: Option<&str>,
    most: usize,
) -> Result<Vec<DeadLetter>, rusqlite::Error> {
    events
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM dead_letters WHERE ?1 IS NULL OR subscription = ?1 ORDER BY id LIMIT ?2"
        ))?
        .query_map((subscription, limit(most)), |row| read(row, journal))?
        .collect()
}

/// All dead letters of a subscription that are held, and up to `replays` of those to be replayed, each in the order of the
/// journal.
pub(super) fn open(events: &Connection, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, rusqlite::Error> {
    let select = "SELECT id, offset, conversation, state FROM dead_letters";
    let mut statement = events.prepare_cached(&format!(
        "SELECT * FROM ({select} WHERE subscription = ?1 AND state = 'held' ORDER BY offset, id)
         UNION ALL
         SELECT * FROM ({select} WHERE subscription = ?1 AND state = 'replay' ORDER BY offset, id LIMIT ?2)"
    ))?;
    let rows = statement.query_map((subscription, limit(replays)), |row| {
        let conversation = row.get_ref(2)?.as_str()?.into();
        Ok(OpenDeadLetter { id: DeadLetterId::of(row.get(0)?), offset: row.get(1)?, conversation, state: state(row, 3)? })
    })?;
    rows.collect()
}

/// The events that are dead letters of a subscription although `progress` says that it owes them.
pub(super) fn owed(
    events: &Connection,
    journal: JournalId,
    subscription: &str,
    progress: &Progress,
) -> Result<HashSet<EventId>, rusqlite::Error> {
    // All states are named so that the index serves.
    let mut statement = events.prepare_cached(
        "SELECT offset, time FROM dead_letters
         WHERE subscription = ?1 AND state IN ('dead', 'held', 'replay') AND offset >= ?2",
    )?;
    let mut rows = statement.query((subscription, progress.low()))?;
    let mut found = HashSet::new();
    while let Some(row) = rows.next()? {
        let offset = row.get(0)?;
        if progress.owes(offset) {
            found.insert(EventId::derive(journal, Timestamp(row.get(1)?), offset));
        }
    }
    Ok(found)
}

/// How many there are, without reading them.
pub(super) fn count(events: &Connection) -> Result<u64, rusqlite::Error> {
    events.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))
}

pub(super) fn get(events: &Connection, journal: JournalId, id: &DeadLetterId) -> Result<Option<DeadLetter>, rusqlite::Error> {
    let Some(id) = id.number() else { return Ok(None) };
    events
        .prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?1"))?
        .query_row([id], |row| read(row, journal))
        .optional()
}

/// Whether there was such a dead letter.
pub(super) fn set_state(
    events: &Connection,
    id: &DeadLetterId,
    state: DeadLetterState,
    death: Option<&Death>,
    now: Timestamp,
) -> Result<bool, rusqlite::Error> {
    let Some(id) = id.number() else { return Ok(false) };
    let changed = match death {
        None => events.prepare_cached("UPDATE dead_letters SET state = ?2 WHERE id = ?1")?.execute((id, state.as_str()))?,
        Some(Death { reason, attempts }) => events
            .prepare_cached("UPDATE dead_letters SET state = ?2, reason = ?3, attempts = attempts + ?4, died = ?5 WHERE id = ?1")?
            .execute((id, state.as_str(), reason, attempts, now.0))?,
    };
    Ok(changed > 0)
}

/// Whether there was such a dead letter.
pub(super) fn delete(events: &Connection, id: &DeadLetterId) -> Result<bool, rusqlite::Error> {
    let Some(id) = id.number() else { return Ok(false) };
    Ok(events.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])? > 0)
}

fn read(row: &Row<'_>, journal: JournalId) -> Result<DeadLetter, rusqlite::Error> {
    let text = |column: usize| -> Result<&str, rusqlite::Error> { Ok(row.get_ref(column)?.as_str()?) };
    let maybe = |column: usize| -> Result<Option<&str>, rusqlite::Error> { Ok(row.get_ref(column)?.as_str_or_null()?) };
    let event = NewEvent {
        kind: Kind::from_number(row.get(4)?),
        shape: row::shape_of(row.get(5)?),
        conversation: text(6)?.into(),
        user: maybe(7)?.map(Box::from),
        session: maybe(8)?.map(Box::from),
        event_type: text(9)?.into(),
        channel: maybe(10)?.map(CompactString::from),
        answers: row.get(11)?,
        body: Bytes::copy_from_slice(text(12)?.as_bytes()),
    };
    Ok(DeadLetter {
        id: DeadLetterId::of(row.get(0)?),
        subscription: row.get(1)?,
        event: Arc::new(event.recorded(journal, Timestamp(row.get(3)?), row.get(2)?)),
        reason: row.get(13)?,
        attempts: row.get(14)?,
        died: Timestamp(row.get(15)?),
        state: state(row, 16)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> Result<DeadLetterState, rusqlite::Error> {
    Ok(DeadLetterState::from_word(row.get_ref(column)?.as_str()?))
}
