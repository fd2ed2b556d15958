//! The nested event of Rasa Pro's newer engine: an envelope around one payload, whose name is the type.
//!
//! The contract is `rasa.events.v1`, message `BrokerEvent`, as JSON: exactly one payload member is there, and members of the
//! envelope without a value are null or absent. Newer versions may add members and payloads, so names that are not known are
//! no mistakes, as long as it can be told which of them is the payload.

use std::borrow::Cow;

use super::{Members, is_time, name, word};
use crate::EventError;
use crate::json::{Document, Layout, lay_out};

/// The members around the payload.
const ENVELOPE: [&str; 8] =
    ["conversation_id", "user_id", "timestamp", "metadata", "event_id", "sequence", "deployment_environment", "session_id"];

/// The payloads of the first version.
const PAYLOADS: [&str; 26] = [
    "action",
    "bot",
    "bot_turn_ended",
    "inactive",
    "memory_cleared",
    "memory_set",
    "ordered_block_cancelled",
    "ordered_block_completed",
    "ordered_block_entered",
    "ordered_block_interrupted",
    "ordered_block_resumed",
    "session_ended",
    "session_started",
    "skill_activated",
    "skill_cancelled",
    "skill_completed",
    "skill_interrupted",
    "skill_resumed",
    "stack",
    "tool_executed",
    "tts_finished",
    "unsupported_request_classified",
    "user",
    "user_barge_in",
    "user_input_suppressed",
    "user_silence_timeout",
];

pub(super) fn members(document: &Document) -> Members<'_> {
    let (event_type, payload) = payload_of(document).ok().unzip();
    let payload = payload.and_then(|raw| lay_out(raw.as_bytes(), Layout::Dumps).ok());
    let payload = payload.as_ref();
    let user = payload.filter(|_| event_type.as_deref() == Some("user"));
    let is_anonymized = payload.and_then(|payload| payload.get("anonymized_at")).is_some_and(|raw| raw != "null");
    Members {
        conversation: document.get_str("conversation_id"),
        user: name(document, "user_id"),
        session: name(document, "session_id"),
        event_type,
        time: document.get("timestamp").filter(|raw| *raw != "null"),
        // The copy without what is private comes later, under the same `event_id`, and is an event of its own.
        id: document
            .get_str("event_id")
            .filter(|id| !id.is_empty())
            .map(|id| if is_anonymized { Cow::Owned(format!("{id}:anonymized")) } else { id }),
        // A number; the vendor's reader takes it as a text too.
        sequence: word(document, "sequence").and_then(|number| number.parse().ok()),
        channel: user.and_then(|user| Some(user.get_str("input_channel")?.into_owned().into())),
    }
}

pub(super) fn check(document: &Document) -> Result<(), EventError> {
    payload_of(document)?;
    if !document.get("timestamp").is_none_or(is_time) {
        return Err(EventError::Member { member: "timestamp", expected: "a number of Unix seconds or null" });
    }
    Ok(())
}

/// What stands under the name of the type.
pub(super) fn payload(document: &Document) -> Option<Document> {
    let (_, raw) = payload_of(document).ok()?;
    lay_out(raw.as_bytes(), Layout::Dumps).ok()
}

/// The name and the text of the only payload, among those that are known or else among all objects that are no part of the envelope.
fn payload_of(document: &Document) -> Result<(Cow<'_, str>, &str), EventError> {
    let (mut known, mut others) = (Vec::new(), Vec::new());
    for (quoted, raw) in document.members() {
        let Some(name) = crate::json::unquote(quoted) else { continue };
        if ENVELOPE.contains(&name.as_ref()) || !raw.starts_with('{') {
            continue;
        }
        if PAYLOADS.contains(&name.as_ref()) { known.push((name, raw)) } else { others.push((name, raw)) }
    }
    let candidates = if known.is_empty() { &mut others } else { &mut known };
    match (candidates.pop(), candidates.is_empty()) {
        (Some(only), true) if !only.0.is_empty() => Ok(only),
        (Some(_), _) => Err(EventError::Member {
            member: "conversation_id",
            expected: "beside one payload, which is called after the type, as in {\"conversation_id\": \"c\", \"user\": {…}}; \
                       there are several",
        }),
        (None, _) => Err(EventError::NoPayload),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    fn document(text: &str) -> Document {
        lay_out(text.as_bytes(), Layout::Dumps).unwrap()
    }

    #[test]
    fn the_members_of_the_envelope_are_found_in_any_order() {
        let event = document(
            r#"{"conversation_id": "c1", "timestamp": 1796000000.5, "event_id": "019ad5c0-1f71-7637-a08c-8b7f77ce7bb0",
                "session_id": "c683740e", "user": {"text": "hi", "input_channel": "rest"}, "sequence": 4, "user_id": "alice",
                "metadata": "{\"model_id\": \"9f0c\"}", "deployment_environment": null}"#,
        );
        assert_eq!(Shape::of(&event), Shape::Nested);
        let expected = Members {
            conversation: Some("c1".into()),
            user: Some("alice".into()),
            session: Some("c683740e".into()),
            event_type: Some("user".into()),
            time: Some("1796000000.5"),
            id: Some("019ad5c0-1f71-7637-a08c-8b7f77ce7bb0".into()),
            sequence: Some(4),
            channel: Some("rest".into()),
        };
        assert_eq!(members(&event), expected);
    }

    #[test]
    fn what_has_no_value_is_not_there() {
        let event = document(
            r#"{"conversation_id": "c1", "timestamp": 1.0, "session_started": {}, "user_id": null, "metadata": null,
                "event_id": null, "sequence": null, "deployment_environment": null, "session_id": null}"#,
        );
        let expected = Members {
            conversation: Some("c1".into()),
            event_type: Some("session_started".into()),
            time: Some("1.0"),
            ..Members::default()
        };
        assert_eq!(members(&event), expected);
    }

    #[test]
    fn the_anonymized_copy_of_an_event_is_another() {
        let id = |text: &str| members(&document(text)).id.unwrap().into_owned();
        assert_eq!(id(r#"{"conversation_id": "c", "event_id": "e", "user": {"anonymized_at": null}}"#), "e");
        assert_eq!(id(r#"{"conversation_id": "c", "event_id": "e", "user": {"anonymized_at": 1.5}}"#), "e:anonymized");
    }

    #[test]
    fn every_payload_is_known_and_newer_ones_are_taken_for_what_they_are() {
        assert!(PAYLOADS.is_sorted());
        for name in PAYLOADS.into_iter().chain(["skill_paused", "été"]) {
            let event = document(&format!(r#"{{"conversation_id": "c", "schema": 2, "{name}": {{"a": {{}}}}}}"#));
            assert_eq!(members(&event).event_type.as_deref(), Some(name));
            assert_eq!(payload(&event).unwrap().as_str(), r#"{"a": {}}"#);
            assert_eq!(check(&event), Ok(()));
        }
        // An object that a newer envelope has does not hide a payload that is known.
        let event = document(r#"{"conversation_id": "c", "trace": {"id": 1}, "bot": {}}"#);
        assert_eq!(members(&event).event_type.as_deref(), Some("bot"));
    }

    #[test]
    fn it_has_one_payload() {
        for none in [
            r#"{"conversation_id": "c"}"#,
            r#"{"conversation_id": "c", "user": null}"#,
            r#"{"conversation_id": "c", "user": []}"#,
        ] {
            assert_eq!(check(&document(none)), Err(EventError::NoPayload), "{none}");
        }
        for several in [
            r#"{"conversation_id": "c", "user": {}, "bot": {}}"#,
            r#"{"conversation_id": "c", "one": {}, "two": {}}"#,
            r#"{"conversation_id": "c", "": {}}"#,
        ] {
            assert!(matches!(check(&document(several)), Err(EventError::Member { .. })), "{several}");
        }
        let time = document(r#"{"conversation_id": "c", "user": {}, "timestamp": "now"}"#);
        assert_eq!(check(&time).unwrap_err().member(), "timestamp");
    }
}
