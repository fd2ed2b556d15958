//! Events: one JSON object each, with a few fields lifted out so that nobody has to parse the body again.

use bytes::Bytes;
use compact_str::CompactString;

use crate::json::{self, Document, Layout};
use crate::limits::MAX_NAME_CHARS;
use crate::message::number;
use crate::shape::{self, Members, Shape};
use crate::{BotMessage, EventId, JournalId, Offset, Timestamp, UserMessage};

/// An event as it stands in the journal. Shared by all who read it; the body is never serialised again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position.
    pub offset: Offset,
    /// Its stable id.
    pub id: EventId,
    /// When it was appended. Never decreases from one offset to the next.
    pub time: Timestamp,
    /// Its part in the gateway.
    pub kind: Kind,
    /// Where its members stand.
    pub shape: Shape,
    /// The conversation, Rasa's `sender_id`.
    pub conversation: CompactString,
    /// The person behind the conversation, where the event names one.
    pub user: Option<Box<str>>,
    /// The session of the conversation, where the event names one.
    pub session: Option<Box<str>>,
    /// Rasa's name of the type, as `user`.
    pub event_type: CompactString,
    /// The channel through which the conversation was going, when known.
    pub channel: Option<CompactString>,
    /// The message that this answers: of a turn that answers several, the last of them.
    pub answers: Option<Offset>,
    /// The JSON object, see [`NewEvent::body`].
    pub body: Bytes,
}

impl Event {
    /// The body as text.
    pub fn body_str(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// The name of the action that this says was executed; `None` when it is an event of another type.
    pub fn action_name(&self) -> Option<String> {
        action_name(self.shape, &self.event_type, &self.body)
    }
}

/// What an event is to us. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A tracker event: brokers publish it.
    Event,
    /// A tracker event of type `user` that waits for an answer: brokers publish it, and an assistant answers it.
    Message,
    /// A user message that waits for an answer of an assistant with a tracker of its own. Brokers do not see it, because the
    /// tracker event of the message will come from that tracker.
    Prompt,
    /// The tracker of the conversation was replaced up to here (`PUT …/tracker/events`). Only the tracker API reads it.
    Replacement,
    /// One that a newer Trunkline has written. It stays where it is, and nobody is shown it.
    Unknown(u8),
}

impl Kind {
    /// The kind that is stored as `number`.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Event,
            1 => Self::Message,
            2 => Self::Prompt,
            3 => Self::Replacement,
            other => Self::Unknown(other),
        }
    }

    /// The number it is stored as.
    pub fn number(self) -> u8 {
        match self {
            Self::Event => 0,
            Self::Message => 1,
            Self::Prompt => 2,
            Self::Replacement => 3,
            Self::Unknown(number) => number,
        }
    }

    /// Whether brokers publish it.
    pub fn is_published(self) -> bool {
        matches!(self, Self::Event | Self::Message)
    }

    /// Whether an assistant is to answer it.
    pub fn wants_answer(self) -> bool {
        matches!(self, Self::Message | Self::Prompt)
    }
}

/// An event to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Its part in the gateway.
    pub kind: Kind,
    /// Where its members stand.
    pub shape: Shape,
    /// The conversation.
    pub conversation: CompactString,
    /// The person behind the conversation, where the event names one.
    pub user: Option<Box<str>>,
    /// The session of the conversation, where the event names one.
    pub session: Option<Box<str>>,
    /// Rasa's name of the type.
    pub event_type: CompactString,
    /// The channel through which the conversation is going, when known.
    pub channel: Option<CompactString>,
    /// The message that this answers: of a turn that answers several, the last of them.
    pub answers: Option<Offset>,
    /// The JSON object, one line of text. A flat one is in [`Layout::Dumps`] and begins with `sender_id`; one of another shape is as
    /// it came.
    pub body: Bytes,
}

impl NewEvent {
    /// A flat event of a type and a conversation, and nothing known beside.
    pub fn new(kind: Kind, conversation: &str, event_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            kind,
            shape: Shape::Flat,
            conversation: conversation.into(),
            user: None,
            session: None,
            event_type: event_type.into(),
            channel: None,
            answers: None,
            body: body.into(),
        }
    }

    /// The same event, of a conversation that goes through `channel`.
    #[must_use]
    pub fn with_channel(self, channel: Option<&str>) -> Self {
        Self { channel: channel.map(CompactString::from), ..self }
    }

    /// The event as it stands at `offset` of `journal` when it was appended at `time`.
    pub fn recorded(self, journal: JournalId, time: Timestamp, offset: Offset) -> Event {
        let Self { kind, shape, conversation, user, session, event_type, channel, answers, body } = self;
        let id = EventId::derive(journal, time, offset);
        Event { offset, id, time, kind, shape, conversation, user, session, event_type, channel, answers, body }
    }

    /// The name of the action that this says was executed; `None` when it is an event of another type.
    pub fn action_name(&self) -> Option<String> {
        action_name(self.shape, &self.event_type, &self.body)
    }

    /// Reads the text of a tracker event that somebody else made; see [`NewEvent::from_document`].
    pub fn parse(source: &[u8], conversation: Option<&str>, now: f64) -> Result<Self, EventError> {
        Self::from_document(&json::lay_out_input(source, Layout::Dumps)?, source, conversation, now)
    }

    /// A tracker event that somebody else made, checked; `source` is the text that `document` was read from.
    ///
    /// A flat event is laid out anew. `conversation` wins over a `sender_id` in the object; without either there is an error. A
    /// timestamp that is missing, null or zero becomes `now`, in Unix seconds. All other members stay as they are, in their order.
    ///
    /// One of another shape stays as it came, byte for byte, so it must name the conversation itself. It is laid out anew only
    /// when it is more than one line or not ASCII, because receivers take a line for an event, and Rasa writes no other.
    pub fn from_document(document: &Document, source: &[u8], conversation: Option<&str>, now: f64) -> Result<Self, EventError> {
        if !document.is_object() {
            return Err(EventError::NotAnObject);
        }
        let (shape, wanted) = (Shape::of(document), conversation);
        let members = shape.members(document);
        let named = members.conversation.as_deref();
        let (conversation, member) = match shape {
            Shape::Flat | Shape::Unknown(_) => (conversation.or(named), "sender_id"),
            Shape::Nested => (named, "conversation_id"),
        };
        let conversation = conversation.ok_or(EventError::NoConversation { member })?;
        check_name(conversation, member)?;
        if let Some(expected) = wanted
            && expected != conversation
            && shape == Shape::Nested
        {
            return Err(EventError::OtherConversation { expected: expected.to_owned() });
        }
        let event_type = members.event_type.as_deref().unwrap_or_default();
        if shape == Shape::Flat && event_type.is_empty() {
            return Err(EventError::NoType);
        }
        check_length(event_type, if shape == Shape::Flat { "event" } else { "payload" })?;
        check_channel(members.channel.as_deref().unwrap_or_default())?;
        shape.check(document)?;
        let body = match shape {
            Shape::Flat => flat_body(document, &members, conversation, now).into(),
            Shape::Nested | Shape::Unknown(_) => body_as_it_came(document, source),
        };
        Ok(Self {
            shape,
            user: members.user.as_deref().map(Box::from),
            session: members.session.as_deref().map(Box::from),
            channel: members.channel.as_deref().map(CompactString::from),
            ..Self::new(Kind::Event, conversation, event_type, body)
        })
    }

    /// The `user` event of a message, as `kind`.
    pub fn user(message: &UserMessage, kind: Kind, now: f64) -> Self {
        let event = Self::new(kind, &message.sender_id, "user", message.to_event(now));
        let [user, session] = message.user_and_session();
        Self { user, session, ..event.with_channel(message.input_channel.as_deref()) }
    }

    /// The `bot` event of what the assistant said.
    pub fn bot(message: &BotMessage, conversation: &str, channel: Option<&str>, now: f64) -> Self {
        Self::new(Kind::Event, conversation, "bot", message.to_event(conversation, now)).with_channel(channel)
    }

    /// The `action` event with which a turn ends.
    pub fn action_listen(conversation: &str, channel: Option<&str>, now: f64) -> Self {
        Self::action(conversation, channel, "action_listen", "null", now)
    }

    /// The three events with which a session starts, in Rasa's order: `action_session_start`, `session_started`,
    /// `action_listen`.
    pub fn session_start(conversation: &str, channel: Option<&str>, now: f64) -> [Self; 3] {
        let body = format!(
            "{{\"sender_id\": {}, \"event\": \"session_started\", \"timestamp\": {}}}",
            json::quote(conversation, Layout::Dumps),
            number(now)
        );
        [
            Self::action(conversation, channel, "action_session_start", "1.0", now),
            Self::new(Kind::Event, conversation, "session_started", body).with_channel(channel),
            Self::action(conversation, channel, "action_listen", "null", now),
        ]
    }

    fn action(conversation: &str, channel: Option<&str>, name: &str, confidence: &str, now: f64) -> Self {
        let body = format!(
            "{{\"sender_id\": {}, \"event\": \"action\", \"timestamp\": {}, \"name\": \"{name}\", \"policy\": null, \
             \"confidence\": {confidence}, \"action_text\": null, \"hide_rule_turn\": false}}",
            json::quote(conversation, Layout::Dumps),
            number(now)
        );
        Self::new(Kind::Event, conversation, "action", body).with_channel(channel)
    }
}

/// A flat event in the layout in which Rasa publishes it, with a conversation and a time.
fn flat_body(document: &Document, members: &Members<'_>, conversation: &str, now: f64) -> String {
    let timestamp = members.time.filter(|raw| raw.parse::<f64>() != Ok(0.0));
    let mut body = String::with_capacity(document.as_str().len() + 64);
    body.push_str("{\"sender_id\": ");
    body.push_str(&json::quote(conversation, Layout::Dumps));
    for (key, value) in document.members() {
        match key {
            "\"sender_id\"" => continue,
            "\"timestamp\"" if timestamp.is_none() => continue,
            _ => {}
        }
        body.push_str(", ");
        body.push_str(key);
        body.push_str(": ");
        body.push_str(value);
        if key == "\"event\"" && timestamp.is_none() {
            body.push_str(", \"timestamp\": ");
            body.push_str(&number(now));
        }
    }
    body.push('}');
    body
}

fn body_as_it_came(document: &Document, source: &[u8]) -> Bytes {
    let source = source.trim_ascii();
    let is_a_line = source.is_ascii() && !source.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    Bytes::copy_from_slice(if is_a_line { source } else { document.as_str().as_bytes() })
}

fn action_name(shape: Shape, event_type: &str, body: &[u8]) -> Option<String> {
    if event_type != "action" {
        return None;
    }
    let document = json::lay_out(body, Layout::Dumps).ok()?;
    let payload = shape::payload(shape, &document)?;
    payload.get_str("name").map(Into::into)
}

/// Checks that `conversation` can be the id of a conversation everywhere: 1 to [`MAX_NAME_CHARS`] characters and no NUL, which
/// PostgreSQL does not store.
pub fn check_conversation(conversation: &str) -> Result<(), EventError> {
    check_name(conversation, "sender_id")
}

/// Checks that `channel` can be the name of a channel: [`MAX_NAME_CHARS`] characters at the most and no NUL.
pub fn check_channel(channel: &str) -> Result<(), EventError> {
    check_length(channel, "input_channel")
}

fn check_name(name: &str, member: &'static str) -> Result<(), EventError> {
    if name.is_empty() {
        return Err(EventError::Member { member, expected: "at least one character" });
    }
    check_length(name, member)
}

fn check_length(name: &str, member: &'static str) -> Result<(), EventError> {
    let expected = if name.contains('\0') {
        "no NUL character"
    } else if name.len() > MAX_NAME_CHARS && name.chars().count() > MAX_NAME_CHARS {
        "255 characters at most"
    } else {
        return Ok(());
    };
    Err(EventError::Member { member, expected })
}

/// Why a JSON value is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The text is no JSON.
    #[error("no JSON: {0}")]
    Json(#[from] json::Error),
    /// The value is not an object.
    #[error("an event is a JSON object")]
    NotAnObject,
    /// There is no `event` member, or it is not a name.
    #[error("an event needs a member `event` with the name of its type, as in {{\"event\": \"restart\"}}")]
    NoType,
    /// It names no conversation.
    #[error("an event needs a member `{member}` with the id of its conversation")]
    NoConversation {
        /// The name of that member.
        member: &'static str,
    },
    /// It is nested, and has nothing inside.
    #[error(
        "an event with a `conversation_id` needs a payload, which is called after the type, as in {{\"conversation_id\": \"c\", \"user\": {{…}}}}"
    )]
    NoPayload,
    /// It is nested and kept as it is, so it cannot be given another conversation than the one that it names.
    #[error("`conversation_id` must be {expected:?}, the conversation that the event is appended to")]
    OtherConversation {
        /// The id that it must name.
        expected: String,
    },
    /// A member has a value that it cannot have.
    #[error("`{member}` must be {expected}")]
    Member {
        /// Its name.
        member: &'static str,
        /// The values that it may have.
        expected: &'static str,
    },
}

impl EventError {
    /// The member that is at fault.
    pub fn member(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::NotAnObject => "",
            Self::NoType => "event",
            Self::NoPayload | Self::OtherConversation { .. } => "conversation_id",
            Self::NoConversation { member } | Self::Member { member, .. } => member,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str, conversation: Option<&str>) -> Result<NewEvent, EventError> {
        NewEvent::parse(text.as_bytes(), conversation, 7.5)
    }

    fn body(text: &str) -> String {
        String::from_utf8(event(text, Some("u")).unwrap().body.to_vec()).unwrap()
    }

    #[test]
    fn unknown_types_and_members_pass_in_their_order() {
        assert_eq!(
            body(r#"{"zeta":[1.50],"event":"my_own","timestamp":3,"alpha":{"é":null}}"#),
            r#"{"sender_id": "u", "zeta": [1.50], "event": "my_own", "timestamp": 3, "alpha": {"\u00e9": null}}"#
        );
    }

    #[test]
    fn what_rasa_published_stays_the_same_byte_for_byte() {
        let line = r#"{"sender_id": "u", "event": "restart", "timestamp": 1795248186.2937574, "metadata": {"model_id": "x"}}"#;
        assert_eq!(body(line), line);
    }

    #[test]
    fn a_timestamp_that_says_nothing_becomes_now() {
        for given in
            [r#"{"event":"restart"}"#, r#"{"event":"restart","timestamp":null}"#, r#"{"timestamp":0.0,"event":"restart"}"#]
        {
            assert_eq!(body(given), r#"{"sender_id": "u", "event": "restart", "timestamp": 7.5}"#);
        }
    }

    #[test]
    fn the_conversation_of_the_path_wins() {
        assert_eq!(event(r#"{"event":"restart","sender_id":"other"}"#, Some("u")).unwrap().conversation, "u");
        assert_eq!(event(r#"{"event":"restart","sender_id":"other"}"#, None).unwrap().conversation, "other");
    }

    #[test]
    fn types_and_channels_have_255_characters_at_the_most() {
        for (length, is_fine) in [(255, true), (256, false)] {
            let name = "é".repeat(length);
            for (text, member) in [
                (format!(r#"{{"event": "{name}"}}"#), "event"),
                (format!(r#"{{"event": "user", "input_channel": "{name}"}}"#), "input_channel"),
                (format!(r#"{{"conversation_id": "u", "{name}": {{}}}}"#), "payload"),
                (format!(r#"{{"conversation_id": "u", "user": {{"input_channel": "{name}"}}}}"#), "input_channel"),
            ] {
                let refused = EventError::Member { member, expected: "255 characters at most" };
                assert_eq!(event(&text, Some("u")).err(), (!is_fine).then_some(refused), "{text}");
            }
        }
        for text in [r#"{"event": "a\u0000"}"#, r#"{"event": "user", "input_channel": "\u0000"}"#] {
            assert!(event(text, Some("u")).unwrap_err().to_string().ends_with("must be no NUL character"), "{text}");
        }
        assert!(event(r#"{"event": "user", "input_channel": ""}"#, Some("u")).is_ok());
    }

    #[test]
    fn what_is_no_event_is_refused_by_name() {
        for (text, member) in [
            ("[", ""),
            ("[]", ""),
            ("{}", "event"),
            (r#"{"event":""}"#, "event"),
            (r#"{"event":5}"#, "event"),
            (r#"{"event":"user","timestamp":"now"}"#, "timestamp"),
            (r#"{"event":"user","metadata":[]}"#, "metadata"),
            (r#"{"event":"slot","name":"size"}"#, "name"),
        ] {
            assert_eq!(event(text, Some("u")).unwrap_err().member(), member, "{text}");
        }
        assert_eq!(event(r#"{"event":"user"}"#, None).unwrap_err(), EventError::NoConversation { member: "sender_id" });
        assert_eq!(event(r#"{"event":"user"}"#, Some("")).unwrap_err().member(), "sender_id");
        assert_eq!(event(r#"{"event":"user"}"#, Some("a\0")).unwrap_err().member(), "sender_id");
        assert!(event(r#"{"event":"user"}"#, Some(&"é".repeat(255))).is_ok());
        assert!(event(r#"{"event":"user"}"#, Some(&"é".repeat(256))).is_err());
    }
    #[test]
    fn a_nested_event_stays_as_it_came() {
        let spaced =
            r#"{"conversation_id": "c1", "timestamp": 0, "user": {"text": "h\u00e9/", "input_channel": "rest"}, "user_id": 7}"#;
        let compact =
            r#"{"timestamp":1.50,"user":{"text":"h\u00E9\/","input_channel":"rest"},"conversation_id":"c1","user_id":"7"}"#;
        for (text, expected) in [
            (spaced.to_owned(), spaced),
            (format!(" {compact}\r\n"), compact),
            (spaced.replace("\\u00e9", "é"), spaced),
            (spaced.replace(", ", ",\n "), spaced),
        ] {
            let event = event(&text, None).unwrap();
            assert_eq!(event.body, expected.as_bytes(), "{text}");
            assert_eq!((event.shape, event.kind, event.answers), (Shape::Nested, Kind::Event, None));
            assert_eq!((event.conversation.as_str(), event.event_type.as_str()), ("c1", "user"));
            assert_eq!((event.user.as_deref(), event.channel.as_deref()), (Some("7"), Some("rest")));
        }
    }

    #[test]
    fn a_nested_event_belongs_to_the_conversation_that_it_names() {
        let text = r#"{"conversation_id": "c1", "restarted": {}}"#;
        assert!(event(text, Some("c1")).is_ok());
        assert_eq!(
            event(text, Some("c2")).unwrap_err().to_string(),
            "`conversation_id` must be \"c2\", the conversation that the event is appended to"
        );
        for (text, member) in [
            (r#"{"conversation_id": "", "user": {}}"#, "conversation_id"),
            (r#"{"conversation_id": 5, "user": {}}"#, "conversation_id"),
            (r#"{"conversation_id": null, "user": {}}"#, "conversation_id"),
            (r#"{"conversation_id": "c"}"#, "conversation_id"),
        ] {
            for wanted in [None, Some("c")] {
                assert_eq!(event(text, wanted).unwrap_err().member(), member, "{text}");
            }
        }
    }

    #[test]
    fn the_person_and_the_session_are_lifted_out_unless_their_names_are_endless() {
        let name = |event: NewEvent| (event.user.map(String::from), event.session.map(String::from));
        let flat = r#"{"sender_id": "c", "event": "user", "user_id": "alice", "metadata": {"session_id": "s1"}}"#;
        assert_eq!(name(event(flat, None).unwrap()), (Some("alice".to_owned()), Some("s1".to_owned())));
        let message = UserMessage::new(Some("hi"), "c", None, Some(r#"{"user_id": "alice", "session_id": "s1"}"#));
        assert_eq!(name(NewEvent::user(&message, Kind::Message, 1.0)), (Some("alice".to_owned()), Some("s1".to_owned())));
        for (length, is_kept) in [(255, true), (256, false)] {
            let flat = format!(r#"{{"sender_id": "c", "event": "user", "user_id": "{}"}}"#, "a".repeat(length));
            assert_eq!(event(&flat, None).unwrap().user.is_some(), is_kept);
        }
    }

    #[test]
    fn kinds_and_shapes_that_are_not_known_keep_their_numbers() {
        for number in 0..=255 {
            assert_eq!((Kind::from_number(number).number(), Shape::from_number(number).number()), (number, number));
        }
        let unknown = Kind::from_number(200);
        assert!(!unknown.is_published() && !unknown.wants_answer());
    }

    #[test]
    fn an_action_is_told_by_its_member_and_not_by_its_text() {
        let name = |text: &str| {
            let new = event(text, None).unwrap();
            let name = new.action_name();
            // The same on record.
            assert_eq!(new.recorded(JournalId::random(), Timestamp(1), 1).action_name(), name);
            name
        };
        assert_eq!(name(r#"{"sender_id": "c", "event": "action", "name": "action_listen"}"#).as_deref(), Some("action_listen"));
        assert_eq!(name(r#"{"sender_id": "c", "event": "action", "name": null, "x": {"name": "action_listen"}}"#), None);
        assert_eq!(name(r#"{"sender_id": "c", "event": "slot", "name": "action_listen", "value": 1}"#), None);
        assert_eq!(name(r#"{"conversation_id": "c", "action": {"name": "a"}, "name": "b"}"#).as_deref(), Some("a"));
    }
}
