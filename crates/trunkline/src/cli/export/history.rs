//! The events of the past, one after another from any position: of the journal, or of a Rasa server's tracker store.

use std::sync::Arc;

use compact_str::CompactString;
use sha2::{Digest as _, Sha256};
use trunkline_brokers::sql::{Conversation, SqlTrackerStore, StoredEvent};
use trunkline_core::json::{self, Document, Layout};
use trunkline_core::{Event, EventId, JournalId, Kind, Offset, Timestamp};
use trunkline_journal::{Chunk, Limits, OfflineJournal};
use uuid::Uuid;

use super::shift;
use super::state::Position;

/// Where events are read from.
pub(super) enum History<'s> {
    Journal(JournalHistory<'s>),
    TrackerStore(StoreHistory<'s>),
}

/// Some events in their order.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) events: Vec<Past>,
    /// What could not be read, a sentence each.
    pub(super) unreadable: Vec<String>,
}

/// An event of the past.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) event: Arc<Event>,
    /// The position behind it.
    pub(super) next: Position,
}

impl History<'_> {
    /// The next events, perhaps none; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Page>, String> {
        match self {
            Self::Journal(history) => history.page(),
            Self::TrackerStore(history) => history.page().await,
        }
    }

    /// How much is read, and how much there is.
    pub(super) fn progress(&self) -> (u64, u64) {
        match self {
            Self::Journal(history) => history.progress(),
            Self::TrackerStore(history) => history.progress(),
        }
    }
}

/// The journal up to a fixed offset: all of it, or some conversations one after another.
pub(super) struct JournalHistory<'j> {
    journal: &'j OfflineJournal,
    conversations: Option<Vec<String>>,
    end: Offset,
    position: Position,
}

impl<'j> JournalHistory<'j> {
    pub(super) fn new(journal: &'j OfflineJournal, conversations: Option<Vec<String>>, end: Offset, position: Position) -> Self {
        let first = conversations.as_ref().and_then(|conversations| conversations.first().cloned());
        let conversation = position.conversation.or(first);
        Self { journal, conversations, end, position: Position { conversation, next: position.next.max(1) } }
    }

    fn page(&mut self) -> Result<Option<Page>, String> {
        let Position { conversation, next } = &self.position;
        let (conversation, from) = (conversation.clone(), *next);
        if from >= self.end {
            return Ok(self.turn().then(Page::default));
        }
        let chunk = match &conversation {
            Some(name) => self.journal.conversation(name, from, Limits::default()),
            None => self.journal.read(from, Limits::default()),
        };
        let Chunk { mut events, mut damaged, next } = chunk.map_err(|error| error.to_string())?;
        // What does not go on has come to its end.
        self.position.next = if next > from { next } else { self.end };
        events.retain(|event| event.offset < self.end);
        damaged.retain(|offset| *offset < self.end);
        let past = |event: Arc<Event>| {
            let next = Position { conversation: conversation.clone(), next: event.offset + 1 };
            Past { event, next }
        };
        let unreadable = damaged.iter().map(|offset| format!("the record at offset {offset} is damaged and left out"));
        Ok(Some(Page { events: events.into_iter().map(past).collect(), unreadable: unreadable.collect() }))
    }

    /// Goes on with the next conversation; `false` when there is none.
    fn turn(&mut self) -> bool {
        let following = self.index().and_then(|index| self.conversations.as_ref()?.get(index + 1).cloned());
        let is_there = following.is_some();
        if is_there {
            self.position = Position { conversation: following, next: 1 };
        }
        is_there
    }

    /// The place of the conversation that is being read.
    fn index(&self) -> Option<usize> {
        let current = self.position.conversation.as_ref()?;
        self.conversations.as_ref()?.iter().position(|name| name == current)
    }

    fn progress(&self) -> (u64, u64) {
        match (self.index(), &self.conversations) {
            (Some(index), Some(conversations)) => (index as u64, conversations.len() as u64),
            _ => (self.position.next.min(self.end) - 1, self.end - 1),
        }
    }
}

/// The conversations of a tracker store, one after another.
pub(super) struct StoreHistory<'s> {
    store: &'s SqlTrackerStore,
    conversations: Vec<String>,
    /// The place of the conversation that is read, or will be.
    index: usize,
    /// How many events of it are read, or are to be left out.
    read: u64,
    current: Option<Conversation<'s>>,
}

impl<'s> StoreHistory<'s> {
    pub(super) fn new(store: &'s SqlTrackerStore, conversations: Vec<String>, position: &Position) -> Self {
        let (index, read) = match &position.conversation {
            // One that is gone by now has nothing left, and where it stood nobody knows.
            Some(conversation) => match conversations.iter().position(|name| name == conversation) {
                Some(index) => (index, position.next),
                None => (0, 0),
            },
            None => (0, 0),
        };
        Self { store, conversations, index, read, current: None }
    }

    async fn page(&mut self) -> Result<Option<Page>, String> {
        let Some(name) = self.conversations.get(self.index) else { return Ok(None) };
        let (mut page, mut to_skip) = (Page::default(), 0);
        let current = if let Some(current) = &mut self.current {
            current
        } else {
            to_skip = std::mem::take(&mut self.read);
            self.current.insert(self.store.conversation(name).await?)
        };
        loop {
            let Some(rows) = current.next_page().await? else {
                (self.index, self.read, self.current) = (self.index + 1, 0, None);
                break;
            };
            for row in rows {
                self.read += 1;
                if self.read <= to_skip {
                    continue;
                }
                let next = Position { conversation: Some(name.clone()), next: self.read };
                match event(name, &row) {
                    Ok(event) => page.events.push(Past { event: Arc::new(event), next }),
                    Err(reason) => {
                        page.unreadable.push(format!("row {} of conversation `{name}` is left out: {reason}", row.id));
                    }
                }
            }
            if self.read >= to_skip {
                break;
            }
        }
        Ok(Some(page))
    }

    fn progress(&self) -> (u64, u64) {
        (self.index as u64, self.conversations.len() as u64)
    }
}

/// The event in a row of the tracker store: its object, with the `sender_id` as its last member, as the original exports it.
fn event(conversation: &str, row: &StoredEvent) -> Result<Event, String> {
    let document = json::lay_out_input(row.data.as_bytes(), Layout::Dumps).map_err(|error| format!("no JSON: {error}"))?;
    if !document.is_object() {
        return Err("it is no JSON object".to_owned());
    }
    let event_type = document.get_str("event").ok_or_else(|| "it has no `event`".to_owned())?;
    let seconds = shift::time(&document).or(row.timestamp).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "a time that does not fit is as good as any other")]
    let time = Timestamp((seconds * 1000.0) as i64);
    let offset = row.id.cast_unsigned();
    Ok(Event {
        offset,
        id: EventId::derive(identity(conversation), time, offset),
        time,
        kind: Kind::Event,
        conversation: conversation.into(),
        event_type: CompactString::from(event_type.as_ref()),
        channel: document.get_str("input_channel").map(CompactString::from),
        body: with_sender(&document, conversation).into(),
    })
}

fn with_sender(document: &Document, conversation: &str) -> String {
    let members = document.members().filter(|(key, _)| *key != "\"sender_id\"").map(|(key, value)| format!("{key}: {value}, "));
    format!("{{{}\"sender_id\": {}}}", members.collect::<String>(), json::quote(conversation, Layout::Dumps))
}

/// What makes the ids of events out of a tracker store, so that the same row has the same id wherever the database is moved to.
fn identity(conversation: &str) -> JournalId {
    let digest = Sha256::new().chain_update("trunkline tracker store\0").chain_update(conversation).finalize();
    let id = Uuid::from_slice(digest.get(..16).unwrap_or_default()).unwrap_or_default();
    JournalId::parse(&id.to_string()).unwrap_or_else(JournalId::random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(data: &str) -> StoredEvent {
        StoredEvent { id: 7, timestamp: Some(5.0), data: data.to_owned() }
    }

    #[test]
    fn the_sender_is_the_last_member() {
        let body = |data: &str| event("ann \"é\"", &row(data)).expect("an event").body_str().to_owned();
        assert_eq!(
            body(r#"{"event": "user", "timestamp": 1.50, "x": {"a": [1]}}"#),
            r#"{"event": "user", "timestamp": 1.50, "x": {"a": [1]}, "sender_id": "ann \"\u00e9\""}"#
        );
        assert_eq!(body(r#"{"sender_id": "bob", "event": "restart"}"#), r#"{"event": "restart", "sender_id": "ann \"\u00e9\""}"#);
        for data in ["", "[]", "{", r#"{"event": null}"#] {
            assert!(event("ann", &row(data)).is_err(), "{data}");
        }
    }

    #[test]
    fn the_same_row_has_the_same_id_and_another_has_another() {
        let id = |conversation: &str, id, data: &str| event(conversation, &StoredEvent { id, ..row(data) }).expect("an event").id;
        let data = r#"{"event": "restart", "timestamp": 1795248186.2937574}"#;
        assert_eq!(id("ann", 7, data), id("ann", 7, data));
        assert_eq!(id("ann", 7, data).to_string(), "01a1fd2163b573088de2000000000007");
        let others = [id("bob", 7, data), id("ann", 8, data), id("ann", 7, r#"{"event": "restart", "timestamp": 1.0}"#)];
        assert!(others.iter().all(|other| *other != id("ann", 7, data)));
    }
}
