//! An event in a few words, for a person at a terminal.

use serde_json::{Map, Value};
use trunkline_core::json::{self, Layout};
use trunkline_core::{Event, shape};

/// The longest gist in characters; the whole event is in `--json`.
const MOST_CHARS: usize = 300;

/// Members that say nothing about what happened, or say it twice.
const DULL: [&str; 8] =
    ["sender_id", "event", "timestamp", "metadata", "parse_data", "message_id", "input_channel", "hide_rule_turn"];

/// What happened, on one line, without characters that a terminal would act upon.
pub(super) fn gist(event: &Event) -> String {
    shortened(&words(&event.event_type, &payload(event).unwrap_or_default()), MOST_CHARS)
}

/// What a user or the assistant said; `None` for other events, and for those without a text.
pub(super) fn text(event: &Event) -> Option<String> {
    if !matches!(event.event_type.as_str(), "user" | "bot") {
        return None;
    }
    payload(event)?.get("text")?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The object that tells what happened, whatever the shape of the event.
fn payload(event: &Event) -> Option<Map<String, Value>> {
    let document = json::lay_out(&event.body, Layout::Dumps).ok()?;
    serde_json::from_str(shape::payload(event.shape, &document)?.as_str()).ok()
}

/// `text` on one line of at most `most` characters. What is cut off is shown by `…`, control characters and those that change
/// the direction of writing by their escapes: a user must not be able to write to the terminal of an operator.
pub(super) fn shortened(text: &str, most: usize) -> String {
    let mut line = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == most {
            line.push('…');
            break;
        }
        if character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn words(event_type: &str, body: &Map<String, Value>) -> String {
    let word = |key: &str| body.get(key).filter(|value| !value.is_null()).map(plain);
    match event_type {
        "user" => word("text").filter(|text| !text.is_empty()).or_else(|| intent(body)).unwrap_or_default(),
        "bot" => {
            let parts = body.get("data").and_then(Value::as_object).map(attachments).unwrap_or_default();
            word("text").into_iter().chain(parts).collect::<Vec<_>>().join(" ")
        }
        "action" => word("name").or_else(|| word("action_text")).unwrap_or_default(),
        "slot" => format!("{}={}", word("name").unwrap_or_default(), body.get("value").map_or("null".to_owned(), plain)),
        _ => {
            let said = body.iter().filter(|(key, value)| !DULL.contains(&key.as_str()) && !value.is_null());
            said.map(|(key, value)| format!("{key}={}", plain(value))).collect::<Vec<_>>().join(" ")
        }
    }
}

/// `/greet`, for a message that was an intent and no text.
fn intent(body: &Map<String, Value>) -> Option<String> {
    Some(format!("/{}", body.get("parse_data")?.get("intent")?.get("name")?.as_str()?))
}

/// `[2 buttons]`, `[image]` and so on, for what was said beside the text.
fn attachments(data: &Map<String, Value>) -> Vec<String> {
    let image = data.get("image");
    let repeats_image = |key: &str, value: &Value| key == "attachment" && Some(value) == image;
    let is_said = |key: &str, value: &Value| !value.is_null() && !repeats_image(key, value);
    let named = data.iter().filter(|(key, value)| is_said(key, value)).filter_map(|(key, value)| match value {
        Value::Array(items) if items.is_empty() => None,
        Value::Array(items) => Some(format!("[{} {key}]", items.len())),
        _ => Some(format!("[{key}]")),
    });
    named.collect()
}

/// A text without its quotes, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

    use super::*;

    fn event(event_type: &str, body: &'static str) -> Event {
        NewEvent::new(Kind::Event, "ann", event_type, body).recorded(JournalId::random(), Timestamp(0), 1)
    }

    #[test]
    fn every_type_is_told_by_what_matters_in_it() {
        for (event_type, body, expected) in [
            ("user", r#"{"text": "two margheritas", "parse_data": {}}"#, "two margheritas"),
            ("user", r#"{"text": null, "parse_data": {"intent": {"name": "order"}}}"#, "/order"),
            ("user", r#"{"text": null}"#, ""),
            ("bot", r#"{"text": "Which?", "data": {"buttons": [{}, {}], "image": null, "elements": []}}"#, "Which? [2 buttons]"),
            ("bot", r#"{"text": null, "data": {"image": "https://x/y.png", "attachment": "https://x/y.png"}}"#, "[image]"),
            ("bot", r#"{"text": null, "data": {"custom": {"a": 1}, "attachment": "z"}}"#, "[custom] [attachment]"),
            ("action", r#"{"name": "action_listen", "policy": null, "confidence": 1.0}"#, "action_listen"),
            ("action", r#"{"name": null, "action_text": "Hello"}"#, "Hello"),
            ("slot", r#"{"name": "size", "value": "large"}"#, "size=large"),
            ("slot", r#"{"name": "toppings", "value": ["ham", 2]}"#, r#"toppings=["ham",2]"#),
            ("slot", r#"{"name": "size", "value": null}"#, "size=null"),
            (
                "active_loop",
                r#"{"sender_id": "a", "event": "active_loop", "timestamp": 1.0, "name": "order_form"}"#,
                "name=order_form",
            ),
            ("session_started", r#"{"event": "session_started", "metadata": {}}"#, ""),
            ("pizza.ready", r#"{"oven": 3, "late": false, "note": null}"#, "oven=3 late=false"),
            ("user", "no JSON", ""),
        ] {
            assert_eq!(gist(&event(event_type, body)), expected, "{body}");
        }
    }

    #[test]
    fn a_terminal_is_shown_nothing_that_it_would_act_upon() {
        assert_eq!(
            gist(&event("user", r#"{"text": "one\ntwo \u001b[2J\u007f \u202eevil é 🍕"}"#)),
            "one\\ntwo \\u{1b}[2J\\u{7f} \\u{202e}evil é 🍕"
        );
        assert_eq!(shortened("abcdef", 3), "abc…");
        assert_eq!(shortened("äöü", 3), "äöü");
    }

    #[test]
    fn only_what_was_said_has_a_text() {
        assert_eq!(text(&event("bot", r#"{"text": "Hi"}"#)).as_deref(), Some("Hi"));
        assert_eq!(text(&event("bot", r#"{"text": null}"#)), None);
        assert_eq!(text(&event("action", r#"{"text": "Hi"}"#)), None);
    }
}
