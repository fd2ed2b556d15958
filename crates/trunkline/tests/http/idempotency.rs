//! `Idempotency-Key`: the second time is answered like the first.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use trunkline_testkit::{Program, Project};

use crate::support::{Patient, REST, assistant, eventually, gist, recorded, start, start_on};

fn message(program: &Program, path: &str, sender: &str, text: &str, key: &str) -> RequestBuilder {
    let body = json!({"sender": sender, "message": text}).to_string();
    program.request(Method::POST, path).header("idempotency-key", key).body(body)
}

#[tokio::test]
async fn a_repeated_message_is_answered_like_the_first_streamed_or_not_and_after_a_restart() {
    let project = Project::new();
    let mut program = start(&project).await;
    let list = r#"[{"recipient_id":"u","text":"one"}]"#;
    let line = "{\"recipient_id\": \"u\", \"text\": \"one\"}\n";
    let streamed = &format!("{REST}?stream=true");
    for key in ["asked", "streamed"] {
        let paths = if key == "asked" { [REST, REST, streamed] } else { [streamed, streamed, REST] };
        for path in paths {
            let answer = program.send(message(&program, path, "u", "one", key)).await.unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, if path == REST { list } else { line }));
        }
    }
    let before = program.head().await;
    assert_eq!(before, 3 + 2 * 3);
    program.stop().await;
    program = start(&project).await;
    for (key, path, expected) in [("asked", REST, list), ("streamed", streamed, line), ("asked", streamed, line)] {
        let answer = program.send(message(&program, path, "u", "another text", key)).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    }
    assert_eq!(program.head().await, before);
}

#[tokio::test]
async fn repetitions_that_arrive_during_the_turn_share_its_answer() {
    let mut patient = Patient::start().await;
    let (project, program) = start_on(&assistant("http", &patient.url)).await;
    let streamed = format!("{REST}?stream=true");
    let posts: Vec<_> = [REST, REST, REST, &streamed, &streamed]
        .map(|path| tokio::spawn(message(&program, path, "u", "one", "k").send()))
        .into_iter()
        .collect();
    patient.next().await;
    eventually(async || program.metric("trunkline_journal_duplicate_appends_total").await == Some(4)).await;
    patient.let_through("u", 1);
    for (index, post) in posts.into_iter().enumerate() {
        let body = post.await.unwrap().unwrap().text().await.unwrap();
        let list = r#"[{"recipient_id":"u","text":"to one"}]"#;
        assert_eq!(body, if index < 3 { list } else { "{\"recipient_id\": \"u\", \"text\": \"to one\"}\n" });
    }
    assert_eq!(gist(&recorded(&project, "u")[3..]), ["user", "bot", "action:action_listen"]);
    assert!(patient.asked.try_recv().is_err(), "the assistant was asked once");
}

#[tokio::test]
async fn a_message_whose_turn_was_cut_short_by_a_kill_is_answered_when_it_is_repeated() {
    let mut patient = Patient::start().await;
    let (project, program) = start_on(&assistant("http", &patient.url)).await;
    let cut = tokio::spawn(message(&program, REST, "u", "one", "k").send());
    patient.next().await;
    program.kill().await;
    assert!(cut.await.unwrap().is_err());
    let program = start(&project).await;
    patient.next().await;
    patient.let_through("u", 2);
    let answer = program.send(message(&program, REST, "u", "one", "k")).await.unwrap();
    assert_eq!(answer.body, r#"[{"recipient_id":"u","text":"to one"}]"#);
    assert_eq!(gist(&recorded(&project, "u")[3..]), ["user", "bot", "action:action_listen"]);
}

#[tokio::test]
async fn a_repetition_gets_the_answers_to_its_own_message_among_those_to_others() {
    let mut patient = Patient::start().await;
    let (_project, program) = start_on(&assistant("http", &patient.url)).await;
    let first = tokio::spawn(message(&program, REST, "u", "one", "k1").send());
    patient.next().await;
    let second = tokio::spawn(message(&program, REST, "u", "two", "k2").send());
    eventually(async || program.head().await == 5).await;
    patient.let_through("u", 2);
    for (post, key) in [(first, "k1"), (second, "k2")] {
        let body = post.await.unwrap().unwrap().text().await.unwrap();
        let again = program.send(message(&program, REST, "u", "", key)).await.unwrap();
        assert_eq!(again.body, body);
    }
}

#[tokio::test]
async fn conversations_do_not_share_keys_whatever_they_are_called() {
    let (project, program) = start_on("").await;
    for (sender, key) in [("a", "b:c"), ("a:b", "c"), ("a", "c"), ("b", "c"), ("1:a", "b"), ("1", "a:b")] {
        let text = format!("from {sender} with {key}");
        let answer = program.send(message(&program, REST, sender, &text, key)).await.unwrap();
        assert_eq!(answer.json(), json!([{"recipient_id": sender, "text": text}]));
        assert_eq!(recorded(&project, sender).pop().unwrap()["name"], "action_listen");
    }
}

#[tokio::test]
async fn keys_of_events_are_told_apart_by_route_and_conversation() {
    let (project, program) = start_on("").await;
    let event = |name: &str, sender: &str| json!({"event": name, "sender_id": sender}).to_string();
    let mut expected = program.head().await;
    for (path, body, events) in [
        ("/api/events", event("one", "events"), 1),
        // The first event of `a` and `a:b` brings a session start.
        ("/conversations/events/tracker/events", event("two", ""), 1),
        ("/conversations/a:b/tracker/events", event("three", ""), 4),
        ("/conversations/a/tracker/events", event("four", ""), 4),
        ("/conversations/a/messages", json!({"text": "five", "sender": "user"}).to_string(), 1),
    ] {
        expected += events;
        for _ in 0..2 {
            let request = program.request(Method::POST, path).header("idempotency-key", "k").body(body.clone());
            let answer = program.send(request).await.unwrap();
            assert!(matches!(answer.status, 200 | 202), "{answer:?}");
            assert_eq!(program.head().await, expected, "{path}");
        }
    }
    assert_eq!(gist(&recorded(&project, "events")), ["one", "two"]);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let (_project, program) = start_on("").await;
    for key in [String::new(), "k".repeat(256)] {
        let answer = program.send(message(&program, REST, "u", "m", &key)).await.unwrap();
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("Idempotency-Key"), "{answer:?}");
    }
    assert_eq!(program.send(message(&program, REST, "u", "m", &"k".repeat(255))).await.unwrap().status, 200);
}
