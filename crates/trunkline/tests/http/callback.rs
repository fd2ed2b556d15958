//! The channel `callback`: the request is answered at once, and what is said is posted to a URL, in order, until it arrives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use reqwest::Method;
use serde_json::{Value, json};
use trunkline_testkit::http::{Heard, Server};
use trunkline_testkit::{Answer, Program, Project};

use crate::support::{Patient, REST, assistant, eventually, gist, json as reply, recorded, serve, soon, start};

const CALLBACK: &str = "/webhooks/callback/webhook";

/// A project whose replies go to `url`.
fn project(url: &str, settings: &str) -> Project {
    let credentials = format!("callback:\n  url: {url}\n  headers: {{x-tenant: pizza}}\n  token: t0ken\nrest:\n");
    Project::new().file("credentials.yml", &credentials).file("trunkline.yml", settings)
}

fn url(server: &Server) -> String {
    format!("http://{}/replies?shop=7", server.address)
}

async fn post(program: &Program, body: impl Into<String>) -> Answer {
    program.post(CALLBACK, body).await
}

async fn say(program: &Program, sender: &str, text: &str) {
    let answer = post(program, json!({"sender": sender, "message": text}).to_string()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "success"), "{text}");
}

/// The next reply that arrives; whoever only asks whether it is there is not heard.
async fn arrived(server: &mut Server) -> Heard {
    loop {
        let heard = soon(server.hear()).await;
        if heard.method == "POST" {
            return heard;
        }
    }
}

fn body(heard: &Heard) -> Value {
    serde_json::from_slice(&heard.body).unwrap()
}

async fn fine(_: Heard) -> Response {
    StatusCode::OK.into_response()
}

/// What `trunkline dead-letters list` has, with the reasons.
async fn dead_letters(project: &Project) -> Vec<Value> {
    let list = tokio::process::Command::new(env!("CARGO_BIN_EXE_trunkline"))
        .args(["dead-letters", "list", "--json"])
        .current_dir(project.directory())
        .output();
    String::from_utf8(list.await.unwrap().stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_answered_before_its_message_is_and_the_reply_is_posted() {
    let (mut patient, mut sink) = (Patient::start().await, Server::start(fine).await);
    let project = project(&url(&sink), &assistant("http", &patient.url));
    let program = start(&project).await;
    assert_eq!(program.get("/webhooks/callback/").await.body, r#"{"status":"ok"}"#);
    // As in the original, what else the body says is passed over.
    let body_in = json!({"sender": "ann", "message": " hi ", "metadata": {"k": 1}, "input_channel": "rest"});
    let answer = post(&program, body_in.to_string()).await;
    assert_eq!(
        (answer.status, answer.body.as_str(), &answer.headers["content-type"]),
        (200, "success", &"text/plain; charset=utf-8".parse().unwrap())
    );
    // It is on record, and nobody has answered yet.
    let events = recorded(&project, "ann");
    assert_eq!(gist(&events), ["action:action_session_start", "session_started", "action:action_listen", "user"]);
    assert_eq!((&events[3]["input_channel"], &events[3]["metadata"]), (&json!("callback"), &json!({})));
    patient.next().await;
    assert!(sink.heard().iter().all(|heard| heard.method != "POST"));
    patient.let_through("ann", 1);
    let heard = arrived(&mut sink).await;
    assert_eq!(body(&heard), json!({"recipient_id": "ann", "text": "to hi"}));
    assert_eq!(heard.body, r#"{"recipient_id": "ann", "text": "to hi"}"#.as_bytes());
    assert_eq!(heard.target, "/replies?shop=7&token=t0ken");
    assert_eq!((heard.header("content-type"), heard.header("x-tenant")), ("application/json", "pizza"));
    assert_eq!(heard.header("webhook-id").len(), 32);
}

#[tokio::test]
async fn each_message_of_a_reply_is_a_request_of_its_own_and_the_order_is_kept() {
    let many = r#"[{"text": "one\n\ntwo"}, {"text": "Pick", "buttons": [{"title": "A", "payload": "/a"}]}, {"image": "https://x/y.png"}, {"custom": {"k": null}}]"#;
    let asked = serve(move |_| async move { reply(many) }).await;
    let mut sink = Server::start(fine).await;
    let program = start(&project(&url(&sink), &assistant("http", &asked))).await;
    say(&program, "ann", "hi").await;
    let mut replies = Vec::new();
    for _ in 0..5 {
        replies.push(arrived(&mut sink).await);
    }
    assert_eq!(
        replies.iter().map(body).collect::<Vec<_>>(),
        [
            json!({"recipient_id": "ann", "text": "one"}),
            json!({"recipient_id": "ann", "text": "two"}),
            json!({"recipient_id": "ann", "text": "Pick", "buttons": [{"title": "A", "payload": "/a"}]}),
            json!({"recipient_id": "ann", "image": "https://x/y.png"}),
            json!({"recipient_id": "ann", "custom": {"k": null}}),
        ]
    );
    // The second request of an event is told from the first.
    let ids: Vec<_> = replies.iter().map(|heard| heard.header("webhook-id")).collect();
    assert_eq!(ids[1], format!("{}-2", ids[0]));
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
}

#[tokio::test]
async fn a_reply_that_arrived_in_part_goes_on_behind_what_has_arrived() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    // Two are taken, and the third is not: a reply of three that began anew each time would never be through.
    let mut sink = Server::start(move |heard: Heard| {
        let is_trouble = heard.method == "POST" && counter.fetch_add(1, Ordering::Relaxed) % 3 == 2;
        async move { if is_trouble { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }.into_response() }
    })
    .await;
    let program = start(&project(&url(&sink), "")).await;
    say(&program, "ann", "one\n\ntwo\n\nthree\n\nfour").await;
    let (mut texts, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let heard = arrived(&mut sink).await;
        texts.push(body(&heard)["text"].as_str().unwrap().to_owned());
        ids.push(heard.header("webhook-id").to_owned());
    }
    assert_eq!(texts, ["one", "two", "three", "three", "four"]);
    let suffixes: Vec<_> = ids.iter().map(|id| id.strip_prefix(&ids[0]).unwrap()).collect();
    assert_eq!(suffixes, ["", "-2", "-3", "-3", "-4"]);
    program.settled_by("channel:callback").await;
}

#[tokio::test]
async fn what_the_receiver_does_not_take_is_tried_again_with_the_same_id_and_in_order() {
    for trouble in [500, 503, 302, 404, 429] {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let mut sink = Server::start(move |heard: Heard| {
            let is_trouble = heard.method == "POST" && counter.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let status = if is_trouble { trouble } else { 200 };
            async move { StatusCode::from_u16(status).unwrap().into_response() }
        })
        .await;
        let program = start(&project(&url(&sink), "")).await;
        for text in ["a", "b", "c"] {
            say(&program, "ann", text).await;
        }
        let mut tries: Vec<(String, Value)> = Vec::new();
        while tries.len() < 6 {
            let heard = arrived(&mut sink).await;
            tries.push((heard.header("webhook-id").to_owned(), body(&heard)["text"].clone()));
        }
        let texts: Vec<_> = tries.iter().map(|(_, text)| text.as_str().unwrap()).collect();
        assert_eq!(texts, ["a", "a", "b", "b", "c", "c"], "{trouble}");
        assert!(tries.chunks(2).all(|pair| pair[0] == pair[1]), "{trouble}: {tries:?}");
        program.settled_by("channel:callback").await;
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_waited_for_and_holds_up_nobody_else() {
    // The port is free again, and nobody listens.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let program = start(&project(&format!("http://{nobody}/"), "")).await;
    say(&program, "ann", "hi").await;
    // Whoever waits for the answer gets it all the same.
    assert_eq!(program.say("bob", "hello").await, json!([{"recipient_id": "bob", "text": "hello"}]));
    eventually(async || {
        let ready = program.get("/status/ready").await.json();
        let find = |one: &&Value| one["name"] == "channel:callback";
        ready["subscriptions"].as_array().unwrap().iter().find(find).unwrap()["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("the callback http://127.0.0.1") && problem.contains("refused"))
    })
    .await;
    assert!(program.stop().await.status.success());
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter_and_the_conversation_goes_on() {
    for refusal in [400, 410, 413, 422] {
        let mut sink = Server::start(move |heard: Heard| async move {
            let is_bad = String::from_utf8_lossy(&heard.body).contains("bad");
            StatusCode::from_u16(if is_bad { refusal } else { 200 }).unwrap().into_response()
        })
        .await;
        let project = project(&url(&sink), "");
        let program = start(&project).await;
        // Before it has accepted anything, a refusal is held against our settings.
        for text in ["fine", "bad", "good"] {
            say(&program, "ann", text).await;
        }
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "good") {
            heard.push(body(&arrived(&mut sink).await)["text"].as_str().unwrap().to_owned());
        }
        heard.dedup();
        assert_eq!(heard, ["fine", "bad", "good"], "{refusal}");
        eventually(async || dead_letters(&project).await.len() == 1).await;
        let letter = &dead_letters(&project).await[0];
        assert_eq!((&letter["subscription"], &letter["event"]["text"]), (&json!("channel:callback"), &json!("bad")));
        let reason = letter["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("it answered {refusal}")) && !reason.contains("t0ken"), "{reason}");
        program.stop().await;
    }
}

#[tokio::test]
async fn only_answers_to_its_own_messages_go_there() {
    let mut sink = Server::start(fine).await;
    let project = project(&url(&sink), "");
    let program = start(&project).await;
    // The same conversation through two channels, and what others record.
    program.say("ann", "through rest").await;
    let bot = json!({"sender_id": "ann", "event": "bot", "timestamp": 1.5, "text": "elsewhere", "input_channel": "callback"});
    assert_eq!(program.post("/api/events", bot.to_string()).await.status, 202);
    say(&program, "ann", "through callback").await;
    program.say("ann", "through rest again").await;
    say(&program, "ann", "last").await;
    for expected in ["through callback", "last"] {
        assert_eq!(body(&arrived(&mut sink).await)["text"], expected);
    }
    // Nobody can have the answers of another channel carried there.
    let disguised = json!({"sender": "ann", "message": "x", "input_channel": "callback"}).to_string();
    let answer = program.post(REST, disguised).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("write to \\/webhooks\\/callback\\/webhook"), "{}", answer.body);
}

#[tokio::test]
async fn a_message_under_the_same_key_is_answered_once() {
    let mut sink = Server::start(fine).await;
    let project = project(&url(&sink), "");
    let program = start(&project).await;
    for path in [CALLBACK, CALLBACK, REST] {
        let body = json!({"sender": "ann", "message": "hi"}).to_string();
        let request = program.request(Method::POST, path).header("idempotency-key", "k-1").body(body);
        assert_eq!(program.send(request).await.unwrap().status, 200);
    }
    say(&program, "ann", "end").await;
    let mut texts = Vec::new();
    while texts.last() != Some(&json!("end")) {
        texts.push(body(&arrived(&mut sink).await)["text"].clone());
    }
    // The key of one channel is not that of the other.
    assert_eq!(texts, ["hi", "end"]);
    let messages = recorded(&project, "ann").iter().filter(|event| event["event"] == "user").count();
    assert_eq!(messages, 3);
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    let sink = Server::start(fine).await;
    let project = project(&url(&sink), "server: {max_body: 1KiB}\n");
    let program = start(&project).await;
    let too_long = json!({"message": "x".repeat(2_000)}).to_string();
    for (body, status, why) in [
        ("", 400, "Failed when parsing body as json"),
        ("{", 400, "Failed when parsing body as json"),
        ("[]", 400, "must be a JSON object"),
        (r#"{"sender": "ann"}"#, 400, "`message` must be a string"),
        (r#"{"sender": "ann", "message": null}"#, 400, "`message` must be a string"),
        (r#"{"sender": "ann", "message": 5}"#, 400, "`message` must be a string"),
        (r#"{"sender": "ann", "message": {"a": 1}}"#, 400, "`message` must be a string"),
        (r#"{"sender": ["ann"], "message": "hi"}"#, 400, "`sender` must be a string"),
        (r#"{"sender": "ann", "message": "\ud800"}"#, 400, ""),
        (too_long.as_str(), 413, "1024"),
    ] {
        let answer = post(&program, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.body.contains(why), "{body}: {}", answer.body);
    }
    let long_name = json!({"sender": "x".repeat(300), "message": "hi"}).to_string();
    assert_eq!(post(&program, long_name).await.status, 400);
    let key = program.request(Method::POST, CALLBACK).header("idempotency-key", "k".repeat(256)).body(r#"{"message": "hi"}"#);
    assert_eq!(program.send(key).await.unwrap().status, 400);
    assert_eq!(program.get(CALLBACK).await.status, 405);
    assert_eq!(program.head().await, 0);
}

#[tokio::test]
async fn conversations_are_served_side_by_side() {
    // Each waits for the other to be under way.
    let meeting = Arc::new(tokio::sync::Barrier::new(2));
    let seen: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let shared = Arc::clone(&seen);
    let sink = Server::start(move |heard: Heard| {
        let (meeting, seen) = (Arc::clone(&meeting), Arc::clone(&shared));
        async move {
            if heard.method == "POST" {
                meeting.wait().await;
                *seen.lock().unwrap().entry(body(&heard)["recipient_id"].to_string()).or_default() += 1;
            }
            StatusCode::OK.into_response()
        }
    })
    .await;
    let program = start(&project(&url(&sink), "")).await;
    say(&program, "ann", "hi").await;
    say(&program, "bob", "hi").await;
    eventually(async || seen.lock().unwrap().len() == 2).await;
}
