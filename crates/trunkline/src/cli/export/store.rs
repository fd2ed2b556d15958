//! The past of a Rasa server's tracker store.

use std::sync::Arc;

use compact_str::CompactString;
use sha2::{Digest as _, Sha256};
use trunkline_brokers::sql::{Conversation, SqlTrackerStore, StoredEvent};
use trunkline_core::json::{self, Document, Layout};
use trunkline_core::{Event, JournalId, Kind, NewEvent, Shape, Timestamp};
use uuid::Uuid;

use super::history::Past;
use super::state::Position;
use trunkline_conversation::carry_channel;

/// Some conversations of a tracker store, one after another.
pub(super) struct StoreHistory<'s> {
    store: &'s SqlTrackerStore,
    conversations: Vec<String>,
    /// The place of the conversation that is read, or will be.
    index: usize,
    /// How many events of it are read, or are to be left out.
    read: u64,
    current: Option<Conversation<'s>>,
    /// The channel of the conversation, as far as it is read.
    channel: Option<CompactString>,
}

impl<'s> StoreHistory<'s> {
    pub(super) fn new(store: &'s SqlTrackerStore, conversations: Vec<String>, position: &Position) -> Self {
        let index =
            position.conversation.as_ref().and_then(|conversation| conversations.iter().position(|name| name == conversation));
        let (index, read) = index.map_or((0, 0), |index| (index, position.next));
        Self { store, conversations, index, read, current: None, channel: None }
    }

    pub(super) async fn page(&mut self) -> Result<Option<Vec<Past>>, String> {
        let Some(name) = self.conversations.get(self.index) else { return Ok(None) };
        let (mut page, mut to_skip) = (Vec::new(), 0);
        let current = if let Some(current) = &mut self.current {
            current
        } else {
            to_skip = std::mem::take(&mut self.read);
            self.current.insert(self.store.conversation(name).await?)
        };
        loop {
            let Some(rows) = current.next_page().await? else {
                (self.index, self.read, self.current, self.channel) = (self.index + 1, 0, None, None);
                break;
            };
            let mut events: Vec<_> = rows.iter().map(|row| event(name, row)).collect();
            carry_channel(&mut self.channel, events.iter_mut().flatten().map(|event| &mut event.channel));
            for (row, event) in rows.iter().zip(events) {
                self.read += 1;
                if self.read <= to_skip {
                    continue;
                }
                let left_out = |reason| format!("row {} of conversation `{name}` is left out: {reason}", row.id);
                let next = Position { conversation: Some(name.clone()), next: self.read };
                page.push(Past { event: event.map(Arc::new).map_err(left_out), next });
            }
            if self.read >= to_skip {
                break;
            }
        }
        Ok(Some(page))
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        (self.index as u64, self.conversations.len() as u64)
    }
}

/// The event in a row of the tracker store: a flat one with the `sender_id` as its last member, as the original exports it; a nested
/// one as it is.
fn event(conversation: &str, row: &StoredEvent) -> Result<Event, String> {
    let document = json::lay_out_input(row.data.as_bytes(), Layout::Dumps).map_err(|error| format!("no JSON: {error}"))?;
    if !document.is_object() {
        return Err("it is no JSON object".to_owned());
    }
    let shape = Shape::of(&document);
    let members = shape.members(&document);
    let seconds = members.time.and_then(|raw| raw.parse().ok()).or(row.timestamp).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "a time that does not fit is as good as any other")]
    let time = Timestamp((seconds * 1000.0) as i64);
    let event = if shape == Shape::Flat {
        let event_type = members.event_type.ok_or_else(|| "it has no `event`".to_owned())?;
        let event = NewEvent::new(Kind::Event, conversation, &event_type, with_sender(&document, conversation));
        event.with_channel(members.channel.as_deref())
    } else {
        let event = NewEvent::from_document(&document, row.data.as_bytes(), Some(conversation), seconds);
        event.map_err(|error| error.to_string())?
    };
    Ok(event.recorded(identity(conversation), time, row.id.cast_unsigned()))
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
