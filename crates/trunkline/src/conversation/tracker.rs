//! The tracker of a conversation as the HTTP API reads and writes it.

use trunkline_core::json::{self, Layout};
use trunkline_core::tracker::Tracker;
use trunkline_core::{Event, EventError, Kind, NewEvent, UserMessage};
use trunkline_journal::{Append, Limits, ReadError, Unavailable};

use super::Conversations;

/// So many events of a conversation are read into a tracker at the most.
const MOST_EVENTS: usize = 100_000;
/// So many bytes of bodies at the most.
const MOST_BYTES: usize = 64 << 20;

/// Why a tracker was not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrackerError {
    #[error("event {index}: {error}")]
    Event { index: usize, error: EventError },
    #[error(transparent)]
    Conversation(#[from] EventError),
    #[error("the conversation has more than {MOST_EVENTS} events, or {MOST_BYTES} bytes of them")]
    TooLong,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Conversations {
    /// The tracker of a conversation; of one without events, the session start that a first message would record.
    pub(crate) async fn tracker(&self, conversation: &str) -> Result<Tracker, TrackerError> {
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

    /// Appends events that somebody else made, with a session start before them when they are the first of the conversation
    /// and bring none of their own.
    pub(crate) async fn append_events(
        &self,
        conversation: &str,
        raw: &[&[u8]],
        identity: Option<String>,
    ) -> Result<(), TrackerError> {
        let events = self.parse(conversation, raw)?;
        let _lock = self.lock(conversation).await;
        let start = self.session_start_before(conversation, &events).await?;
        self.append(conversation, start.into_iter().chain(events).collect(), identity).await
    }

    /// Makes `raw` the tracker of the conversation. As in Rasa, only what goes beyond the number of events stored is published.
    pub(crate) async fn replace_events(&self, conversation: &str, raw: &[&[u8]]) -> Result<(), TrackerError> {
        let mut events = self.parse(conversation, raw)?;
        let _lock = self.lock(conversation).await;
        let stored = self.bodies(conversation).await?.len();
        let added = events.split_off(stored.min(events.len()));
        if stored > 0 {
            events = vec![replacement(conversation, &events)];
        }
        events.extend(added);
        self.append(conversation, events, None).await
    }

    /// Appends a message that is not to be answered.
    pub(crate) async fn append_message(
        &self,
        conversation: &str,
        message: &UserMessage,
        parse_data: Option<&str>,
        identity: Option<String>,
    ) -> Result<(), TrackerError> {
        let now = self.journal.clock().seconds();
        let mut event = NewEvent::user(message, Kind::Event, now);
        if let Some(parse_data) = parse_data {
            event = with_parse_data(&event, parse_data, now)?;
        }
        let _lock = self.lock(conversation).await;
        let start = self.session_start_before(conversation, std::slice::from_ref(&event)).await?;
        self.append(conversation, start.into_iter().chain([event]).collect(), identity).await
    }

    fn parse(&self, conversation: &str, raw: &[&[u8]]) -> Result<Vec<NewEvent>, TrackerError> {
        trunkline_core::check_conversation(conversation)?;
        let now = self.journal.clock().seconds();
        let parsed = raw.iter().enumerate().map(|(index, raw)| {
            NewEvent::parse(raw, Some(conversation), now).map_err(|error| TrackerError::Event { index, error })
        });
        parsed.collect()
    }

    async fn session_start_before(&self, conversation: &str, events: &[NewEvent]) -> Result<Vec<NewEvent>, TrackerError> {
        let starts_itself = events.iter().take_while(|event| event.event_type != "user").any(starts_session);
        if starts_itself || !self.sessions.is_new(&self.journal, conversation).await? {
            return Ok(Vec::new());
        }
        Ok(NewEvent::session_start(conversation, None, self.journal.clock().seconds()).into())
    }

    async fn append(&self, conversation: &str, mut events: Vec<NewEvent>, identity: Option<String>) -> Result<(), TrackerError> {
        if events.is_empty() {
            return Ok(());
        }
        self.channels.fill_in(&mut events).await?;
        let has_message = events.iter().any(|event| event.event_type == "user");
        let appended = self.journal.append(Append { events, identity }).await?;
        if !appended.duplicate {
            self.sessions.recorded(conversation, has_message.then(|| self.journal.clock().now()));
        }
        Ok(())
    }

    /// The bodies of the tracker events of a conversation, a replacement taken into account.
    async fn bodies(&self, conversation: &str) -> Result<Vec<String>, TrackerError> {
        trunkline_core::check_conversation(conversation)?;
        let (mut bodies, mut bytes, mut next): (Vec<String>, _, _) = (Vec::new(), 0, 1);
        loop {
            let chunk = self.journal.conversation(conversation, next, Limits::default()).await?;
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
            if bodies.len() > MOST_EVENTS || bytes > MOST_BYTES {
                return Err(TrackerError::TooLong);
            }
        }
    }
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

fn starts_session(event: &NewEvent) -> bool {
    event.event_type == "session_started" || event.action_name().as_deref() == Some("action_session_start")
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
