//! The tracker of a conversation as the HTTP API reads and writes it.

use trunkline_core::json::{self, Layout};
use trunkline_core::limits::{FREE_GROWTH, MAX_EVENTS, MAX_GROWTH, MAX_TRACKER_BYTES, MAX_TRACKER_EVENTS};
use trunkline_core::tracker::Tracker;
use trunkline_core::{Event, EventError, Kind, NewEvent, UserMessage, check_conversation};
use trunkline_journal::{By, Limits, ReadError};

use crate::intake::{Entry, Identity, Route, SessionStart, Unrecorded};
use crate::partition::Partition;

/// Why a tracker was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// One of the events is none.
    #[error("event {index}: {error}")]
    Event {
        /// Its place in the list, counted from 0.
        index: usize,
        /// What is wrong with it.
        error: EventError,
    },
    /// There can be no conversation of this name.
    #[error(transparent)]
    Conversation(#[from] EventError),
    /// They are too many for one request.
    #[error("a request has {most} events at the most, and this one has {found}; send them in several")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// They become too large.
    #[error("with the name of the conversation in each, the events become more than {most} bytes; send fewer at once")]
    TooLarge {
        /// The bytes that they may become.
        most: usize,
    },
    /// Its tracker would take too much memory.
    #[error("the conversation has more than {MAX_TRACKER_EVENTS} events, or {MAX_TRACKER_BYTES} bytes of them")]
    TooLong,
    /// What was to be appended is not on record, as far as is known.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// The journal could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Partition {
    /// The tracker of a conversation; of one without events, the session start that a first message would record.
    pub async fn tracker(&self, conversation: &str) -> Result<Tracker, TrackerError> {
        let _room = self.tracker_room.acquire().await;
        let mut tracker = Tracker::new(conversation, Layout::Ujson);
        let bodies = self.bodies(conversation).await?;
        if bodies.is_empty() {
            for event in NewEvent::session_start(conversation, None, self.journal.clock().seconds()) {
                tracker.apply(&String::from_utf8_lossy(&event.body));
            }
        }
        for body in &bodies {
            tracker.apply(body);
        }
        Ok(tracker)
    }

    /// Appends events that somebody else made, each as it came, with a session start before them when they are the first of the
    /// conversation and bring none of their own. `key` makes the request the same as an earlier one.
    pub async fn append_events(&self, conversation: &str, raw: &[&[u8]], key: Option<&str>) -> Result<(), TrackerError> {
        let locked = self.intake.lock(conversation).await;
        let events = parse(conversation, raw, locked.seconds(), MAX_EVENTS)?;
        let identity = key.map(|key| Identity::key(Route::TrackerEvents, conversation, key));
        locked.append(Entry { events, identity, session: SessionStart::InNewConversation }).await?;
        Ok(())
    }

    /// Makes `raw` the tracker of the conversation. As in Rasa, only what goes beyond the number of events stored is published.
    pub async fn replace_events(&self, conversation: &str, raw: &[&[u8]]) -> Result<(), TrackerError> {
        let locked = self.intake.lock(conversation).await;
        let mut events = parse(conversation, raw, locked.seconds(), MAX_TRACKER_EVENTS)?;
        let stored = self.bodies(conversation).await?.len();
        let added = events.split_off(stored.min(events.len()));
        if stored > 0 {
            events = vec![replacement(conversation, &events)];
        }
        events.extend(added);
        locked.append(Entry::plain(events, None)).await?;
        Ok(())
    }

    /// Appends a message that is not to be answered. `key` makes the request the same as an earlier one.
    pub async fn append_message(
        &self,
        conversation: &str,
        message: &UserMessage,
        parse_data: Option<&str>,
        key: Option<&str>,
    ) -> Result<(), TrackerError> {
        check_conversation(conversation)?;
        let locked = self.intake.lock(conversation).await;
        let mut event = NewEvent::user(message, Kind::Event, locked.seconds());
        if let Some(parse_data) = parse_data {
            event = with_parse_data(&event, parse_data, locked.seconds())?;
        }
        let identity = key.map(|key| Identity::key(Route::Messages, conversation, key));
        locked.append(Entry { events: vec![event], identity, session: SessionStart::InNewConversation }).await?;
        Ok(())
    }

    /// The bodies of the tracker events of a conversation, a replacement taken into account.
    async fn bodies(&self, conversation: &str) -> Result<Vec<String>, TrackerError> {
        check_conversation(conversation)?;
        let (mut bodies, mut bytes, mut next): (Vec<String>, _, _) = (Vec::new(), 0, 1);
        loop {
            let chunk = self.journal.read_by(By::Conversation(conversation), next, Limits::default()).await?;
            if chunk.events.is_empty() && chunk.damaged.is_empty() {
                return Ok(bodies);
            }
            next = chunk.next;
            for event in &chunk.events {
                if event.kind == Kind::Replacement {
                    bodies = replaced(event);
                    bytes = event.body.len();
                } else if event.kind.is_published() {
                    bodies.push(event.body_str().to_owned());
                    bytes += event.body.len();
                }
            }
            if bodies.len() > MAX_TRACKER_EVENTS || bytes > MAX_TRACKER_BYTES {
                return Err(TrackerError::TooLong);
            }
        }
    }
}

/// Up to `most` events of a conversation, each as it came; `now` is the time of one that has none.
fn parse(conversation: &str, raw: &[&[u8]], now: f64, most: usize) -> Result<Vec<NewEvent>, TrackerError> {
    check_conversation(conversation)?;
    if raw.len() > most {
        return Err(TrackerError::TooMany { found: raw.len(), most });
    }
    let sent: usize = raw.iter().map(|raw| raw.len()).sum();
    let (most, mut bytes, mut events) = (sent * MAX_GROWTH + FREE_GROWTH, 0, Vec::with_capacity(raw.len()));
    for (index, raw) in raw.iter().enumerate() {
        let event = NewEvent::parse(raw, Some(conversation), now).map_err(|error| TrackerError::Event { index, error })?;
        bytes += event.body.len();
        if bytes > most {
            return Err(TrackerError::TooLarge { most });
        }
        events.push(event);
    }
    Ok(events)
}

/// The record that replaces the stored events by `events`.
fn replacement(conversation: &str, events: &[NewEvent]) -> NewEvent {
    let list: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect();
    let body = format!(
        "{{\"sender_id\": {}, \"event\": \"tracker_replaced\", \"events\": [{}]}}",
        json::quote(conversation, Layout::Dumps),
        list.join(", ")
    );
    NewEvent::new(Kind::Replacement, conversation, "tracker_replaced", body)
}

/// The events in a replacement.
fn replaced(event: &Event) -> Vec<String> {
    let document = json::lay_out(&event.body, Layout::Dumps).ok();
    let list = document.and_then(|document| json::lay_out(document.get("events")?.as_bytes(), Layout::Dumps).ok());
    list.and_then(|list| Some(list.elements()?.map(str::to_owned).collect())).unwrap_or_default()
}

/// The same `user` event with the parse data that was given.
fn with_parse_data(event: &NewEvent, parse_data: &str, now: f64) -> Result<NewEvent, EventError> {
    let document = json::lay_out(&event.body, Layout::Dumps).map_err(|_| EventError::NotAnObject)?;
    let members: Vec<_> = document
        .members()
        .map(|(key, value)| format!("{key}: {}", if key == "\"parse_data\"" { parse_data } else { value }))
        .collect();
    NewEvent::parse(format!("{{{}}}", members.join(", ")).as_bytes(), None, now)
}
