//! Rasa's HTTP API.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use trunkline_testkit::{Answer, Program, Project, file_events};

use crate::support::{gist, keys, recorded, start, start_on, start_with};

async fn put(program: &Program, conversation: &str, events: &Value) -> Answer {
    let path = format!("/conversations/{conversation}/tracker/events?include_events=ALL");
    program.send(program.request(Method::PUT, &path).body(events.to_string())).await.unwrap()
}

async fn tracker(program: &Program, conversation: &str) -> Value {
    program.get(&format!("/conversations/{conversation}/tracker?include_events=ALL")).await.json()
}

async fn published(project: &Project, program: &Program) -> Vec<Value> {
    program.settled().await;
    file_events(&project.path("events.log")).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn slot(name: &str, timestamp: f64) -> Value {
    json!({"event": "slot", "timestamp": timestamp, "name": name, "value": 1})
}

/// The envelope of errors.
fn assert_problem(answer: &Answer, status: u16, reason: &str, details: &Value) {
    let problem = answer.json();
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(keys(&problem), ["version", "status", "message", "reason", "details", "help", "code"]);
    assert_eq!((&problem["version"], &problem["status"], &problem["help"]), (&json!("3.6.21"), &json!("failure"), &Value::Null));
    assert_eq!((&problem["reason"], &problem["details"], &problem["code"]), (&json!(reason), details, &json!(status)));
    assert!(!problem["message"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn without_enable_api_there_are_only_the_greeting_the_channels_and_the_probes() {
    let project = Project::new();
    let program = start_with(&project, &[]).await;
    for path in ["/version", "/status", "/conversations/u/tracker", "/conversations/u/tracker/events", "/api/events"] {
        for method in [Method::GET, Method::POST, Method::PUT] {
            let answer = program.send(program.request(method, path).body("[]")).await.unwrap();
            assert_eq!(answer.status, 404, "{path}");
        }
    }
    assert!(program.get("/").await.body.starts_with("Hello from Rasa: 3.6.21"));
    assert_eq!(program.say("u", "hello").await[0]["text"], "hello");
}

#[tokio::test]
async fn the_administration_needs_a_token_when_the_api_is_off() {
    let project = Project::new();
    let program = start_with(&project, &[]).await;
    for (method, path) in [
        (Method::GET, "/api/subscriptions"),
        (Method::GET, "/api/dead-letters"),
        (Method::GET, "/api/dead-letters/1"),
        (Method::DELETE, "/api/dead-letters/1"),
        (Method::POST, "/api/dead-letters/1/replay"),
    ] {
        let answer = program.send(program.request(method.clone(), path)).await.unwrap();
        assert_problem(&answer, 401, "NotAuthenticated", &json!({}));
        let request = program.request(method, path).header("authorization", "Bearer nonsense");
        assert_eq!(program.send(request).await.unwrap().status, 401);
    }
    // The token lies beside the journal, for the same user's commands.
    let control: Value =
        serde_json::from_str(&std::fs::read_to_string(project.path(".trunkline/gateway.json")).unwrap()).unwrap();
    let request = program.request(Method::GET, "/api/subscriptions").bearer_auth(control["token"].as_str().unwrap());
    assert_eq!(program.send(request).await.unwrap().status, 200);
}

#[tokio::test]
async fn greeting_version_and_status_are_rasas() {
    let (_project, program) = start_on("").await;
    let hello = program.get("/").await;
    assert_eq!(hello.headers["content-type"], "text/plain; charset=utf-8");
    assert!(hello.body.starts_with("Hello from Rasa: 3.6.21"));
    let version = program.get("/version").await.json();
    assert_eq!((&version["version"], &version["minimum_compatible_version"]), (&json!("3.6.21"), &json!("3.6.21")));
    assert_eq!(keys(&program.get("/status").await.json()), ["model_file", "model_id", "num_active_training_jobs"]);
}

#[tokio::test]
async fn the_tracker_of_nobody_shows_a_session_start_that_is_not_recorded() {
    let (_project, program) = start_on("").await;
    for request in [Method::GET, Method::HEAD] {
        let answer = program.send(program.request(request, "/conversations/nobody/tracker")).await.unwrap();
        assert_eq!((answer.status, &answer.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    }
    let tracker = program.get("/conversations/nobody/tracker").await.json();
    let events = tracker["events"].as_array().unwrap();
    assert_eq!(gist(events), ["action:action_session_start", "session_started", "action:action_listen"]);
    assert!(events.iter().all(|event| event.get("sender_id").is_none()));
    assert_eq!(
        keys(&tracker),
        [
            "sender_id",
            "slots",
            "latest_message",
            "latest_event_time",
            "followup_action",
            "paused",
            "events",
            "latest_input_channel",
            "active_loop",
            "latest_action",
            "latest_action_name"
        ]
    );
    assert_eq!(tracker["sender_id"], "nobody");
    assert_eq!(program.head().await, 0);
}

#[tokio::test]
async fn trackers_are_shown_with_the_events_asked_for() {
    let (_project, program) = start_on("").await;
    let events = json!([
        slot("a", 1.0),
        {"event": "restart", "timestamp": 2.0},
        slot("b", 3.0),
        {"event": "action", "timestamp": 3.5, "name": "action_listen"},
        {"event": "user", "timestamp": 4.0, "text": "x", "parse_data": {}},
        {"event": "rewind", "timestamp": 5.0},
    ]);
    put(&program, "u", &events).await;
    let count = async |query: &str| {
        let tracker = program.get(&format!("/conversations/u/tracker{query}")).await.json();
        tracker["events"].as_array().map(Vec::len)
    };
    for (query, expected) in [
        ("", Some(4)),
        ("?include_events=AFTER_RESTART", Some(4)),
        ("?include_events=all", Some(6)),
        ("?include_events=ALL", Some(6)),
        ("?include_events=Applied", Some(1)),
        ("?include_events=NONE", None),
        ("?include_events=ALL&until=3.0", Some(3)),
        ("?include_events=ALL&until=2.5", Some(2)),
        ("?include_events=ALL&until=soon", Some(6)),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let before = program.head().await;
    for (method, path) in
        [(Method::GET, "tracker"), (Method::POST, "tracker/events"), (Method::PUT, "tracker/events"), (Method::POST, "messages")]
    {
        let body = if path == "messages" { json!({"text": "x", "sender": "user"}) } else { slot("z", 9.0) };
        let request = program.request(method, &format!("/conversations/u/{path}?include_events=SOME")).body(body.to_string());
        let answer = program.send(request).await.unwrap();
        assert_problem(&answer, 400, "BadRequest", &json!({"parameter": "include_events", "in": "query"}));
        assert!(answer.body.contains("NONE, APPLIED, AFTER_RESTART, ALL"), "{answer:?}");
    }
    assert_eq!(program.head().await, before, "a request that is refused leaves no trace");
}

#[tokio::test]
async fn posted_events_pass_untouched_in_their_order() {
    let project = Project::with_brokers();
    let program = start(&project).await;
    let one = r#"{"zeta":[1.50,{"é":null}],"event":"my_own","timestamp":3,"alpha":12345678901234567890,"sender_id":"other"}"#;
    let list =
        r#"[{"event":"slot","timestamp":4.5,"name":"size","value":null,"extra":true},{"event":"restart","metadata":{"m":1}}]"#;
    let state = program.post("/conversations/u/tracker/events", one).await;
    assert_eq!((state.status, &state.json()["sender_id"]), (200, &json!("u")));
    let state = program.post("/conversations/u/tracker/events?include_events=ALL", list).await.json();
    assert_eq!(state["events"].as_array().unwrap().len(), 6);
    program.settled().await;
    let lines = file_events(&project.path("events.log"));
    assert!(
        lines[0].contains("action_session_start") && lines[1].contains("session_started") && lines[2].contains("action_listen")
    );
    assert_eq!(
        lines[3],
        r#"{"sender_id": "u", "zeta": [1.50, {"\u00e9": null}], "event": "my_own", "timestamp": 3, "alpha": 12345678901234567890}"#
    );
    assert_eq!(
        lines[4],
        r#"{"sender_id": "u", "event": "slot", "timestamp": 4.5, "name": "size", "value": null, "extra": true}"#
    );
    let restart: Value = serde_json::from_str(&lines[5]).unwrap();
    assert_eq!(keys(&restart), ["sender_id", "event", "timestamp", "metadata"]);
    assert!(restart["timestamp"].as_f64().unwrap() > 1e9);
    assert_eq!(lines.len(), 6);
}

#[tokio::test]
async fn a_session_start_comes_first_unless_the_events_bring_one() {
    let (project, program) = start_on("").await;
    let own = json!([{"event": "action", "name": "action_session_start"}, {"event": "session_started"}, slot("a", 1.0)]);
    program.post("/conversations/own/tracker/events", own.to_string()).await;
    assert_eq!(gist(&recorded(&project, "own")), ["action:action_session_start", "session_started", "slot:a"]);
    program.post("/conversations/u/tracker/events", slot("a", 1.0).to_string()).await;
    program.say("u", "hello").await;
    let expected = "action:action_session_start session_started action:action_listen slot:a user bot action:action_listen";
    assert_eq!(gist(&recorded(&project, "u")).join(" "), expected);
}

#[tokio::test]
async fn a_replaced_tracker_is_read_as_it_was_put_and_only_the_surplus_is_published() {
    let project = Project::with_brokers();
    let program = start(&project).await;
    let events = |names: &[&str]| Value::from(names.iter().map(|name| slot(name, 1.5)).collect::<Vec<_>>());
    let read = async || gist(tracker(&program, "u").await["events"].as_array().unwrap());

    let answer = put(&program, "u", &events(&["a", "b"])).await;
    assert_eq!((answer.status, &answer.json()["events"]), (200, &events(&["a", "b"])));
    assert_eq!(gist(&published(&project, &program).await), ["slot:a", "slot:b"]);

    put(&program, "u", &events(&["c", "d", "e"])).await;
    assert_eq!(tracker(&program, "u").await["events"], events(&["c", "d", "e"]));
    assert_eq!(gist(&published(&project, &program).await), ["slot:a", "slot:b", "slot:e"]);

    put(&program, "u", &events(&["f"])).await;
    assert_eq!(read().await, ["slot:f"]);
    assert_eq!(published(&project, &program).await.len(), 3);

    // What follows is added to what was put, and a replacement of a replacement counts that.
    program.post("/conversations/u/tracker/events", slot("g", 2.0).to_string()).await;
    assert_eq!(read().await, ["slot:f", "slot:g"]);
    put(&program, "u", &events(&["h", "i", "j"])).await;
    assert_eq!(read().await, ["slot:h", "slot:i", "slot:j"]);
    assert_eq!(gist(&published(&project, &program).await)[3..], ["slot:g", "slot:j"]);
    assert_eq!(tracker(&program, "u").await["slots"], json!({"h": 1, "i": 1, "j": 1}));

    program.stop().await;
    let program = start(&project).await;
    assert_eq!(gist(tracker(&program, "u").await["events"].as_array().unwrap()), ["slot:h", "slot:i", "slot:j"]);
    // The message after it is answered as any other.
    assert_eq!(program.say("u", "hello").await[0]["text"], "hello");
}

#[tokio::test]
async fn the_deepest_event_accepted_survives_a_replacement() {
    let (_project, program) = start_on("").await;
    let mut deepest = None;
    for depth in 90..130 {
        let value: String = "[".repeat(depth) + &"]".repeat(depth);
        let body = format!("[{{\"event\":\"slot\",\"timestamp\":1.0,\"name\":\"deep\",\"value\":{value}}}]");
        for _ in 0..2 {
            let request = program.request(Method::PUT, "/conversations/u/tracker/events?include_events=ALL").body(body.clone());
            let answer = program.send(request).await.unwrap();
            if answer.status == 200 {
                assert!(answer.body.contains(&format!(
                    "\"events\":[{{\"event\":\"slot\",\"timestamp\":1.0,\"name\":\"deep\",\"value\":{value}}}]"
                )));
                // It is still within what common parsers read.
                assert_eq!(answer.json()["events"].as_array().unwrap().len(), 1);
                deepest = Some(depth);
            } else {
                assert_eq!(answer.status, 400);
            }
        }
        let shown = tracker(&program, "u").await;
        assert_eq!(shown["events"].as_array().unwrap().len(), 1, "{depth}");
    }
    assert!(deepest.is_some_and(|depth| depth >= 100), "{deepest:?}");
}

#[tokio::test]
async fn a_posted_message_is_recorded_and_not_answered() {
    let (project, program) = start_on("").await;
    let path = "/conversations/u/messages";
    let parse_data = json!({"intent": {"name": "greet", "confidence": 1.0}, "entities": [], "text": "hi"});
    let state = program.post(path, json!({"text": "hi", "sender": "user", "parse_data": parse_data}).to_string()).await.json();
    assert_eq!(state["latest_message"]["intent"], json!({"name": "greet", "confidence": 1.0}));
    assert_eq!(state["latest_input_channel"], Value::Null);
    let events = recorded(&project, "u");
    assert_eq!(gist(&events[3..]), ["user"]);
    assert_eq!((&events[3]["parse_data"], &events[3]["input_channel"]), (&parse_data, &Value::Null));
    program.post(path, r#"{"text":"plain","sender":"user"}"#).await;
    assert_eq!(recorded(&project, "u")[4]["parse_data"]["intent"], json!({"name": null, "confidence": 0.0}));

    let before = program.head().await;
    for (body, parameter) in [
        (r#"{"text":"x","sender":"bot"}"#, "sender"),
        (r#"{"text":"x"}"#, "sender"),
        (r#"{"sender":"user"}"#, "text"),
        (r#"{"sender":"user","text":5}"#, "text"),
        (r#"{"sender":"user","text":"x","parse_data":[]}"#, "parse_data"),
        ("[]", "text"),
        ("", ""),
    ] {
        assert_problem(&program.post(path, body).await, 400, "BadRequest", &json!({"parameter": parameter, "in": "body"}));
    }
    assert_eq!(program.head().await, before);
}

#[tokio::test]
async fn conversations_may_be_called_anything() {
    let (project, program) = start_on("").await;
    for (path, id) in [
        ("a/b", "a/b"),
        ("a%2Fb%2Fc", "a/b/c"),
        ("user%2F7%20%C3%BC", "user/7 ü"),
        ("+41791234567", "+41791234567"),
        ("100%25", "100%"),
        ("100%2525", "100%25"),
        ("tracker", "tracker"),
        ("messages/tracker/events", "messages/tracker/events"),
        ("%E4%BD%A0%E5%A5%BD", "你好"),
        ("a%3Fb%23c", "a?b#c"),
    ] {
        let event = slot("s", 1.0).to_string();
        let state = program.post(&format!("/conversations/{path}/tracker/events"), event).await;
        assert_eq!(state.json()["sender_id"], id, "{path}");
        assert_eq!(recorded(&project, id).len(), 4, "{path}");
        // What was said through the channel is found under the same id.
        program.say(id, "hello").await;
        assert_eq!(tracker(&program, path).await["events"].as_array().unwrap().len(), 7, "{path}");
    }
    for path in ["/conversations/%ff/tracker", "/conversations/u/nothing", "/conversations/u"] {
        assert_problem(&program.get(path).await, 404, "NotFound", &json!({}));
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_there() {
    let (_project, program) = start_on("").await;
    for (path, allowed, methods) in [
        ("/conversations/u/tracker", "GET,HEAD", vec![Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS]),
        ("/conversations/u/tracker/events", "POST,PUT", vec![Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS]),
        ("/conversations/u/messages", "POST", vec![Method::GET, Method::PUT]),
        ("/version", "GET,HEAD", vec![Method::POST]),
        ("/api/events", "POST", vec![Method::GET, Method::PUT]),
    ] {
        for method in methods {
            let answer = program.send(program.request(method.clone(), path).body("{}")).await.unwrap();
            assert_eq!(answer.status, 405, "{method} {path}");
            let found: BTreeSet<_> = answer.headers["allow"].to_str().unwrap().split(',').map(str::trim).collect();
            assert_eq!(found, allowed.split(',').collect(), "{method} {path}");
        }
    }
    assert_eq!(program.head().await, 0);
}
