//! Rasa's flat event.

use std::borrow::Cow;

use super::{Members, is_time, name};
use crate::EventError;
use crate::json::Document;

pub(super) fn members(document: &Document) -> Members<'_> {
    let text = |key| document.get_str(key).filter(|text| !text.is_empty());
    let mut user = name(document, "user_id");
    let mut session = None;
    // A channel gives the user in the metadata of a message, and from there Rasa takes it.
    if let Some(metadata) = document.object("metadata") {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        user = user.or_else(|| name(&metadata, "user_id").map(owned));
        session = name(&metadata, "session_id").map(owned);
    }
    Members {
        // The error that Rasa's Kafka broker puts in the place of an event that is too long is flat, and yet names its
        // conversation as the nested ones do.
        conversation: document.get_str("sender_id").or_else(|| document.get_str("conversation_id")),
        user,
        session,
        event_type: text("event"),
        time: document.get("timestamp").filter(|raw| *raw != "null"),
        id: None,
        sequence: None,
        channel: document.get_str("input_channel"),
    }
}

pub(super) fn check(document: &Document) -> Result<(), EventError> {
    if !document.get("metadata").is_none_or(|raw| raw == "null" || raw.starts_with('{')) {
        return Err(EventError::Member { member: "metadata", expected: "an object or null" });
    }
    let is_slot = document.get_str("event").as_deref() == Some("slot");
    if is_slot && (document.get_str("name").is_none() || document.get("value").is_none()) {
        return Err(EventError::Member { member: "name", expected: "a string, with a `value` beside it, as for every slot" });
    }
    if !document.get("timestamp").is_none_or(is_time) {
        return Err(EventError::Member { member: "timestamp", expected: "a number of Unix seconds or null" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::json::{Layout, lay_out};
    use crate::shape::Shape;

    fn found(text: &str) -> String {
        let document = lay_out(text.as_bytes(), Layout::Dumps).unwrap();
        let members = Shape::of(&document).members(&document);
        let text = |member: &Option<std::borrow::Cow<'_, str>>| member.as_deref().unwrap_or("-").to_owned();
        assert_eq!((members.id.as_ref(), members.sequence), (None, None));
        [&members.conversation, &members.user, &members.session, &members.event_type, &members.channel].map(text).join(" ")
    }

    #[test]
    fn members_are_found_where_rasa_puts_them() {
        for (text, expected) in [
            (r#"{"sender_id": "u", "event": "restart"}"#, "u - - restart -"),
            (
                r#"{"sender_id": "u", "user_id": "al", "event": "user", "metadata": {"session_id": "s"}, "input_channel": "rest"}"#,
                "u al s user rest",
            ),
            (r#"{"sender_id": "u", "user_id": null, "event": "user", "metadata": {"user_id": "bo"}}"#, "u bo - user -"),
            (r#"{"sender_id": "u", "user_id": "al", "event": "user", "metadata": {"user_id": "bo"}}"#, "u al - user -"),
            (r#"{"sender_id": "u", "user_id": 17, "event": "user", "metadata": {"session_id": 5.50}}"#, "u 17 5.50 user -"),
            (r#"{"sender_id": "u", "user_id": "", "event": "user", "metadata": {"session_id": ""}}"#, "u - - user -"),
            (r#"{"sender_id": "u", "user_id": [], "event": "user", "metadata": {"session_id": {}}}"#, "u - - user -"),
            (r#"{"event": "error", "timestamp": 1, "error_code": 10, "conversation_id": "c"}"#, "c - - error -"),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
