//! The events of a conversation.

use std::collections::HashSet;

use compact_str::CompactString;

use super::effect::Effect;
use super::writer::ObjectWriter;
use crate::json::{self, Document, Layout};

/// The tracker of one conversation: its events in order, and the state that follows from them.
///
/// ```
/// use trunkline_core::json::Layout;
/// use trunkline_core::tracker::{IncludeEvents, Tracker};
///
/// let mut tracker = Tracker::new("ann", Layout::Ujson);
/// tracker.apply(r#"{"sender_id": "ann", "event": "slot", "timestamp": 1.5, "name": "size", "value": "large"}"#);
/// assert_eq!(
///     tracker.to_json(IncludeEvents::None),
///     r#"{"sender_id":"ann","slots":{"size":"large"},"#.to_owned()
///         + r#""latest_message":{"intent":{},"entities":[],"text":null,"message_id":null,"metadata":{}},"#
///         + r#""latest_event_time":1.5,"followup_action":"action_listen","paused":false,"events":null,"#
///         + r#""latest_input_channel":null,"active_loop":{},"latest_action":{},"latest_action_name":null}"#
/// );
/// ```
#[derive(Clone, Debug)]
pub struct Tracker {
    pub(super) conversation: CompactString,
    pub(super) layout: Layout,
    pub(super) events: Vec<Entry>,
    pub(super) slots: SlotNames,
}

/// One event.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// The body without its `sender_id`, in the layout of the tracker.
    pub(super) body: Box<str>,
    /// Minus infinity when the body gives none: such an event is never too late.
    pub(super) timestamp: f64,
    pub(super) effect: Effect,
}

/// The slots that were ever set, in order of their first appearance.
#[derive(Clone, Debug, Default)]
pub(super) struct SlotNames {
    pub(super) ordered: Vec<CompactString>,
    known: HashSet<CompactString>,
}

impl Tracker {
    /// The tracker of `conversation` before its first event, to be written in `layout`.
    pub fn new(conversation: &str, layout: Layout) -> Self {
        Self { conversation: conversation.into(), layout, events: Vec::new(), slots: SlotNames::default() }
    }

    /// Adds the event `body`, a JSON object in any layout. A type that is not known changes nothing but the list of events.
    ///
    /// A text that is no JSON object is no event and is passed over; the journal holds none.
    pub fn apply(&mut self, body: &str) {
        let Ok(event) = json::lay_out(body.as_bytes(), self.layout) else { return };
        if !event.is_object() {
            return;
        }
        let effect = Effect::of(&event);
        if let Effect::Slot(name) = &effect {
            self.slots.add(name);
        }
        let timestamp = event.get("timestamp").and_then(|raw| raw.parse().ok()).unwrap_or(f64::NEG_INFINITY);
        self.events.push(Entry { body: without_sender(&event, self.layout), timestamp, effect });
    }

    /// The tracker as it was at `time`, in Unix seconds: without the first event that came later and all that follow it,
    /// even those whose timestamp is earlier. Slots that appear only afterwards stay, with null, as Rasa knows all slots at
    /// any time.
    #[must_use]
    pub fn until(mut self, time: f64) -> Self {
        // Not `timestamp > time`: as in Python, nothing is at or before NaN.
        let kept = self.events.iter().take_while(|entry| entry.timestamp <= time).count();
        self.events.truncate(kept);
        self
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

impl Entry {
    /// The body with its parts found again.
    pub(super) fn document(&self, layout: Layout) -> Document {
        json::lay_out(self.body.as_bytes(), layout).expect("what was laid out once can be laid out again")
    }
}

impl SlotNames {
    fn add(&mut self, name: &CompactString) {
        if self.known.insert(name.clone()) {
            self.ordered.push(name.clone());
        }
    }
}

/// Rasa's dictionaries of events do not name the conversation.
fn without_sender(event: &Document, layout: Layout) -> Box<str> {
    let mut object = ObjectWriter::new(layout);
    for (key, value) in event.members().filter(|(key, _)| *key != "\"sender_id\"") {
        object.raw_member(key, value);
    }
    object.finish().into()
}
