//! `type: rasa` with `events: tracker`.

use std::sync::Arc;

use trunkline_core::{Assistant, Recording};

use crate::common::{Did, Heard, Server, assistant, failure, from, hello, json, says, status, turn};

/// Rasa's behaviour: the id of a tracker is what stands in the path, nothing decoded.
fn rasa(heard: &Heard) -> axum::response::Response {
    match tracker_of(heard) {
        Some(id) => state(id),
        None => json(r#"[{"text":"a"},{"text":"b"}]"#),
    }
}

fn tracker_of(heard: &Heard) -> Option<&str> {
    let path = heard.target.split('?').next().unwrap();
    path.strip_prefix("/conversations/")?.strip_suffix("/tracker")
}

fn state(id: &str) -> axum::response::Response {
    let id = trunkline_core::json::quote(id, trunkline_core::json::Layout::Dumps);
    json(format!(
        r#"{{"sender_id":{id},"slots":{{}},"events":[{{"event":"user","timestamp":1.50}},{{"event":"bot"}}],"paused":false}}"#
    ))
}

fn with_tracker(url: &str, more: &str) -> Arc<dyn Assistant> {
    assistant(&format!("type: rasa\nurl: {url}\nevents: tracker\n{more}"))
}

fn done() -> Vec<Did> {
    let events = [r#"{"event": "user", "timestamp": 1.50}"#, r#"{"event": "bot"}"#];
    let mut did = vec![Did::Record(events.map(str::to_owned).into())];
    did.extend(says(&["a", "b"]));
    did
}

#[tokio::test]
async fn events_are_recorded_before_anything_is_said() {
    let mut server = Server::start(rasa).await;
    let rasa = with_tracker(&server.url, "token: s3cret");
    assert_eq!(rasa.recording(), Recording::Assistant);
    let (did, result) = turn(&*rasa, &hello()).await;
    result.unwrap();
    assert_eq!(did, done());
    let targets: Vec<_> = server.heard().into_iter().map(|heard| heard.method + " " + &heard.target).collect();
    assert_eq!(
        targets,
        ["POST /webhooks/rest/webhook?token=s3cret", "GET /conversations/u1/tracker?token=s3cret&include_events=ALL"]
    );
}

#[tokio::test]
async fn ids_that_fit_into_an_address_are_sent_raw() {
    let mut server = Server::start(rasa).await;
    let rasa = with_tracker(&server.url, "");
    for id in ["a/b", "/a//b/", "a+b", "a%2Fb", "whatsapp:+49123", "auth0|5f", "x@y.z", "a&b=c"] {
        let (did, result) = turn(&*rasa, &from(id)).await;
        result.unwrap();
        assert_eq!(did, done(), "{id}");
        let targets: Vec<_> = server.heard().into_iter().map(|heard| heard.target).collect();
        assert_eq!(targets, ["/webhooks/rest/webhook".to_owned(), format!("/conversations/{id}/tracker?include_events=ALL")]);
    }
}

#[tokio::test]
async fn ids_that_rasa_cannot_be_asked_for_are_refused_before_it_acts() {
    let mut server = Server::start(rasa).await;
    let rasa = with_tracker(&server.url, "");
    for (id, escaped) in [("a b", "a%20b"), ("é", "%C3%A9"), ("a?b", "a%3Fb"), ("a#b", "a%23b"), ("5%", "5%25")] {
        let error = failure(&*rasa, &from(id)).await;
        let found =
            format!("/conversations/{escaped}/tracker: found the tracker of conversation {escaped:?} (Rasa does not decode");
        assert!(error.contains(&found) && error.ends_with(&format!("expected the one of conversation {id:?}")), "{error}");
        let targets: Vec<_> = server.heard().into_iter().map(|heard| heard.target).collect();
        assert_eq!(targets, [format!("/conversations/{escaped}/tracker?include_events=NONE")]);
    }
    let error = failure(&*rasa, &from("a/../b")).await;
    assert!(error.contains("found the conversation id \"a/../b\", which has `.` or `..` between slashes"), "{error}");
    assert_eq!(server.heard().len(), 0);
}

#[tokio::test]
async fn a_server_that_decodes_is_understood() {
    let server = Server::start(|heard| match tracker_of(heard) {
        Some("a%20%C3%A9") => state("a é"),
        Some(other) => state(other),
        None => rasa(heard),
    })
    .await;
    let (did, result) = turn(&*with_tracker(&server.url, ""), &from("a é")).await;
    result.unwrap();
    assert_eq!(did, done());
}

#[tokio::test]
async fn nothing_is_said_when_the_tracker_cannot_be_had() {
    for (code, body, found) in [
        (
            404,
            "<h1>404</h1>",
            "found status 404 and the body \"<h1>404</h1>\", expected status 200 with the tracker; is the server started with `--enable-api`?",
        ),
        (401, "no", "found status 401 and the body \"no\", expected status 200 with the tracker; is `token` that of the server?"),
        (500, "", "found status 500 and an empty body, expected status 200 with the tracker"),
        (
            200,
            "{",
            "found what is not JSON (expected a key in double quotes at byte 1) in the body \"{\", expected the JSON object of a tracker",
        ),
        (200, "{}", "found no `events`, expected a tracker with a list of `events`, each a JSON object"),
        (
            200,
            r#"{"sender_id":"u2","events":[]}"#,
            "found the tracker of conversation \"u2\", expected the one of conversation \"u1\"",
        ),
    ] {
        let server = Server::start(move |heard| if heard.method == "GET" { status(code, body) } else { rasa(heard) }).await;
        let error = failure(&*with_tracker(&server.url, ""), &hello()).await;
        assert_eq!(error, format!("assistant `rasa` at {}/conversations/u1/tracker: {found}", server.url));
    }
}

#[tokio::test]
async fn a_long_conversation_has_a_limit_of_its_own() {
    let event = format!(r#"{{"event": "user", "text": "{}"}}"#, "x".repeat(999));
    let body = format!(r#"{{"sender_id":"u1","events":[{}]}}"#, vec![event; 2000].join(","));
    let server = Server::start(move |heard| if heard.method == "GET" { json(body.clone()) } else { json("[]") }).await;
    let (did, result) = turn(&*with_tracker(&server.url, ""), &hello()).await;
    result.unwrap();
    assert!(matches!(&did[..], [Did::Record(events)] if events.len() == 2000));
    let error = failure(&*with_tracker(&server.url, "max_tracker: 1 MiB"), &hello()).await;
    assert!(error.ends_with("found a larger body, expected at most 1048576 bytes (`max_tracker`)"), "{error}");
}
