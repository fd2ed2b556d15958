//! Assistants that are slow, dead or broken, and the order in which they are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use reqwest::Method;
use serde_json::json;

use crate::support::{self, Patient, REST, assistant, broken, gist, recorded, serve, start_on};

const SORRY: &str = "  timeout: 1s\n  apology: Please call us.\n";

/// The user message is recorded, and the apology.
async fn apologizes(settings: &str) {
    let (project, program) = start_on(&format!("{settings}{SORRY}")).await;
    assert_eq!(program.say("u", "hello").await, json!([{"recipient_id": "u", "text": "Please call us."}]));
    let events = recorded(&project, "u");
    assert_eq!(gist(&events[3..]), ["user", "bot", "action:action_listen"]);
    assert_eq!((&events[3]["text"], &events[4]["text"]), (&json!("hello"), &json!("Please call us.")));
    assert_eq!(events[4]["metadata"], json!({"trunkline": {"apology": true}}));
    let streamed = program.post(&format!("{REST}?stream=true"), r#"{"sender":"u","message":"hello"}"#).await;
    assert_eq!(streamed.body, "{\"recipient_id\": \"u\", \"text\": \"Please call us.\"}\n");
}

#[tokio::test]
async fn a_dead_assistant_is_apologized_for() {
    // Bound and not listening: nobody else gets the port, and connections are refused.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    for kind in ["rasa", "http"] {
        apologizes(&assistant(kind, &format!("http://127.0.0.1:{port}"))).await;
    }
}

#[tokio::test]
async fn an_assistant_that_fails_or_breaks_off_is_apologized_for() {
    let failing = serve(|_| std::future::ready((StatusCode::INTERNAL_SERVER_ERROR, "oh").into_response())).await;
    let breaking = serve(|_| std::future::ready(broken())).await;
    let babbling = serve(|_| std::future::ready(support::json("[{\"text\": 5}]"))).await;
    for url in [failing, breaking, babbling] {
        for kind in ["rasa", "http"] {
            apologizes(&assistant(kind, &url)).await;
        }
    }
}

#[tokio::test]
async fn a_slow_assistant_is_apologized_for_while_others_are_answered() {
    let mut patient = Patient::start().await;
    let settings = format!("{}  timeout: 3s\n  apology: Please call us.\n", assistant("http", &patient.url));
    let (project, program) = start_on(&settings).await;
    let body = |sender: &str| json!({"sender": sender, "message": "hello"}).to_string();
    let slow = tokio::spawn(program.request(Method::POST, REST).body(body("slow")).send());
    assert_eq!(patient.next().await.sender(), "slow");
    patient.let_through("quick", 1);
    assert_eq!(program.say("quick", "hello").await, json!([{"recipient_id": "quick", "text": "to hello"}]));
    let answer = slow.await.unwrap().unwrap().text().await.unwrap();
    assert_eq!(answer, r#"[{"recipient_id":"slow","text":"Please call us."}]"#);
    assert_eq!(gist(&recorded(&project, "slow")[3..]), ["user", "bot", "action:action_listen"]);
}

#[tokio::test]
async fn what_was_streamed_before_an_assistant_broke_stays_said() {
    let url = serve(|_| {
        let lines = [Ok("{\"text\": \"one\"}\n"), Err(std::io::Error::other("dead"))];
        std::future::ready(support::ok("application/x-ndjson", axum::body::Body::from_stream(tokio_stream::iter(lines))))
    })
    .await;
    let (project, program) = start_on(&format!("{}{SORRY}", assistant("http", &url))).await;
    let answer = program.post(&format!("{REST}?stream=true"), r#"{"sender":"u","message":"hello"}"#).await;
    let texts: Vec<_> =
        answer.body.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].clone()).collect();
    assert_eq!(texts.last().unwrap(), "Please call us.", "{texts:?}");
    let events = recorded(&project, "u");
    let said: Vec<_> = events.iter().filter(|event| event["event"] == "bot").map(|event| event["text"].clone()).collect();
    assert_eq!(said, texts);
}

#[tokio::test]
async fn messages_of_a_conversation_are_answered_one_after_another_and_conversations_at_the_same_time() {
    let mut patient = Patient::start().await;
    let (project, program) = start_on(&assistant("http", &patient.url)).await;
    let mut posts = Vec::new();
    for number in 0..15 {
        let sender = ["a", "b", "c"][number % 3];
        let body = json!({"sender": sender, "message": number.to_string()}).to_string();
        posts.push(tokio::spawn(program.request(Method::POST, REST).body(body).send()));
    }
    // All are recorded: three session starts and fifteen messages.
    support::eventually(async || program.head().await == 3 * 3 + 15).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(patient.next().await);
    }
    assert_eq!(patient.under_way(), 3);
    for sender in ["a", "b", "c"] {
        patient.let_through(sender, 5);
    }
    for post in posts {
        assert_eq!(post.await.unwrap().unwrap().status(), 200);
    }
    while let Ok(heard) = patient.asked.try_recv() {
        asked.push(heard);
    }
    for sender in ["a", "b", "c"] {
        assert_eq!(patient.most_at_once(sender), 1);
        let events = recorded(&project, sender);
        let texts = |kind: &str| -> Vec<_> {
            events.iter().filter(|event| event["event"] == kind).map(|event| event["text"].as_str().unwrap().to_owned()).collect()
        };
        let heard: Vec<_> = asked.iter().filter(|heard| heard.sender() == sender).map(|heard| &heard.body["message"]).collect();
        assert_eq!(texts("user"), heard.iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>());
        assert_eq!(texts("bot"), texts("user").iter().map(|text| format!("to {text}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_assistant_that_comes_back_answers_again() {
    let dead = Arc::new(AtomicBool::new(true));
    let there = Arc::clone(&dead);
    let url = serve(move |_| {
        let is_dead = there.load(Ordering::SeqCst);
        std::future::ready(if is_dead { broken() } else { support::json(r#"{"text":"here again"}"#) })
    })
    .await;
    let (_project, program) = start_on(&format!("{}{SORRY}", assistant("http", &url))).await;
    for _ in 0..10 {
        assert_eq!(program.say("u", "hello").await[0]["text"], "Please call us.");
    }
    dead.store(false, Ordering::SeqCst);
    assert_eq!(program.say("u", "hello").await[0]["text"], "here again");
}
