//! A journal that an older program has written: what it knew is known, and it goes on.

use std::fs;
use std::path::Path;
use std::process::Command;

use axum::response::IntoResponse as _;
use reqwest::Method;
use serde_json::{Value, json};
use trunkline_testkit::Project;
use trunkline_testkit::http::Server;

use crate::support::{REST, assistant, start};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../trunkline-journal/tests/fixtures/layout-2");

/// What a command prints about the journal of a project, whether a gateway runs or not.
fn trunkline(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    let output = command.args(arguments).arg("--json").current_dir(project.directory()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_journal_of_layout_2_is_continued_and_its_identities_are_known() {
    let mut server = Server::start(async |_| r#"[{"text": "new"}]"#.into_response()).await;
    // The identities are of the day when it was made.
    let settings =
        format!("journal: {{deduplication_window: 876000 h}}\n{}", assistant("http", &format!("http://{}/", server.address)));
    let project = Project::new().file("trunkline.yml", &settings);
    fs::create_dir(project.path(".trunkline")).unwrap();
    fs::copy(Path::new(FIXTURE).join("journal.db"), project.path(".trunkline/journal.db")).unwrap();

    let program = start(&project).await;
    assert_eq!(trunkline(&project, &["journal", "verify"])[0]["sound"], true);
    let before = trunkline(&project, &["journal", "dump"]);
    let dead: Vec<_> = trunkline(&project, &["dead-letters", "list"]).iter().map(|letter| letter["id"].clone()).collect();
    assert_eq!((before.len(), dead), (26, vec![json!("1"), json!("2")]));

    let replies = |text: &str| {
        let pick = r#"{"recipient_id":"ann","text":"Pick","buttons":[{"title":"Yes","payload":"\/yes"}]}"#;
        format!(r#"[{{"recipient_id":"ann","text":"You said: {text}"}},{pick}]"#)
    };
    let say = async |key: &str, path: &str| {
        let body = json!({"sender": "ann", "message": "is of no concern"}).to_string();
        let request = program.request(Method::POST, path).header("idempotency-key", key).body(body);
        program.send(request).await.unwrap().body
    };
    assert_eq!(say("k-1", REST).await, replies("hello"));
    assert_eq!(say("k-2", REST).await, replies("stream"));
    let streamed = say("k-2", &format!("{REST}?stream=true")).await;
    assert_eq!(streamed.lines().count(), 2, "{streamed}");
    let event = |conversation: &str| json!({"sender_id": conversation, "event": "restart", "timestamp": 1.5});
    let post = async |path: &str, body: Value, key: &str| {
        let request = program.request(Method::POST, path).header("idempotency-key", key).body(body.to_string());
        program.send(request).await.unwrap()
    };
    for (key, body, last) in [("list-1", json!([event("bob"), event("cy")]), 19), ("one-1", event("bob"), 20)] {
        let answer = post("/api/events", body, key).await.json();
        assert_eq!((&answer["duplicate"], &answer["last_offset"]), (&json!(true), &json!(last)), "{answer}");
    }
    assert_eq!(post("/conversations/dora/tracker/events", event("dora"), "c-1").await.status, 200);
    assert_eq!(post("/conversations/dora/messages", json!({"text": "x", "sender": "user"}), "m-1").await.status, 200);
    // Beside the question whether it is there, the assistant hears nothing.
    let mut asked = || server.heard().into_iter().filter(|heard| heard.method == "POST").count();
    assert_eq!((program.head().await, asked()), (26, 0));

    // It goes on behind the last event, and what is new is new.
    assert_eq!(say("k-3", REST).await, r#"[{"recipient_id":"ann","text":"new"}]"#);
    assert_eq!(say("k-3", REST).await, r#"[{"recipient_id":"ann","text":"new"}]"#);
    assert_eq!(asked(), 1);
    program.stop().await;
    assert_eq!(trunkline(&project, &["journal", "verify"])[0]["sound"], true);
    let after = trunkline(&project, &["journal", "dump"]);
    assert_eq!(&after[..26], &before[..]);
    assert_eq!(after.last().unwrap()["event"]["name"], "action_listen");
}
