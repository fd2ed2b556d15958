//! What arrived, compared with what was published.

use std::collections::HashMap;
use std::sync::Arc;

use trunkline_core::Event;

use super::Subject;

/// A message as the receiver has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Its body.
    pub body: Vec<u8>,
    /// The event's id. An adapter that is at least once always sends it: without, nobody could tell a repetition.
    pub id: Option<String>,
}

impl Arrived {
    /// A message without an id.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), id: None }
    }

    fn start(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

/// Demands that exactly `events` arrived, each byte for byte and with its id, and the first copies in the order of their
/// conversation. Gives the number of further copies.
pub(super) async fn copies(subject: &dyn Subject, events: &[Arc<Event>]) -> usize {
    let arrived = subject.arrived().await;
    let by_body: HashMap<&[u8], &Arc<Event>> = events.iter().map(|event| (&event.body[..], event)).collect();
    assert_eq!(by_body.len(), events.len(), "the events of a check differ");

    let mut seen: HashMap<&[u8], usize> = HashMap::new();
    let mut newest: HashMap<&str, &Event> = HashMap::new();
    for (place, message) in arrived.iter().enumerate() {
        let Some(event) = by_body.get(&message.body[..]) else {
            panic!("message {place} of {} is none of the {} events: {}", arrived.len(), events.len(), message.start());
        };
        assert!(message.id.is_some() || subject.is_exactly_once(), "message {place} has no id: {}", message.start());
        if let Some(id) = &message.id {
            assert_eq!(*id, event.id.to_string(), "the id of message {place}: {}", message.start());
        }
        let times = seen.entry(&event.body).or_default();
        *times += 1;
        if *times == 1
            && let Some(before) = newest.insert(&event.conversation, event)
        {
            assert!(
                before.offset < event.offset,
                "event {} of conversation {:?} arrived before event {}",
                before.offset,
                event.conversation,
                event.offset
            );
        }
    }
    let lost: Vec<_> = events.iter().filter(|event| !seen.contains_key(&event.body[..])).map(|event| event.offset).collect();
    assert!(lost.is_empty(), "{} of {} events did not arrive, the first at {}", lost.len(), events.len(), lost[0]);
    arrived.len() - events.len()
}

/// As [`copies`], and each event arrived once.
pub(super) async fn once(subject: &dyn Subject, events: &[Arc<Event>]) {
    let copies = copies(subject, events).await;
    assert_eq!(copies, 0, "of {} events some arrived more than once", events.len());
}

/// After a fault: each event arrived, and once if that is promised.
pub(super) async fn after_a_fault(subject: &dyn Subject, events: &[Arc<Event>]) {
    let copies = copies(subject, events).await;
    if subject.is_exactly_once() {
        assert_eq!(copies, 0, "of {} events some arrived more than once", events.len());
    }
}
