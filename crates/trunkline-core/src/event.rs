//! Events: one JSON object each, with a few fields lifted out so that nobody has to parse the body again.

use bytes::Bytes;
use compact_str::CompactString;

use crate::json::{self, Document, Layout};
use crate::message::number;
use crate::{BotMessage, EventId, Offset, Timestamp, UserMessage};

/// The longest conversation id accepted, in characters: what the `sender_id` column of Rasa's SQL tables holds.
pub const MAX_CONVERSATION_CHARS: usize = 255;

/// An event as it stands in the journal. Shared by all who read it; the body is never serialised again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its position.
    pub offset: Offset,
    /// Its stable id.
    pub id: EventId,
    /// When it was appended. Never decreases from one offset to the next.
    pub time: Timestamp,
    /// What it is to us.
    pub kind: Kind,
    /// The conversation, Rasa's `sender_id`.
    pub conversation: CompactString,
    /// Rasa's name of the type, as `user`.
    pub event_type: CompactString,
    /// The channel through which the conversation was going, when known.
    pub channel: Option<CompactString>,
    /// The JSON object, in [`Layout::Dumps`], beginning with `sender_id`.
    pub body: Bytes,
}

impl Event {
    /// The body as text.
    pub fn body_str(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}

/// What an event is to us. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A tracker event: brokers publish it.
    Event = 0,
    /// A tracker event of type `user` that waits for an answer: brokers publish it, and an assistant answers it.
    Message = 1,
    /// A user message that waits for an answer of an assistant with a tracker of its own. Brokers do not see it, because the
    /// tracker event of the message will come from that tracker.
    Prompt = 2,
    /// The tracker of the conversation was replaced up to here (`PUT …/tracker/events`). Only the tracker API reads it.
    Replacement = 3,
}

impl Kind {
    /// The kind that is stored as `number`.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Event, Self::Message, Self::Prompt, Self::Replacement].into_iter().find(|kind| *kind as u8 == number)
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
    /// What it is to us.
    pub kind: Kind,
    /// The conversation.
    pub conversation: CompactString,
    /// Rasa's name of the type.
    pub event_type: CompactString,
    /// The channel through which the conversation is going, when known.
    pub channel: Option<CompactString>,
    /// The JSON object, in [`Layout::Dumps`], beginning with `sender_id`.
    pub body: Bytes,
}

impl NewEvent {
    /// A tracker event that somebody else made, checked and laid out.
    ///
    /// `conversation` wins over a `sender_id` in the object; without either there is an error. A timestamp that is missing,
    /// null or zero becomes `now`, in Unix seconds. All other members stay as they are, in their order.
    pub fn from_document(document: &Document, conversation: Option<&str>, now: f64) -> Result<Self, EventError> {
        if !document.is_object() {
            return Err(EventError::NotAnObject);
        }
        let named = document.get_str("sender_id");
        let conversation = conversation.or(named.as_deref()).ok_or(EventError::NoConversation)?;
        check_conversation(conversation)?;
        let event_type = document.get_str("event").filter(|name| !name.is_empty()).ok_or(EventError::NoType)?;
        if !matches!(document.get("metadata"), None | Some("null"))
            && !document.get("metadata").is_some_and(|raw| raw.starts_with('{'))
        {
            return Err(EventError::Member { member: "metadata", expected: "an object or null" });
        }
        if event_type == "slot" && (document.get_str("name").is_none() || document.get("value").is_none()) {
            return Err(EventError::Member { member: "name", expected: "a string, with a `value` beside it, as for every slot" });
        }
        let timestamp = given_timestamp(document)?;

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
        Ok(Self {
            kind: Kind::Event,
            conversation: conversation.into(),
            channel: document.get_str("input_channel").map(CompactString::from),
            event_type: event_type.into(),
            body: body.into(),
        })
    }

    /// The `user` event of a message, as `kind`.
    pub fn user(message: &UserMessage, kind: Kind, now: f64) -> Self {
        Self {
            kind,
            conversation: message.sender_id.as_str().into(),
            event_type: CompactString::const_new("user"),
            channel: message.input_channel.as_deref().map(CompactString::from),
            body: message.to_event(now).into(),
        }
    }

    /// The `bot` event of what the assistant said.
    pub fn bot(message: &BotMessage, conversation: &str, channel: Option<&str>, now: f64) -> Self {
        Self {
            kind: Kind::Event,
            conversation: conversation.into(),
            event_type: CompactString::const_new("bot"),
            channel: channel.map(CompactString::from),
            body: message.to_event(conversation, now).into(),
        }
    }

    /// The `action` event with which a turn ends.
    pub fn action_listen(conversation: &str, channel: Option<&str>, now: f64) -> Self {
        Self::action(conversation, channel, "action_listen", "null", now)
    }

    /// The three events with which a session starts, in Rasa's order: `action_session_start`, `session_started`,
    /// `action_listen`.
    pub fn session_start(conversation: &str, channel: Option<&str>, now: f64) -> [Self; 3] {
        let started = Self {
            kind: Kind::Event,
            conversation: conversation.into(),
            event_type: CompactString::const_new("session_started"),
            channel: channel.map(CompactString::from),
            body: format!(
                "{{\"sender_id\": {}, \"event\": \"session_started\", \"timestamp\": {}}}",
                json::quote(conversation, Layout::Dumps),
                number(now)
            )
            .into(),
        };
        [
            Self::action(conversation, channel, "action_session_start", "1.0", now),
            started,
            Self::action(conversation, channel, "action_listen", "null", now),
        ]
    }

    fn action(conversation: &str, channel: Option<&str>, name: &str, confidence: &str, now: f64) -> Self {
        Self {
            kind: Kind::Event,
            conversation: conversation.into(),
            event_type: CompactString::const_new("action"),
            channel: channel.map(CompactString::from),
            body: format!(
                "{{\"sender_id\": {}, \"event\": \"action\", \"timestamp\": {}, \"name\": \"{name}\", \"policy\": null, \
                 \"confidence\": {confidence}, \"action_text\": null, \"hide_rule_turn\": false}}",
                json::quote(conversation, Layout::Dumps),
                number(now)
            )
            .into(),
        }
    }
}

/// The timestamp as it was given; `None` when it is missing, null or zero.
fn given_timestamp(document: &Document) -> Result<Option<&str>, EventError> {
    match document.get("timestamp") {
        None | Some("null") => Ok(None),
        Some(raw) if raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            Ok((raw.parse::<f64>() != Ok(0.0)).then_some(raw))
        }
        Some(_) => Err(EventError::Member { member: "timestamp", expected: "a number of Unix seconds or null" }),
    }
}

/// Checks that `conversation` can be the id of a conversation everywhere: 1 to [`MAX_CONVERSATION_CHARS`] characters and no
/// NUL, which PostgreSQL does not store.
pub fn check_conversation(conversation: &str) -> Result<(), EventError> {
    let expected = if conversation.is_empty() {
        "at least one character"
    } else if conversation.contains('\0') {
        "no NUL character"
    } else if conversation.len() > MAX_CONVERSATION_CHARS && conversation.chars().count() > MAX_CONVERSATION_CHARS {
        "255 characters at most"
    } else {
        return Ok(());
    };
    Err(EventError::Member { member: "sender_id", expected })
}

/// Why a JSON value is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The value is not an object.
    #[error("an event is a JSON object")]
    NotAnObject,
    /// There is no `event` member, or it is not a name.
    #[error("an event needs a member `event` with the name of its type, as in {{\"event\": \"restart\"}}")]
    NoType,
    /// There is no `sender_id` member.
    #[error("an event needs a member `sender_id` with the id of its conversation")]
    NoConversation,
    /// A member has a value that it cannot have.
    #[error("`{member}` must be {expected}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What it must be.
        expected: &'static str,
    },
}

impl EventError {
    /// The member that is at fault.
    pub fn member(&self) -> &'static str {
        match self {
            Self::NotAnObject => "",
            Self::NoType => "event",
            Self::NoConversation => "sender_id",
            Self::Member { member, .. } => member,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str, conversation: Option<&str>) -> Result<NewEvent, EventError> {
        NewEvent::from_document(&json::lay_out(text.as_bytes(), Layout::Dumps).unwrap(), conversation, 7.5)
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
    fn what_is_no_event_is_refused_by_name() {
        for (text, member) in [
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
        assert_eq!(event(r#"{"event":"user"}"#, None).unwrap_err(), EventError::NoConversation);
        assert_eq!(event(r#"{"event":"user"}"#, Some("")).unwrap_err().member(), "sender_id");
        assert_eq!(event(r#"{"event":"user"}"#, Some("a\0")).unwrap_err().member(), "sender_id");
        assert!(event(r#"{"event":"user"}"#, Some(&"é".repeat(255))).is_ok());
        assert!(event(r#"{"event":"user"}"#, Some(&"é".repeat(256))).is_err());
    }
}
