//! Sessions, and the events of a turn.

use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use trunkline_testkit::{Program, Project, file_events};

use crate::support::{REST, gist, keys, recorded, start, start_on};

const START: [&str; 3] = ["action:action_session_start", "session_started", "action:action_listen"];
const TURN: [&str; 3] = ["user", "bot", "action:action_listen"];

/// Waits until every message that is recorded now is more than `expiration` ago: what is awaited is the time itself.
async fn expired(expiration: Duration) {
    let due = SystemTime::now() + expiration + Duration::from_millis(5);
    while let Ok(left) = due.duration_since(SystemTime::now()) {
        tokio::time::sleep(left).await;
    }
}

async fn starts_again_after(program: &Program, project: &Project, expiration: Duration) -> bool {
    let before = recorded(project, "u").len();
    expired(expiration).await;
    program.say("u", "again").await;
    let new = recorded(project, "u").split_off(before);
    match new.len() {
        3 => assert_eq!(gist(&new), TURN),
        _ => assert_eq!(gist(&new), [START, TURN].concat()),
    }
    new.len() == 6
}

#[tokio::test]
async fn the_first_message_starts_a_session_and_the_second_does_not() {
    let project = Project::with_brokers();
    let program = start(&project).await;
    let body = json!({"sender": "u", "message": "hello", "metadata": {"k": 1}}).to_string();
    program.post(REST, body).await;
    program.say("u", "again").await;
    let events = recorded(&project, "u");
    assert_eq!(gist(&events), [START, TURN, TURN].concat());

    let action = ["sender_id", "event", "timestamp", "name", "policy", "confidence", "action_text", "hide_rule_turn"];
    assert_eq!(keys(&events[0]), action);
    let values = |event: &Value| json!([event["policy"], event["confidence"], event["action_text"], event["hide_rule_turn"]]);
    assert_eq!(values(&events[0]), json!([null, 1.0, null, false]));
    assert_eq!(keys(&events[1]), ["sender_id", "event", "timestamp"]);
    assert_eq!((keys(&events[2]), values(&events[2])), (action.to_vec(), json!([null, null, null, false])));
    assert_eq!((keys(&events[5]), values(&events[5])), (action.to_vec(), json!([null, null, null, false])));

    let user = &events[3];
    let (before, after) = (["sender_id", "event", "timestamp"], ["text", "parse_data", "input_channel", "message_id"]);
    assert_eq!(keys(user), [&before[..], &["metadata"], &after].concat());
    assert_eq!(keys(&user["parse_data"]), ["intent", "entities", "text", "message_id", "metadata"]);
    assert_eq!((&user["text"], &user["input_channel"], &user["metadata"]), (&json!("hello"), &json!("rest"), &json!({"k": 1})));
    assert_eq!((&user["parse_data"]["message_id"], &user["parse_data"]["metadata"]), (&user["message_id"], &user["metadata"]));
    assert_eq!(user["message_id"].as_str().unwrap().len(), 32);
    assert_eq!(keys(&events[6]), [&before[..], &after, &["metadata"]].concat());

    let bot = &events[4];
    assert_eq!(keys(bot), ["sender_id", "event", "timestamp", "text", "data", "metadata"]);
    assert_eq!(keys(&bot["data"]), ["elements", "quick_replies", "buttons", "attachment", "image", "custom"]);
    assert!(bot["data"].as_object().unwrap().values().all(Value::is_null));

    let times: Vec<_> = events.iter().map(|event| event["timestamp"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    program.settled().await;
    let published: Vec<Value> =
        file_events(&project.path("events.log")).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(published, events);
}

#[tokio::test]
async fn a_session_starts_again_after_the_time_of_expiration() {
    let (project, program) = start_on("session_expiration_time: 50ms\n").await;
    program.say("u", "hello").await;
    assert!(starts_again_after(&program, &project, Duration::from_millis(50)).await);
    // What is known of sessions outlives the process.
    program.stop().await;
    let program = start(&project).await;
    assert!(starts_again_after(&program, &project, Duration::from_millis(50)).await);
}

#[tokio::test]
async fn a_session_goes_on_over_a_restart_and_for_ever_when_the_time_is_zero() {
    for settings in ["session_expiration_time: 0\n", "session_expiration_time: 60\n", ""] {
        let (project, program) = start_on(settings).await;
        program.say("u", "hello").await;
        assert!(!starts_again_after(&program, &project, Duration::from_millis(50)).await, "{settings}");
        program.stop().await;
        let program = start(&project).await;
        assert!(!starts_again_after(&program, &project, Duration::ZERO).await, "{settings}");
    }
}

#[tokio::test]
async fn a_repeated_message_does_not_prolong_the_session() {
    let (project, program) = start_on("session_expiration_time: 200ms\n").await;
    let repeat = async || {
        let request = program.request(Method::POST, REST).header("idempotency-key", "k");
        program.send(request.body(r#"{"sender":"u","message":"hello"}"#)).await.unwrap()
    };
    repeat().await;
    expired(Duration::from_millis(200)).await;
    repeat().await;
    assert!(starts_again_after(&program, &project, Duration::ZERO).await);
}
