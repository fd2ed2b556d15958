//! The REST channel.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use trunkline_testkit::Project;

use crate::support::{self, REST, assistant, gist, ok, recorded, serve, start, start_on};

/// What a real Rasa 3.6.21 answered.
fn pairs() -> Vec<Value> {
    let text = include_str!("../fixtures/rasa-3.6.21-rest-pairs.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn what_rasa_answered_is_answered_byte_for_byte_through_either_kind_of_assistant() {
    for kind in ["rasa", "http"] {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let asked_there = Arc::clone(&asked);
        let url = serve(move |heard| {
            let mut asked = asked_there.lock().unwrap();
            let answer = pairs()[asked.len()]["response"].as_str().unwrap().to_owned();
            asked.push(heard.body);
            std::future::ready(support::json(answer))
        })
        .await;
        let (_project, program) = start_on(&assistant(kind, &url)).await;
        for pair in pairs() {
            let answer = program.post(pair["path"].as_str().unwrap(), pair["request"].to_string()).await;
            assert_eq!(u64::from(answer.status), pair["status"], "{pair}");
            assert_eq!(answer.body, pair["response"].as_str().unwrap(), "{pair}");
            assert_eq!(answer.headers["content-type"], "application/json");
            let heard = asked.lock().unwrap().pop().unwrap();
            for key in ["sender", "message", "metadata"] {
                assert_eq!(heard[key], pair["request"][key], "{kind}: {pair}");
            }
            assert_eq!(heard["input_channel"], "rest");
            asked.lock().unwrap().push(heard);
        }
        assert_eq!(asked.lock().unwrap().len(), 60);
    }
}

#[tokio::test]
async fn a_streamed_line_arrives_when_it_is_said_and_is_durable_by_then() {
    let (feed, lines) = mpsc::unbounded_channel::<Result<String, std::io::Error>>();
    let lines = Mutex::new(Some(lines));
    let lines = Arc::new(lines);
    let url = serve(move |_| {
        let lines = lines.lock().unwrap().take().unwrap();
        std::future::ready(ok("application/x-ndjson", Body::from_stream(UnboundedReceiverStream::new(lines))))
    })
    .await;
    let (project, program) = start_on(&assistant("http", &url)).await;
    let request = program.request(Method::POST, &format!("{REST}?stream=true")).body(r#"{"sender":"u","message":"go"}"#);
    // The head arrives before anything is said.
    let mut response = request.send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &"text/event-stream".parse().unwrap()));
    for text in ["one", "two", "three"] {
        feed.send(Ok(format!("{{\"text\": \"{text}\"}}\n"))).unwrap();
        let line = response.chunk().await.unwrap().unwrap();
        assert_eq!(line, format!("{{\"recipient_id\": \"u\", \"text\": \"{text}\"}}\n"));
        let last = recorded(&project, "u").pop().unwrap();
        assert_eq!((&last["event"], &last["text"]), (&json!("bot"), &json!(text)));
    }
    drop(feed);
    assert_eq!(response.chunk().await.unwrap(), None);
    let turn = ["user", "bot", "bot", "bot", "action:action_listen"];
    assert_eq!(gist(&recorded(&project, "u")[3..]), turn);
}

#[tokio::test]
async fn a_reader_of_a_stream_that_goes_away_loses_nothing_from_the_record() {
    let (feed, lines) = mpsc::unbounded_channel::<Result<String, std::io::Error>>();
    let lines = Arc::new(Mutex::new(Some(lines)));
    let url = serve(move |_| {
        let lines = lines.lock().unwrap().take().unwrap();
        std::future::ready(ok("application/x-ndjson", Body::from_stream(UnboundedReceiverStream::new(lines))))
    })
    .await;
    let (project, program) = start_on(&assistant("http", &url)).await;
    let request = program.request(Method::POST, &format!("{REST}?stream=true")).body(r#"{"sender":"u","message":"go"}"#);
    let mut response = request.send().await.unwrap();
    feed.send(Ok("{\"text\": \"one\"}\n".to_owned())).unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    feed.send(Ok("{\"text\": \"two\"}\n".to_owned())).unwrap();
    drop(feed);
    let turn = ["user", "bot", "bot", "action:action_listen"];
    support::eventually(async || gist(&recorded(&project, "u")).ends_with(&turn.map(str::to_owned))).await;
}

#[tokio::test]
async fn an_answer_of_many_messages_arrives_whole() {
    let many: Vec<_> = (0..1_000).map(|number| json!({"text": number.to_string()})).collect();
    let many = Value::from(many).to_string();
    let url = serve(move |_| std::future::ready(support::json(many.clone()))).await;
    let (_project, program) = start_on(&assistant("http", &url)).await;
    let replies = program.say("u", "tell me everything").await;
    assert_eq!(replies.as_array().unwrap().len(), 1_000);
    assert_eq!(replies[999]["text"], "999");
    let streamed = program.post(&format!("{REST}?stream=true"), r#"{"sender":"u","message":"again"}"#).await.body;
    assert_eq!(streamed.lines().count(), 1_000);
}

#[tokio::test]
async fn senders_channels_and_metadata_are_taken_as_rasa_takes_them() {
    let project = Project::new();
    let program = start(&project).await;
    for (body, sender, channel) in [
        (r#"{"message":"m"}"#, "default", "rest"),
        (r#"{"message":"m","sender":""}"#, "default", "rest"),
        (r#"{"message":"m","sender":null,"input_channel":""}"#, "default", "rest"),
        (r#"{"message":"m","sender":42,"input_channel":null}"#, "42", "rest"),
        (r#"{"message":"m","sender":"s","input_channel":"kiosk"}"#, "s", "kiosk"),
    ] {
        let answer = program.post(REST, body).await;
        assert_eq!(answer.body, format!("[{{\"recipient_id\":\"{sender}\",\"text\":\"m\"}}]"), "{body}");
        let events = recorded(&project, sender);
        let user = events.iter().rfind(|event| event["event"] == "user").unwrap();
        assert_eq!(user["input_channel"], channel, "{body}");
    }
    for metadata in [json!({"k": [1, {"é": null}]}), json!([1]), json!("text"), json!(5)] {
        program.post(REST, json!({"sender": "m", "message": "m", "metadata": metadata}).to_string()).await;
        let user = recorded(&project, "m").into_iter().rfind(|event| event["event"] == "user").unwrap();
        assert_eq!((&user["metadata"], &user["parse_data"]["metadata"]), (&metadata, &metadata));
    }
}

#[tokio::test]
async fn a_message_that_is_no_string_gets_an_empty_list_and_is_not_recorded() {
    let (_project, program) = start_on("").await;
    for body in [r#"{"sender":"u"}"#, r#"{"sender":"u","message":null}"#, r#"{"message":5}"#, r#"{"message":{"a":1}}"#] {
        let answer = program.post(REST, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "[]"), "{body}");
    }
    assert_eq!(program.head().await, 0);
    // An empty text is one, and is recorded; the echo has nothing to say to it.
    assert_eq!(program.say("u", "").await, json!([]));
    assert_eq!(program.head().await, 5);
}

#[tokio::test]
async fn the_content_type_does_not_matter_and_slashes_at_the_end_neither() {
    let (_project, program) = start_on("").await;
    for (path, content_type) in [(REST, "text/plain"), ("/webhooks/rest/webhook/", "application/json"), (REST, "x")] {
        let request = program.request(Method::POST, path).header("content-type", content_type);
        let answer = program.send(request.body(r#"{"sender":"u","message":"/a"}"#)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"[{"recipient_id":"u","text":"\/a"}]"#));
    }
    let answer = program.post(&format!("{REST}?token=anything&stream=True"), r#"{"sender":"u","message":"/a"}"#).await;
    assert_eq!(answer.body, "{\"recipient_id\": \"u\", \"text\": \"/a\"}\n");
    let answer = program.post(&format!("{REST}?stream=1"), r#"{"sender":"u","message":"/a"}"#).await;
    assert_eq!(answer.headers["content-type"], "application/json");
}

#[tokio::test]
async fn health_and_other_methods_are_answered() {
    let (_project, program) = start_on("").await;
    for path in ["/webhooks/rest", "/webhooks/rest/"] {
        let answer = program.get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":"ok"}"#));
        assert_eq!(answer.headers["content-type"], "application/json");
        let answer = program.send(program.request(Method::HEAD, path)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    }
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let is_head = method == Method::HEAD;
        let answer = program.send(program.request(method, REST)).await.unwrap();
        assert_eq!((answer.status, &answer.headers["allow"]), (405, &"POST".parse().unwrap()));
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(answer.body.contains("<h1>405 Method Not Allowed</h1>"), !is_head, "{answer:?}");
    }
    let request = program.request(Method::GET, REST).header("accept", "application/json");
    let answer = program.send(request).await.unwrap();
    let said =
        json!({"description": "Method Not Allowed", "status": 405, "message": format!("Method GET not allowed for URL {REST}")});
    assert_eq!(answer.json(), said);
}
