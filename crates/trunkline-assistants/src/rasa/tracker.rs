//! The state of a tracker, as `GET /conversations/<id>/tracker` answers it.

use trunkline_core::json::{self, Document, Layout};

/// Why a body is not the state that was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// What is wrong with it.
    NotAnObject(String),
    /// It says that it belongs to another conversation; the text says to which.
    OfAnother(String),
}

/// Reads the state of the tracker of `conversation`. To record the events of another conversation under this name would be
/// worse than not to answer.
pub(super) fn state(body: &[u8], conversation: &str, is_escaped: bool) -> Result<Document, Problem> {
    let state =
        json::lay_out(body, Layout::Dumps).map_err(|error| Problem::NotAnObject(format!("what is not JSON ({error})")))?;
    if !state.is_object() {
        return Err(Problem::NotAnObject("no JSON object".to_owned()));
    }
    match state.get_str("sender_id") {
        Some(other) if other != conversation => {
            let hint = if is_escaped || conversation.contains('%') {
                " (Rasa does not decode the escapes of an address, so that this conversation cannot be asked for; \
                 use `events: messages`, or ids without spaces, %, ?, # and letters beyond ASCII)"
            } else {
                ""
            };
            Err(Problem::OfAnother(format!("the tracker of conversation {other:?}{hint}")))
        }
        _ => Ok(state),
    }
}

/// The events of the state, each as it came but for the white space.
pub(super) fn events(state: &Document) -> Result<Vec<String>, String> {
    let raw = state.get("events").ok_or("no `events`")?;
    let list = json::lay_out(raw.as_bytes(), Layout::Dumps).map_err(|error| format!("`events` that are not JSON ({error})"))?;
    let events = list.elements().ok_or("`events` that are no list")?;
    let is_object = |(index, event): (usize, &str)| {
        if event.starts_with('{') { Ok(event.to_owned()) } else { Err(format!("no JSON object as event {}", index + 1)) }
    };
    events.enumerate().map(is_object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_as_they_are() {
        let state =
            state(br#"{"sender_id":"u1","events":[{"event":"slot","value":1.50e2},{}],"paused":false}"#, "u1", false).unwrap();
        assert_eq!(events(&state).unwrap(), [r#"{"event": "slot", "value": 1.50e2}"#, "{}"]);
    }

    #[test]
    fn what_is_no_tracker_is_named() {
        for (body, found) in [
            ("{}", "no `events`"),
            (r#"{"events":null}"#, "`events` that are no list"),
            (r#"{"events":[{},5]}"#, "no JSON object as event 2"),
        ] {
            assert_eq!(events(&state(body.as_bytes(), "u1", false).unwrap()).unwrap_err(), found);
        }
        assert_eq!(state(b"[]", "u1", false).unwrap_err(), Problem::NotAnObject("no JSON object".to_owned()));
        assert!(matches!(state(b"<html>", "u1", false).unwrap_err(), Problem::NotAnObject(found) if found.contains("at byte 0")));
    }

    #[test]
    fn another_conversation_is_refused() {
        let of =
            |id: &str, conversation, is_escaped| state(format!(r#"{{"sender_id":"{id}"}}"#).as_bytes(), conversation, is_escaped);
        assert!(of("a b", "a b", true).is_ok());
        let Err(Problem::OfAnother(found)) = of("a%20b", "a b", true) else { panic!("it is another") };
        assert!(found.starts_with("the tracker of conversation \"a%20b\" (Rasa does not decode"), "{found}");
        assert_eq!(of("x", "y", false).unwrap_err(), Problem::OfAnother("the tracker of conversation \"x\"".to_owned()));
    }
}
