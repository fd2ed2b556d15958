//! Where the members of an event stand.
//!
//! Events come in several shapes: Rasa's flat object, the nested one of its newer engine, and others to come. Whoever handles an
//! event needs a few of its members whatever its shape: the conversation, the person, the type, the time, an id. [`Shape`] finds
//! them. What else an event holds is its own business, and its bytes reach receivers in the shape in which they came.

mod flat;
mod nested;

use std::borrow::Cow;

use crate::EventError;
use crate::json::Document;
use crate::limits::MAX_USER_BYTES;

/// Where the members of an event stand. The numbers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One object with everything beside each other: `{"sender_id", "event", "timestamp", …}`. Rasa 3, and CALM.
    #[default]
    Flat,
    /// An envelope with a payload that is called after the type: `{"conversation_id", "timestamp", …, "user": {…}}`. Mantle, the
    /// newer engine of Rasa Pro (`rasa.events.v1`, message `BrokerEvent`).
    Nested,
    /// One that a newer Trunkline has written. Its events are handed on as they are.
    Unknown(u8),
}

/// What is looked for in every event. Texts are decoded, numbers raw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members<'d> {
    /// The conversation.
    pub conversation: Option<Cow<'d, str>>,
    /// The person behind the conversation.
    pub user: Option<Cow<'d, str>>,
    /// The session of the conversation.
    pub session: Option<Cow<'d, str>>,
    /// The name of the type, as `user`; never empty.
    pub event_type: Option<Cow<'d, str>>,
    /// When it happened, in Unix seconds.
    pub time: Option<&'d str>,
    /// What tells it from all other events, where whoever made it has given it an id.
    pub id: Option<Cow<'d, str>>,
    /// Its number among the events of its conversation, beginning with 0.
    pub sequence: Option<u64>,
    /// The channel that it names.
    pub channel: Option<Cow<'d, str>>,
}

impl Shape {
    /// The shape of an object. As for Rasa's own reader, a member `event` makes it flat.
    pub fn of(document: &Document) -> Self {
        let is_nested = document.get("event").is_none() && document.get("conversation_id").is_some();
        if is_nested { Self::Nested } else { Self::Flat }
    }

    /// The shape that is stored as `number`.
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Flat,
            1 => Self::Nested,
            other => Self::Unknown(other),
        }
    }

    /// The number it is stored as.
    pub fn number(self) -> u8 {
        match self {
            Self::Flat => 0,
            Self::Nested => 1,
            Self::Unknown(number) => number,
        }
    }

    /// The members of `document`; none of a shape that is not known.
    pub fn members(self, document: &Document) -> Members<'_> {
        match self {
            Self::Flat => flat::members(document),
            Self::Nested => nested::members(document),
            Self::Unknown(_) => Members::default(),
        }
    }

    /// What is wrong with `document` as an event of this shape, beside a missing conversation or type.
    pub(crate) fn check(self, document: &Document) -> Result<(), EventError> {
        match self {
            Self::Flat => flat::check(document),
            Self::Nested => nested::check(document),
            Self::Unknown(_) => Ok(()),
        }
    }
}

/// The object that holds what the type is about: the event itself where it is flat, its payload where it is nested.
///
/// `None` when it cannot be found.
pub fn payload(shape: Shape, document: &Document) -> Option<Cow<'_, Document>> {
    match shape {
        Shape::Flat => Some(Cow::Borrowed(document)),
        Shape::Nested => nested::payload(document).map(Cow::Owned),
        Shape::Unknown(_) => None,
    }
}

/// The name of a user or of a session; `None` when there is none that can be looked for.
pub(crate) fn name<'d>(document: &'d Document, key: &str) -> Option<Cow<'d, str>> {
    word(document, key).filter(|name| name.len() <= MAX_USER_BYTES && !name.contains('\0'))
}

/// A text, or a number as it was written: people number their users.
fn word<'d>(document: &'d Document, key: &str) -> Option<Cow<'d, str>> {
    let raw = document.get(key)?;
    let is_number = raw.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let text = if is_number { Some(Cow::Borrowed(raw)) } else { document.get_str(key) };
    text.filter(|text| !text.is_empty())
}

/// Whether `raw` may stand where the time of an event does.
fn is_time(raw: &str) -> bool {
    raw == "null" || raw.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}
