//! Any bytes: no panic, nothing accepted that `serde_json` refuses, the same value after laying out, and every accepted object
//! goes through the makers and readers of events, messages and trackers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_core::json::{self, Layout};
use trunkline_core::tracker::{IncludeEvents, Tracker};
use trunkline_core::{BotMessage, NewEvent, UserMessage};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = json::lay_out(bytes, Layout::Dumps) else { return };
    let again = json::lay_out(document.as_str().as_bytes(), Layout::Dumps).expect("what was laid out is accepted");
    assert_eq!(again.as_str(), document.as_str());
    serde_json::from_str::<&serde_json::value::RawValue>(document.as_str()).expect("what is accepted is JSON");
    let _ = (UserMessage::from_event(bytes), BotMessage::from_payload(&document), BotMessage::from_reply(document.as_str()));
    if let Ok(event) = NewEvent::from_document(&document, bytes, Some("c"), 1.0) {
        let body = std::str::from_utf8(&event.body).expect("a body is text");
        assert!(body.is_ascii() && !body.contains('\n'), "a body is a line of ASCII");
        json::lay_out(&event.body, Layout::Dumps).expect("a body is JSON");
        let mut tracker = Tracker::new("c", Layout::Dumps);
        tracker.apply(body);
        serde_json::from_str::<&serde_json::value::RawValue>(&tracker.to_json(IncludeEvents::All)).expect("a tracker is JSON");
    }
});
