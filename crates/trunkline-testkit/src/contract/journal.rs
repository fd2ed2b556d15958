//! Events to publish: real ones, and as many made ones as are wanted.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use trunkline_core::{Event, JournalId, NewEvent, Offset, Timestamp};

/// The events of a journal, which come one after the other.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) id: JournalId,
    next: Offset,
}

impl Journal {
    pub(super) fn new() -> Self {
        Self { id: JournalId::random(), next: 1 }
    }

    /// What a real assistant published in a few conversations.
    pub(super) fn real(&mut self) -> Vec<Arc<Event>> {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../trunkline/tests/fixtures/rasa-3.6.21-events.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let events: Vec<_> = text.lines().map(|line| self.read(line)).collect();
        assert_eq!(events.len(), 1106);
        events
    }

    /// `count` short events, by turns of a few conversations.
    pub(super) fn made(&mut self, count: usize) -> Vec<Arc<Event>> {
        (0..count).map(|number| self.said(&format!("user{}", number % 7), &format!("Grüezi\n№ {}", self.next))).collect()
    }

    /// An event in which somebody says something.
    pub(super) fn said(&mut self, conversation: &str, text: &str) -> Arc<Event> {
        let event = serde_json::json!({"sender_id": conversation, "event": "user", "timestamp": self.next, "text": text});
        self.read(&event.to_string())
    }

    /// An event whose body is `body`, whatever that is.
    pub(super) fn with_body(&mut self, conversation: &str, body: Bytes) -> Arc<Event> {
        let mut event = Arc::unwrap_or_clone(self.said(conversation, ""));
        event.body = body;
        Arc::new(event)
    }

    fn read(&mut self, text: &str) -> Arc<Event> {
        let new = NewEvent::parse(text.as_bytes(), None, 1.0).unwrap();
        // Some offsets are missing, as those of events for others are.
        let offset = self.next;
        self.next += if offset.is_multiple_of(3) { 2 } else { 1 };
        let time = Timestamp(1_795_248_186_000 + i64::try_from(offset).unwrap());
        Arc::new(new.recorded(self.id, time, offset))
    }
}
