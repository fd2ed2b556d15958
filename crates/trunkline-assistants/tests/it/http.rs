//! `type: http`, and the echo.

use trunkline_core::{Recording, UserMessage};

use crate::common::{Server, assistant, failure, hello, json, ok, says, status, turn};

#[tokio::test]
async fn the_echo_says_the_text_back() {
    let echo = assistant("type: echo");
    assert_eq!((echo.name(), echo.recording()), ("echo", Recording::Gateway));
    let (did, result) = turn(&*echo, &hello()).await;
    result.unwrap();
    assert_eq!(did, says(&["hello"]));
    for text in [None, Some(String::new())] {
        let (did, result) = turn(&*echo, &UserMessage { text, ..hello() }).await;
        result.unwrap();
        assert_eq!(did, []);
    }
    echo.is_ready().await.unwrap();
}

#[tokio::test]
async fn the_request_says_all_about_the_message() {
    let mut server = Server::start(|_| json("[]")).await;
    let message = UserMessage { metadata: r#"{"k": 1.0}"#.to_owned(), ..hello() };
    let http = assistant(&format!("type: HTTP\nurl: {}/answer?v=2\ntoken: t0ken", server.url));
    assert_eq!((http.name(), http.recording()), ("http", Recording::Gateway));
    turn(&*http, &message).await.1.unwrap();
    let heard = server.heard();
    assert_eq!((heard[0].method.as_str(), heard[0].target.as_str()), ("POST", "/answer?v=2&token=t0ken"));
    assert_eq!(
        heard[0].body,
        r#"{"sender": "u1", "message": "hello", "message_id": "c0a9", "input_channel": "rest", "metadata": {"k": 1.0}}"#
    );
}

#[tokio::test]
async fn replies_are_a_list_or_one_object_or_lines_or_nothing() {
    for (content_type, body, texts) in [
        ("application/json", r#"[{"text":"a"},{"text":"b"}]"#, &["a", "b"][..]),
        ("text/plain", "\r\n {\"text\": \"a\"}\n", &["a"]),
        ("application/x-ndjson", "{\"text\":\"a\"}\n\n{\"text\":\"b\"}", &["a", "b"]),
        ("Text/Event-Stream; charset=utf-8", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n", &["a", "b"]),
        ("application/x-ndjson", "", &[]),
        ("application/json", " \n", &[]),
        ("application/json", "", &[]),
        ("application/json", "[]", &[]),
    ] {
        let server = Server::start(move |_| ok(content_type, body)).await;
        let (did, result) = turn(&*assistant(&format!("type: http\nurl: {}", server.url)), &hello()).await;
        result.unwrap();
        assert_eq!(did, says(texts), "{content_type} {body}");
    }
    let server = Server::start(|_| status(204, "")).await;
    let (did, result) = turn(&*assistant(&format!("type: http\nurl: {}", server.url)), &hello()).await;
    result.unwrap();
    assert_eq!(did, []);
}

#[tokio::test]
async fn a_list_is_said_only_when_all_of_it_is_good() {
    for (body, found) in [
        (r#"[{"text":"a"},"b"]"#, r#"as reply 2 the body "\"b\"", expected a JSON object whose `text`, if any, is a string"#),
        (r#"[{"text":5}]"#, r#"as reply 1 the body "{\"text\": 5}", expected a JSON object whose `text`, if any, is a string"#),
        (
            r#"{"reply":"hi"}"#,
            r#"as reply 1 the body "{\"reply\": \"hi\"}", expected at least one of `text`, `buttons`, `quick_replies`, `elements`, `custom`, `image` and `attachment`"#,
        ),
        ("\"hi\"", r#"the body "\"hi\"", expected a JSON list of replies, one reply, or an empty body"#),
        (
            "[{\"text\":\"a\"},]",
            r#"what is not JSON (expected a value at byte 14) in the body "[{\"text\":\"a\"},]", expected a JSON list of replies, one reply, or an empty body"#,
        ),
    ] {
        let server = Server::start(move |_| json(body)).await;
        let error = failure(&*assistant(&format!("type: http\nurl: {}/x", server.url)), &hello()).await;
        assert_eq!(error, format!("assistant `http` at {}/x: found {found}", server.url));
    }
}

#[tokio::test]
async fn any_answer_means_ready_and_nothing_is_posted_for_it() {
    let mut server = Server::start(|_| status(405, "")).await;
    assistant(&format!("type: http\nurl: {}", server.url)).is_ready().await.unwrap();
    assert_eq!(server.heard()[0].method, "HEAD");
    let error = assistant("type: http\nurl: http://127.0.0.1:1/x").is_ready().await.unwrap_err();
    assert!(error.starts_with("assistant `http` at http://127.0.0.1:1/x: found no connection ("), "{error}");
}
