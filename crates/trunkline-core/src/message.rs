//! What people and assistants say to each other.

use uuid::Uuid;

use crate::json::{self, Document, Layout};
use crate::{Event, shape};

/// The conversation of a message that names no sender, as in Rasa.
pub const DEFAULT_SENDER: &str = "default";

/// A message from a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserMessage {
    /// What was written; absent when the channel gave none.
    pub text: Option<String>,
    /// The conversation.
    pub sender_id: String,
    /// Identifies the message: 32 hexadecimal digits unless the channel had an id of its own.
    pub message_id: String,
    /// The name of the channel it came through; absent for messages posted to the HTTP API.
    pub input_channel: Option<String>,
    /// What the channel attached: JSON in [`Layout::Dumps`], `{}` when nothing.
    pub metadata: String,
}

impl UserMessage {
    /// A message with a fresh id, its text stripped of white space around it, as Rasa does.
    pub fn new(text: Option<&str>, sender_id: &str, input_channel: Option<&str>, metadata: Option<&str>) -> Self {
        Self {
            text: text.map(|text| text.trim().to_owned()),
            sender_id: if sender_id.is_empty() { DEFAULT_SENDER } else { sender_id }.to_owned(),
            message_id: Uuid::new_v4().simple().to_string(),
            input_channel: input_channel.map(str::to_owned),
            metadata: metadata.filter(|raw| *raw != "null").unwrap_or("{}").to_owned(),
        }
    }

    /// The body of the `user` event at `timestamp`, in Rasa's order of keys, with the parse data that Rasa writes when no
    /// model interpreted the text.
    pub fn to_event(&self, timestamp: f64) -> String {
        let quote = |text: &str| json::quote(text, Layout::Dumps);
        let optional = |text: &Option<String>| text.as_deref().map_or_else(|| "null".to_owned(), quote);
        let (text, id, metadata) = (optional(&self.text), quote(&self.message_id), &self.metadata);
        let (before, after) = match metadata.as_str() {
            "{}" => (String::new(), ", \"metadata\": {}"),
            given => (format!(", \"metadata\": {given}"), ""),
        };
        format!(
            "{{\"sender_id\": {sender}, \"event\": \"user\", \"timestamp\": {timestamp}{before}, \"text\": {text}, \
             \"parse_data\": {{\"intent\": {{\"name\": null, \"confidence\": 0.0}}, \"entities\": [], \"text\": {text}, \
             \"message_id\": {id}, \"metadata\": {metadata}}}, \"input_channel\": {channel}, \"message_id\": {id}{after}}}",
            sender = quote(&self.sender_id),
            timestamp = number(timestamp),
            channel = optional(&self.input_channel),
        )
    }

    /// The person who wrote it and the session, where the channel gave a `user_id` and a `session_id` in the metadata.
    pub(crate) fn user_and_session(&self) -> [Option<Box<str>>; 2] {
        if self.metadata == "{}" {
            return [None, None];
        }
        let metadata = json::lay_out(self.metadata.as_bytes(), Layout::Dumps).ok();
        ["user_id", "session_id"].map(|key| shape::name(metadata.as_ref()?, key).map(|name| name.as_ref().into()))
    }

    /// Reads what [`UserMessage::to_event`] wrote.
    pub fn from_event(body: &[u8]) -> Option<Self> {
        let event = json::lay_out(body, Layout::Dumps).ok()?;
        Some(Self {
            text: event.get_str("text").map(Into::into),
            sender_id: event.get_str("sender_id")?.into(),
            message_id: event.get_str("message_id")?.into(),
            input_channel: event.get_str("input_channel").map(Into::into),
            metadata: event.get("metadata").unwrap_or("{}").to_owned(),
        })
    }
}

/// A message from the assistant: a text and the other kinds that Rasa's channels know. All but the text are JSON in
/// [`Layout::Dumps`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BotMessage {
    /// What is said.
    pub text: Option<String>,
    /// Buttons below the text: a list of `{"title", "payload", …}`.
    pub buttons: Option<String>,
    /// Quick replies below the text, in the form of buttons; they win over buttons.
    pub quick_replies: Option<String>,
    /// Cards: a list of `{"title", "subtitle", "buttons", …}`.
    pub elements: Option<String>,
    /// Any JSON that the channel understands.
    pub custom: Option<String>,
    /// The address of an image: a JSON string.
    pub image: Option<String>,
    /// A file: a JSON string or object.
    pub attachment: Option<String>,
    /// What else the assistant gave: a JSON object, `{}` or empty when nothing.
    pub metadata: String,
}

impl BotMessage {
    /// A message that is only a text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// Reads one message as Rasa's REST channel sends it: `{"text", "buttons", "image", "attachment", "custom", …}`.
    /// `None` when `object` is no JSON object or its text is no string.
    pub fn from_reply(object: &str) -> Option<Self> {
        let reply = json::lay_out(object.as_bytes(), Layout::Dumps).ok().filter(json::Document::is_object)?;
        let present = |key| reply.get(key).filter(|raw| !matches!(*raw, "null")).map(str::to_owned);
        let text = match present("text") {
            Some(raw) => Some(json::unquote(&raw)?.into_owned()),
            None => None,
        };
        Some(Self {
            text,
            buttons: present("buttons"),
            quick_replies: present("quick_replies"),
            elements: present("elements"),
            custom: present("custom"),
            image: present("image"),
            attachment: present("attachment"),
            metadata: present("metadata").filter(|raw| raw.starts_with('{')).unwrap_or_default(),
        })
    }

    /// The body of the `bot` event at `timestamp`, in Rasa's order of keys. As there, the attachment repeats the image when
    /// nothing else is attached.
    pub fn to_event(&self, sender_id: &str, timestamp: f64) -> String {
        let quote = |text: &str| json::quote(text, Layout::Dumps);
        let raw = |value: &Option<String>| value.as_deref().unwrap_or("null").to_owned();
        let (before, after) = match self.metadata.as_str() {
            "" | "{}" => (String::new(), ", \"metadata\": {}"),
            given => (format!(", \"metadata\": {given}"), ""),
        };
        format!(
            "{{\"sender_id\": {sender}, \"event\": \"bot\", \"timestamp\": {timestamp}{before}, \"text\": {text}, \
             \"data\": {{\"elements\": {elements}, \"quick_replies\": {quick_replies}, \"buttons\": {buttons}, \
             \"attachment\": {attachment}, \"image\": {image}, \"custom\": {custom}}}{after}}}",
            sender = quote(sender_id),
            timestamp = number(timestamp),
            text = self.text.as_deref().map_or_else(|| "null".to_owned(), quote),
            elements = raw(&self.elements),
            quick_replies = raw(&self.quick_replies),
            buttons = raw(&self.buttons),
            attachment = raw(if self.attachment.is_some() { &self.attachment } else { &self.image }),
            image = raw(&self.image),
            custom = raw(&self.custom),
        )
    }

    /// Reads a `bot` event, ours or that of an assistant, whatever its shape.
    pub fn from_event(event: &Event) -> Option<Self> {
        let document = json::lay_out(&event.body, Layout::Dumps).ok()?;
        Self::from_payload(&*shape::payload(event.shape, &document)?)
    }

    /// Reads the object that holds the `text` and the `data` of a `bot` event.
    pub fn from_payload(payload: &Document) -> Option<Self> {
        let data = payload.get("data").unwrap_or("{}").to_owned();
        let mut message = Self::from_reply(&data)?;
        message.text = payload.get_str("text").map(Into::into);
        payload.get("metadata").unwrap_or_default().clone_into(&mut message.metadata);
        if message.attachment == message.image {
            message.attachment = None;
        }
        Some(message)
    }
}

/// A float as Python's `repr` writes it, for the range of timestamps.
pub(crate) fn number(value: f64) -> String {
    format!("{value:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_event_has_rasas_keys_in_rasas_order() {
        let message = UserMessage {
            text: Some("hé".into()),
            sender_id: "u1".into(),
            message_id: "c0a9".into(),
            input_channel: Some("rest".into()),
            metadata: "{\"k\": 1}".into(),
        };
        assert_eq!(
            message.to_event(1_528_402_837.617_099),
            r#"{"sender_id": "u1", "event": "user", "timestamp": 1528402837.617099, "metadata": {"k": 1}, "text": "h\u00e9", "parse_data": {"intent": {"name": null, "confidence": 0.0}, "entities": [], "text": "h\u00e9", "message_id": "c0a9", "metadata": {"k": 1}}, "input_channel": "rest", "message_id": "c0a9"}"#
        );
        assert_eq!(UserMessage::from_event(message.to_event(1.0).as_bytes()), Some(message));
    }

    #[test]
    fn empty_metadata_comes_last() {
        let message = UserMessage { message_id: "m".into(), ..UserMessage::new(Some(" hi "), "", None, None) };
        let event = message.to_event(2.0);
        assert!(event.starts_with(r#"{"sender_id": "default", "event": "user", "timestamp": 2.0, "text": "hi", "#), "{event}");
        assert!(event.ends_with(r#""input_channel": null, "message_id": "m", "metadata": {}}"#), "{event}");
    }

    #[test]
    fn bot_event_repeats_the_image_as_attachment() {
        let message =
            BotMessage { text: Some("look".into()), image: Some("\"https://x/y.png\"".into()), ..BotMessage::default() };
        let event = message.to_event("u1", 3.5);
        assert_eq!(
            event,
            r#"{"sender_id": "u1", "event": "bot", "timestamp": 3.5, "text": "look", "data": {"elements": null, "quick_replies": null, "buttons": null, "attachment": "https://x/y.png", "image": "https://x/y.png", "custom": null}, "metadata": {}}"#
        );
        let read = BotMessage::from_payload(&json::lay_out(event.as_bytes(), Layout::Dumps).unwrap()).unwrap();
        assert_eq!((read.image, read.attachment), (message.image, None));
    }

    #[test]
    fn replies_of_the_rest_channel_are_read() {
        let reply =
            BotMessage::from_reply(r#"{"recipient_id":"u1","text":"pick","buttons":[{"title":"A","payload":"\/a"}]}"#).unwrap();
        assert_eq!(reply.text.as_deref(), Some("pick"));
        assert_eq!(reply.buttons.as_deref(), Some(r#"[{"title": "A", "payload": "/a"}]"#));
        assert_eq!(BotMessage::from_reply("[]"), None);
        assert_eq!(BotMessage::from_reply(r#"{"text": 5}"#), None);
    }
}
