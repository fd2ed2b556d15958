//! Connections: kept, reused, and given up when nothing comes.

use serde_json::json;

use crate::support::{Connection, REST, start_on};

#[tokio::test]
async fn requests_may_be_sent_ahead_and_a_refused_one_does_not_end_the_connection() {
    let (_project, program) = start_on("").await;
    let mut connection = Connection::open(&program).await;
    let bodies = [r#"{"sender":"u","message":"one"}"#, "{", r#"{"sender":"u","message":"two"}"#, "[]", r#"{"message":5}"#];
    for body in bodies {
        connection.post(REST, body).await;
    }
    connection.post("/webhooks/unknown/webhook", "{}").await;
    connection.post("/conversations/u/tracker/events", r#"{"no":"event"}"#).await;
    connection.post(REST, r#"{"sender":"u","message":"three"}"#).await;
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(connection.answer().await);
    }
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 400, 200, 400, 200, 404, 400, 200]);
    for (index, text) in [(0, "one"), (2, "two"), (7, "three")] {
        assert_eq!(answers[index].json(), json!([{"recipient_id": "u", "text": text}]));
    }
    assert_eq!(program.head().await, 3 + 3 * 3);
}

#[tokio::test]
async fn an_answer_does_not_wait_for_the_rest_of_the_next_request() {
    let (_project, program) = start_on("").await;
    let mut connection = Connection::open(&program).await;
    let body = r#"{"sender":"u","message":"one"}"#;
    let request = format!("POST {REST} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    connection.send(format!("{request}POST {REST} HT")).await;
    assert_eq!(connection.answer().await.json(), json!([{"recipient_id": "u", "text": "one"}]));
    connection.send(format!("TP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(connection.answer().await.status, 200);
}

#[tokio::test]
async fn connections_on_which_nothing_comes_hold_up_nobody() {
    let (_project, program) = start_on("").await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(Connection::open(&program).await);
    }
    assert_eq!(program.say("u", "hello").await, json!([{"recipient_id": "u", "text": "hello"}]));
}

#[tokio::test]
async fn connections_without_a_whole_request_are_closed_and_make_room_for_others() {
    let (_project, program) = start_on("server:\n  body_timeout: 200ms\n  max_connections: 4\n").await;
    let mut idle = Vec::new();
    // What could become HTTP/2 is waited for in another place than what could not.
    for begun in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost"] {
        let mut connection = Connection::open(&program).await;
        connection.send(begun).await;
        idle.push(connection);
    }
    assert_eq!(program.say("u", "hello").await, json!([{"recipient_id": "u", "text": "hello"}]));
    for connection in idle {
        connection.closed().await;
    }
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_no_further_request_comes() {
    let (_project, program) = start_on("server:\n  body_timeout: 4s\n").await;
    let mut connection = Connection::open(&program).await;
    connection.post(REST, r#"{"sender":"u","message":"one"}"#).await;
    assert_eq!(connection.answer().await.status, 200);
    connection.closed().await;
}
