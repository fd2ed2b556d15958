//! Events that are posted belong to the channel of their conversation.

use serde_json::Value;
use trunkline_testkit::{Project, file_events};

use crate::support::{gist, start};

#[tokio::test]
async fn what_is_posted_passes_a_filter_of_channels_with_its_conversation() {
    let brokers = "event_broker: {type: file, path: events.log, filter: {channels: [rest]}}\n";
    let project = Project::new().file("endpoints.yml", brokers);
    let slot = r#""event": "slot", "timestamp": 1.5, "name": "size", "value": 2"#;
    let program = start(&project).await;
    program.say("ann", "hello").await;
    assert_eq!(program.post("/conversations/ann/tracker/events", format!("{{{slot}}}")).await.status, 200);
    let both = format!(r#"[{{"sender_id": "zoe", {slot}}}, {{"sender_id": "ann", {slot}}}]"#);
    assert_eq!(program.post("/api/events", both).await.status, 202);
    // zoe gets a channel later; what stood before it stays without.
    let user = r#"{"sender_id": "zoe", "event": "user", "text": "hi", "input_channel": "rest"}"#;
    assert_eq!(program.post("/api/events", user).await.status, 202);
    assert_eq!(program.post("/conversations/zoe/tracker/events", format!("{{{slot}}}")).await.status, 200);
    program.settled().await;
    let events: Vec<Value> =
        file_events(&project.path("events.log")).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |sender: &str| {
        let events: Vec<_> = events.iter().filter(|event| event["sender_id"] == sender).cloned().collect();
        gist(&events)
    };
    assert_eq!(of("ann")[6..], ["slot:size", "slot:size"], "{:?}", of("ann"));
    assert_eq!(of("zoe"), ["user", "slot:size"]);
}
