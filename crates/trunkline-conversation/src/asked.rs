//! Which messages are answered together.

use std::sync::Arc;

use trunkline_core::{Event, UserMessage};

/// Messages of one conversation that are answered together, in order; at least one.
pub(crate) struct Asked<'e> {
    pub(crate) events: &'e [Arc<Event>],
    pub(crate) messages: Vec<UserMessage>,
    /// The last of them, by which the turn is known.
    pub(crate) last: &'e Event,
}

impl<'e> Asked<'e> {
    /// `None` when one of them cannot be read.
    pub(crate) fn new(events: &'e [Arc<Event>]) -> Option<Self> {
        let messages = events.iter().map(|event| UserMessage::from_event(&event.body)).collect::<Option<Vec<_>>>()?;
        Some(Self { events, messages, last: events.last()? })
    }
}

/// Which messages are answered together: each is a turn of its own. Another policy makes longer runs of messages of one
/// conversation, and nothing else has to change for it.
pub(crate) fn turns(events: &[Arc<Event>]) -> impl Iterator<Item = &[Arc<Event>]> {
    events.chunks(1)
}
