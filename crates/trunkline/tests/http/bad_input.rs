//! Bad input: each gets its status and message, nothing of it is recorded, and the server goes on.

use std::fmt::Write as _;

use reqwest::Method;
use serde_json::json;
use trunkline_testkit::{Answer, Program, Project};

use crate::support::{Connection, REST, gist, recorded, start, start_on, start_with};

const EVENTS: &str = "/conversations/u/tracker/events";

/// Posts `body`, which must be refused with `status`, a reason that contains `message`, and no trace.
async fn refused(program: &Program, path: &str, body: impl Into<Vec<u8>>, status: u16, message: &str) -> Answer {
    let before = program.head().await;
    let request = program.request(Method::POST, path).header("content-type", "application/json").body(body.into());
    let answer = program.send(request).await.unwrap();
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.body.contains(message), "{message}: {answer:?}");
    assert_eq!(program.head().await, before, "something was recorded: {answer:?}");
    alive(program).await;
    answer
}

/// The server answers.
async fn alive(program: &Program) {
    assert_eq!(program.get("/webhooks/rest/").await.status, 200);
}

/// As many brackets as it takes.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[tokio::test]
async fn messages_that_are_not_json_are_refused() {
    let (_project, program) = start_on("").await;
    for (body, message) in [
        (&b"{"[..], "Failed when parsing body as json (expected a key in double quotes at byte 1)"),
        (b"", "Failed when parsing body as json"),
        (b"{\"message\":\"m\"} x", "something after the end"),
        (b"{'message':'m'}", "expected a key in double quotes"),
        (b"{\"message\":NaN}", "expected a value"),
        (b"{\"message\":\"\xff\xfe\"}", "invalid UTF-8 at byte 12"),
        (b"\xef\xbb\xbf{}", "expected a value at byte 0"),
        (b"{\"message\":\"a\nb\"}", "a control character inside a string"),
        (b"{\"message\":\"\\ud800\"}", "a lone surrogate"),
        (b"{\"message\":\"\\udc00\\ud800\"}", "a lone surrogate"),
        (b"{\"message\":\"m\",\"metadata\":{\"k\":\"\\ud83d\"}}", "a lone surrogate"),
        (b"[]", "must be a JSON object"),
        (b"5", "must be a JSON object"),
        (b"{\"message\":\"m\",\"sender\":[\"a\"]}", "`sender` must be a string"),
        (b"{\"message\":\"m\",\"sender\":{}}", "`sender` must be a string"),
        (b"{\"message\":\"m\",\"input_channel\":{}}", "`input_channel` must be a string"),
        (b"{\"message\":\"m\",\"sender\":\"a\\u0000b\"}", "no NUL character"),
    ] {
        let answer = refused(&program, REST, body, 400, message).await;
        let said = answer.json();
        assert_eq!((&said["description"], &said["status"]), (&json!("Bad Request"), &json!(400)));
        assert_eq!(crate::support::keys(&said), ["description", "status", "message"]);
    }
    for depth in [1_000, 100_000] {
        let deep = nested(depth);
        refused(&program, REST, deep.clone(), 400, "levels of nesting").await;
        refused(&program, REST, format!("{{\"message\":\"m\",\"metadata\":{deep}}}"), 400, "levels of nesting").await;
        refused(&program, REST, "[{\"a\":".repeat(depth), 400, "levels of nesting").await;
    }
}

#[tokio::test]
async fn a_browser_gets_its_errors_as_a_page() {
    let (_project, program) = start_on("").await;
    for accept in ["text/html", "text/html, application/json"] {
        let request = program.request(Method::POST, REST).header("content-type", "application/json").header("accept", accept);
        let answer = program.send(request.body("{")).await.unwrap();
        assert_eq!((answer.status, &answer.headers["content-type"]), (400, &"text/html; charset=utf-8".parse().unwrap()));
    }
    let answer = program.send(program.request(Method::POST, REST).body("{")).await.unwrap();
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    let request = program.request(Method::POST, REST).header("accept", "application/json").body("{");
    assert_eq!(program.send(request).await.unwrap().json()["status"], 400);
}

#[tokio::test]
async fn senders_have_255_characters_at_the_most_and_texts_may_have_a_nul() {
    let project = Project::new();
    let program = start(&project).await;
    let long = |count| json!({"sender": "é".repeat(count), "message": "m"}).to_string();
    refused(&program, REST, long(256), 400, "255 characters at most").await;
    assert_eq!(program.post(REST, long(255)).await.status, 200);

    let answer = program.post(REST, r#"{"sender":"u","message":"a\u0000b"}"#).await;
    assert_eq!(answer.body, r#"[{"recipient_id":"u","text":"a\u0000b"}]"#);
    let bodies = trunkline_testkit::journal_bodies(&project.path(".trunkline"));
    assert!(bodies.iter().any(|body| body.contains(r#""text": "a\u0000b""#)), "{bodies:?}");
}

#[tokio::test]
async fn numbers_and_names_without_end_are_refused_at_every_door() {
    let (_project, program) = start_on("").await;
    let (number, name) = ("9".repeat(4_301), "x".repeat(1 << 16));
    for (path, body, message) in [
        (REST, json!({"message": "m", "input_channel": name}), "`input_channel` must be 255 characters at most"),
        (EVENTS, json!({"event": name}), "`event` must be 255 characters at most"),
        (EVENTS, json!([{"event": "user", "input_channel": name}]), "`input_channel` must be 255 characters at most"),
        ("/api/events", json!({"sender_id": "u", "event": name}), "`event` must be 255 characters at most"),
        ("/api/events", json!({"conversation_id": "u", (name.as_str()): {}}), "`payload` must be 255 characters at most"),
    ] {
        refused(&program, path, body.to_string(), 400, message).await;
    }
    for (path, body) in [
        (REST, r#"{"sender":"a","message":"m","metadata":{"n":N}}"#),
        (REST, r#"{"sender":N,"message":"m"}"#),
        (EVENTS, r#"{"event":"slot","name":"n","value":-N}"#),
        ("/conversations/u/messages", r#"{"text":"m","sender":"user","parse_data":{"intent":{"confidence":0.N}}}"#),
        ("/api/events", r#"[{"sender_id":"u","event":"restart","timestamp":1e-N}]"#),
    ] {
        refused(&program, path, body.replace('N', &number), 400, "a number of more than 1000 characters").await;
    }
}

#[tokio::test]
async fn a_request_with_too_many_events_leaves_no_trace() {
    let (_project, program) = start_on("").await;
    let many = format!("[{}]", vec![r#"{"event":"x","sender_id":"u"}"#; 10_001].join(","));
    for path in [EVENTS, "/api/events"] {
        let answer = refused(&program, path, many.clone(), 413, "has 10000 events at the most, and this one has 10001").await;
        assert_eq!(answer.json()["reason"], "PayloadTooLarge");
    }
    // As many as fit, in a conversation whose name is longer than they are.
    let path = format!("/conversations/{}/tracker/events", "%F0%9F%98%80".repeat(255));
    let small = format!("[{}]", vec![r#"{"event":"x"}"#; 9_999].join(","));
    refused(&program, &path, small, 413, "send fewer at once").await;
}

#[tokio::test]
async fn unknown_channels_and_pages_are_not_found() {
    let (_project, program) = start_on("").await;
    for path in ["/webhooks/telegram/webhook", "/webhooks/rest/webhook/x", "/webhooks/", "/nothing", "/conversations"] {
        let answer = refused(&program, path, r#"{"sender":"u","message":"m"}"#, 404, "").await;
        let said = json!({"description": "Not Found", "status": 404, "message": format!("Requested URL {path} not found")});
        assert_eq!(answer.json(), said);
    }
    assert_eq!(program.get("/nothing").await.headers["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn events_that_are_none_are_refused_and_a_list_with_one_of_them_leaves_no_trace() {
    let (_project, program) = start_on("").await;
    let good = r#"{"event":"restart","sender_id":"u"}"#;
    for path in [EVENTS, "/api/events"] {
        for (bad, message, parameter) in [
            (r#"{"sender_id":"u"}"#, "needs a member `event`", "event"),
            (r#"{"sender_id":"u","event":""}"#, "needs a member `event`", "event"),
            (r#"{"sender_id":"u","event":5}"#, "needs a member `event`", "event"),
            (r#"{"sender_id":"u","event":"user","timestamp":"now"}"#, "`timestamp`", "timestamp"),
            (r#"{"sender_id":"u","event":"user","metadata":[]}"#, "`metadata`", "metadata"),
            (r#"{"sender_id":"u","event":"slot","name":"size"}"#, "`name`", "name"),
            ("5", "an event is a JSON object", ""),
        ] {
            let answer = refused(&program, path, bad, 400, message).await.json();
            assert_eq!(answer["details"], json!({"parameter": parameter, "in": "body"}), "{bad}");
            let list = format!("[{good},{bad},{good}]");
            let answer = refused(&program, path, list, 400, message).await.json();
            assert!(answer["message"].as_str().unwrap().contains("event 1"), "{answer}");
        }
        for (bad, message) in [
            ("", "There is no body"),
            ("{", "not JSON"),
            ("[]", "The list has no event"),
            (r#"{"event":"a\ud800"}"#, "a lone surrogate"),
        ] {
            refused(&program, path, bad, 400, message).await;
        }
        refused(&program, path, format!("[{{\"event\":\"e\",\"sender_id\":\"u\",\"k\":{}}}]", nested(100_000)), 400, "nesting")
            .await;
        refused(&program, path, [&b"{\"event\":\""[..], &[0xff], &b"\"}"[..]].concat(), 400, "invalid UTF-8").await;
    }
    refused(&program, "/api/events", r#"{"event":"restart"}"#, 400, "`sender_id`").await;
    refused(&program, "/api/events", r#"{"event":"restart","sender_id":"a\u0000"}"#, 400, "no NUL").await;
    refused(&program, "/conversations/a%00b/tracker/events", good, 400, "no NUL").await;
    refused(&program, &format!("/conversations/{}/tracker/events", "u".repeat(256)), good, 400, "255 characters").await;
    let request = program.request(Method::PUT, EVENTS).body(format!("[{good},{{}}]"));
    assert_eq!(program.send(request).await.unwrap().status, 400);
    assert_eq!(program.head().await, 0);
}

#[tokio::test]
async fn the_deepest_message_accepted_is_answered_and_shown() {
    let url = crate::support::serve(|heard| {
        let deep = heard.body["metadata"].to_string();
        std::future::ready(crate::support::json(format!("{{\"custom\": {deep}}}")))
    })
    .await;
    let project = Project::new().file("trunkline.yml", &crate::support::assistant("http", &url));
    let program = start(&project).await;
    let message = |depth| format!("{{\"sender\":\"u\",\"message\":\"m\",\"metadata\":{}}}", nested(depth));
    let mut depth = 1;
    while program.post(REST, message(depth)).await.status == 200 {
        depth += 13;
    }
    depth -= 13;
    while program.post(REST, message(depth)).await.status == 200 {
        depth += 1;
    }
    assert!((100..128).contains(&depth), "{depth}");
    let answer = program.post(REST, message(depth - 1)).await;
    assert!(answer.body.contains(&nested(depth - 1)), "{answer:?}");
    // Neither the message nor the answer went beyond what others can read.
    let events = recorded(&project, "u");
    assert_eq!(gist(&events[events.len() - 3..]), ["user", "bot", "action:action_listen"]);
    let tracker = program.get("/conversations/u/tracker").await.json();
    assert_eq!(tracker["events"].as_array().unwrap().len(), events.len());
}

#[tokio::test]
async fn large_bodies_are_refused_and_take_no_memory() {
    let (_project, program) = start_on("").await;
    alive(&program).await;
    let before = program.memory("VmHWM");
    let large = || format!("{{\"sender\":\"u\",\"message\":\"{}\"}}", "x".repeat(10 << 20));
    for path in [REST, EVENTS, "/api/events", "/conversations/u/messages"] {
        let answer = refused(&program, path, large(), 413, "larger than 1048576 bytes").await;
        assert_eq!(answer.headers["connection"], "close", "{path}");
        // The same without a length given in advance.
        let chunks = large().as_bytes().chunks(100_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>();
        let body = reqwest::Body::wrap_stream(tokio_stream::iter(chunks));
        let answer = program.send(program.request(Method::POST, path).body(body)).await.unwrap();
        assert_eq!(answer.status, 413, "{path}");
    }
    let posts = (0..32).map(|_| {
        let request = program.request(Method::POST, REST).body(large());
        tokio::spawn(request.send())
    });
    for post in posts.collect::<Vec<_>>() {
        assert_eq!(post.await.unwrap().unwrap().status(), 413);
    }
    let grown = program.memory("VmHWM") - before;
    assert!(grown < 100 << 20, "it grew by {} MiB", grown >> 20);
    assert_eq!(program.head().await, 0);
    alive(&program).await;
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let project = Project::new();
    let program = start_with(&project, &["--enable-api", "--auth-token", "s3cret"]).await;
    for (method, path, status) in [
        (Method::POST, "/webhooks/unknown/webhook", 404),
        (Method::PUT, REST, 405),
        (Method::POST, "/api/events", 401),
        (Method::PUT, EVENTS, 401),
    ] {
        for size in [5_000, 100_000, 5_000_000] {
            for _ in 0..5 {
                let answer = program.send(program.request(method.clone(), path).body("x".repeat(size))).await.unwrap();
                assert_eq!(answer.status, status, "{path}");
            }
        }
        // One that asks first is not made to send.
        let mut connection = Connection::open(&program).await;
        let head = format!("{method} {path} HTTP/1.1\r\nhost: t\r\ncontent-length: 5000000\r\nexpect: 100-continue\r\n\r\n");
        connection.send(head).await;
        assert_eq!(connection.answer().await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_given_up() {
    let (_project, program) = start_on("server:\n  body_timeout: 1s\n").await;
    for (path, description) in [(REST, "Request Timeout"), (EVENTS, "RequestTimeout")] {
        let mut connection = Connection::open(&program).await;
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{{\"mess");
        connection.send(head).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, &answer.headers["connection"]), (408, &"close".parse().unwrap()));
        assert!(answer.body.contains("did not arrive within 1s") && answer.body.contains(description), "{answer:?}");
        assert_eq!(connection.closed().await, "");
    }
    assert_eq!(program.head().await, 0);
    alive(&program).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_recorded() {
    let (_project, program) = start_on("").await;
    let mut connection = Connection::open(&program).await;
    connection.send(format!("POST {REST} HTTP/1.1\r\nhost: t\r\ncontent-length: 50\r\n\r\n{{\"message\":\"m\"}}")).await;
    drop(connection);
    let mut connection = Connection::open(&program).await;
    connection.send(format!("POST {REST} HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n")).await;
    let said = connection.closed().await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 400 "), "{said}");
    alive(&program).await;
    assert_eq!(program.head().await, 0);
}

#[tokio::test]
async fn heads_that_are_too_large_or_none_at_all_are_refused() {
    let (_project, program) = start_on("").await;
    let mut many = "GET / HTTP/1.1\r\nhost: t\r\n".to_owned();
    (0..1_000).for_each(|number| write!(many, "x-{number}: y\r\n").unwrap());
    let large = format!("GET / HTTP/1.1\r\nhost: t\r\nx: {}\r\n\r\n", "y".repeat(2 << 20));
    let long = format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "y".repeat(100_000));
    for (head, status) in [
        (format!("{many}\r\n"), "431"),
        (large, "431"),
        (long, "414"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nhost: t\r\nbad header: x\r\n\r\n".to_owned(), "400"),
        (format!("POST {REST} HTTP/1.1\r\nhost: t\r\ncontent-length: x\r\n\r\n"), "400"),
    ] {
        let mut connection = Connection::open(&program).await;
        connection.send(&head).await;
        let said = connection.closed().await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{status} {head:.50} {said:?}");
    }
    assert_eq!(program.head().await, 0);
    alive(&program).await;
}
