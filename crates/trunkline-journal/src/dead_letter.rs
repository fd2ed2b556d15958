//! Events that a subscription gave up on, kept until a person decides.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};
use serde::Serialize;
use trunkline_core::{Event, EventId, JournalId, Kind, Offset, Shape, Timestamp};

use crate::Progress;

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeadLetterState {
    /// Given up; its conversation went on.
    Dead,
    /// Given up; its conversation waits for it to be replayed or dropped.
    Held,
    /// To be delivered once more.
    Replay,
}

impl DeadLetterState {
    /// The word for it, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Replay => "replay",
        }
    }
}

/// An event that a subscription gave up on, to be recorded.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// The name of the subscription.
    pub subscription: String,
    /// The event.
    pub event: Arc<Event>,
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// `Dead` or `Held`.
    pub state: DeadLetterState,
}

/// How a dead letter that was replayed died again.
#[derive(Clone, Debug)]
pub struct Death {
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made since it was replayed.
    pub attempts: u32,
}

/// A dead letter that a lane waits for or that is to be delivered once more, without its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDeadLetter {
    /// Its number.
    pub id: i64,
    /// The offset of the event.
    pub offset: Offset,
    /// The conversation of the event.
    pub conversation: CompactString,
    /// `Held` or `Replay`.
    pub state: DeadLetterState,
}

/// An event that a subscription gave up on.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The name of the subscription.
    pub subscription: String,
    /// The event, from the copy that was made.
    pub event: Arc<Event>,
    /// What went wrong, for a person.
    pub reason: String,
    /// How many attempts were made, replays included.
    pub attempts: u32,
    /// When it was last given up.
    pub died: Timestamp,
    /// Where it stands.
    pub state: DeadLetterState,
}

const COLUMNS: &str = "id, subscription, offset, time, kind, conversation, type, channel, body, reason, attempts, died, state";

pub(crate) fn insert(events: &Connection, letter: &NewDeadLetter, now: Timestamp) -> Result<i64, rusqlite::Error> {
    let event = &letter.event;
    let values: [&dyn ToSql; 13] = [
        &letter.subscription,
        &event.offset,
        &event.id.to_string(),
        &event.time.0,
        &event.kind.number(),
        &event.conversation.as_str(),
        &event.event_type.as_str(),
        &event.channel.as_deref(),
        &event.body_str(),
        &letter.reason,
        &letter.attempts,
        &now.0,
        &letter.state.as_str(),
    ];
    events
        .prepare_cached(
            "INSERT INTO dead_letters (subscription, offset, event_id, time, kind, conversation, type, channel, body, reason,
                 attempts, died, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute(values)?;
    Ok(events.last_insert_rowid())
}

/// Up to `most` dead letters of a subscription, or of all, oldest first.
pub(crate) fn list(
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
pub(crate) fn open(events: &Connection, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, rusqlite::Error> {
    let select = "SELECT id, offset, conversation, state FROM dead_letters";
    let mut statement = events.prepare_cached(&format!(
        "SELECT * FROM ({select} WHERE subscription = ?1 AND state = 'held' ORDER BY offset, id)
         UNION ALL
         SELECT * FROM ({select} WHERE subscription = ?1 AND state = 'replay' ORDER BY offset, id LIMIT ?2)"
    ))?;
    let rows = statement.query_map((subscription, limit(replays)), |row| {
        let conversation = row.get_ref(2)?.as_str()?.into();
        Ok(OpenDeadLetter { id: row.get(0)?, offset: row.get(1)?, conversation, state: state(row, 3)? })
    })?;
    rows.collect()
}

/// The events that are dead letters of a subscription although `progress` says that it owes them.
pub(crate) fn owed(
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
        if offset >= progress.position || progress.unsettled.binary_search_by_key(&offset, |owed| owed.offset).is_ok() {
            found.insert(EventId::derive(journal, Timestamp(row.get(1)?), offset));
        }
    }
    Ok(found)
}

/// How many there are, without reading them.
pub(crate) fn count(events: &Connection) -> Result<u64, rusqlite::Error> {
    events.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))
}

pub(crate) fn get(events: &Connection, journal: JournalId, id: i64) -> Result<Option<DeadLetter>, rusqlite::Error> {
    events
        .prepare_cached(&format!("SELECT {COLUMNS} FROM dead_letters WHERE id = ?1"))?
        .query_row([id], |row| read(row, journal))
        .optional()
}

/// Whether there was such a dead letter.
pub(crate) fn set_state(
    events: &Connection,
    id: i64,
    state: DeadLetterState,
    death: Option<&Death>,
    now: Timestamp,
) -> Result<bool, rusqlite::Error> {
    let changed = match death {
        None => events.prepare_cached("UPDATE dead_letters SET state = ?2 WHERE id = ?1")?.execute((id, state.as_str()))?,
        Some(Death { reason, attempts }) => events
            .prepare_cached("UPDATE dead_letters SET state = ?2, reason = ?3, attempts = attempts + ?4, died = ?5 WHERE id = ?1")?
            .execute((id, state.as_str(), reason, attempts, now.0))?,
    };
    Ok(changed > 0)
}

/// Whether there was such a dead letter.
pub(crate) fn delete(events: &Connection, id: i64) -> Result<bool, rusqlite::Error> {
    Ok(events.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])? > 0)
}

fn read(row: &Row<'_>, journal: JournalId) -> Result<DeadLetter, rusqlite::Error> {
    let offset: Offset = row.get(2)?;
    let time = Timestamp(row.get(3)?);
    let text = |column: usize| -> Result<CompactString, rusqlite::Error> { Ok(row.get_ref(column)?.as_str()?.into()) };
    let event = Event {
        offset,
        id: EventId::derive(journal, time, offset),
        time,
        kind: Kind::from_number(row.get(4)?),
        shape: Shape::Flat,
        user: None,
        session: None,
        answers: None,
        conversation: text(5)?,
        event_type: text(6)?,
        channel: row.get_ref(7)?.as_str_or_null()?.map(CompactString::from),
        body: Bytes::copy_from_slice(row.get_ref(8)?.as_str()?.as_bytes()),
    };
    Ok(DeadLetter {
        id: row.get(0)?,
        subscription: row.get(1)?,
        event: Arc::new(event),
        reason: row.get(9)?,
        attempts: row.get(10)?,
        died: Timestamp(row.get(11)?),
        state: state(row, 12)?,
    })
}

fn state(row: &Row<'_>, column: usize) -> Result<DeadLetterState, rusqlite::Error> {
    Ok(match row.get_ref(column)?.as_str()? {
        "replay" => DeadLetterState::Replay,
        "held" => DeadLetterState::Held,
        _ => DeadLetterState::Dead,
    })
}

/// A number of rows as SQLite takes it.
fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}
