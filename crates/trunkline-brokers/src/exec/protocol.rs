//! The lines of the protocol, version 1.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use trunkline_core::{Event, Outcome};

use super::program::Program;

/// The version that we speak.
pub(super) const VERSION: u32 = 1;

/// The longest answer, in bytes.
pub(super) const LONGEST_ANSWER: usize = 1 << 20;

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 2_000;

/// The longest time that a child can ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_hours(1);

/// What a child says. Members that are not known are for later versions.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ChildAnswer {
    Hello { version: u32, name: Option<String> },
    Outcome(Answered),
    Ready { ready: bool, reason: Option<String> },
}

/// What a child says of one event.
#[derive(Debug, Deserialize)]
pub(super) struct Answered {
    pub(super) id: String,
    outcome: Word,
    reason: Option<String>,
    after: Option<f64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Delivered,
    Retry,
    Reject,
}

impl Answered {
    pub(super) fn outcome(self) -> Outcome {
        let reason = shortened(self.reason.as_deref().unwrap_or("the child process gave no reason"));
        match self.outcome {
            Word::Delivered => Outcome::Delivered,
            Word::Retry => {
                let after = self.after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                Outcome::Retry { after: after.map(|after| after.min(LONGEST_WAIT)), reason }
            }
            Word::Reject => Outcome::Reject { reason },
        }
    }
}

pub(super) fn hello(program: &Program) -> Vec<u8> {
    line(&json!({"type": "hello", "version": VERSION, "broker": program.broker, "settings": program.settings}))
}

pub(super) fn ready() -> Vec<u8> {
    line(&json!({"type": "ready"}))
}

pub(super) fn close() -> Vec<u8> {
    line(&json!({"type": "close"}))
}

/// Appends the line of an event, whose body goes in as it is: JSON of one line.
pub(super) fn push_publish(line: &mut Vec<u8>, event: &Event, id: &str, export: Option<&str>) {
    line.extend_from_slice(b"{\"type\":\"publish\",\"id\":\"");
    line.extend_from_slice(id.as_bytes());
    if let Some(export) = export {
        line.extend_from_slice(b"\",\"export\":\"");
        line.extend_from_slice(export.as_bytes());
    }
    line.extend_from_slice(b"\",\"event\":");
    line.extend_from_slice(&event.body);
    line.extend_from_slice(b"}\n");
}

fn line(message: &serde_json::Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

/// A text of the child made fit to be shown: bounded, and without control characters.
pub(super) fn shortened(text: &str) -> String {
    plain(text.trim(), LONGEST_REASON)
}

/// The first `most` characters, fit for a log.
pub(super) fn plain(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> Option<Outcome> {
        match serde_json::from_str(text) {
            Ok(ChildAnswer::Outcome(answered)) => Some(answered.outcome()),
            _ => None,
        }
    }

    #[test]
    fn outcomes_are_read_with_their_reason_and_time() {
        let reason = "the child process gave no reason".to_owned();
        for (text, expected) in [
            (r#""delivered""#, Outcome::Delivered),
            (r#""retry""#, Outcome::Retry { after: None, reason: reason.clone() }),
            (
                r#""retry","after":1.5,"new":[]"#,
                Outcome::Retry { after: Some(Duration::from_millis(1500)), reason: reason.clone() },
            ),
            (r#""retry","after":-1"#, Outcome::Retry { after: None, reason: reason.clone() }),
            (r#""retry","after":1e9"#, Outcome::Retry { after: Some(LONGEST_WAIT), reason }),
            (r#""reject","reason":"too\nlong"}"#.trim_end_matches('}'), Outcome::Reject { reason: "too long".to_owned() }),
        ] {
            assert_eq!(outcome(&format!(r#"{{"type":"outcome","id":"x","outcome":{text}}}"#)), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_in_the_protocol_is_no_answer() {
        for text in
            ["", "hello", "{}", r#"{"type":"outcome"}"#, r#"{"type":"outcome","id":"x","outcome":"done"}"#, r#"{"type":"log"}"#]
        {
            assert!(serde_json::from_str::<ChildAnswer>(text).is_err(), "{text}");
        }
    }
}
