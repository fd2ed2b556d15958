//! What a receiver gets, and in which order.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::sync::Barrier;
use trunkline_core::{Batch, Broker, Event, Outcome};
use trunkline_testkit::http::axum::http::StatusCode;
use trunkline_testkit::http::axum::response::{IntoResponse, Response};
use trunkline_testkit::http::{Authority, Heard, Served, Server};

use crate::common::{batch, deliver, event, journal, key, reason};
use crate::settings::build;

pub(crate) fn status(code: u16) -> Response {
    StatusCode::from_u16(code).unwrap().into_response()
}

/// The broker of a section without fault.
pub(crate) fn broker(url: &str, more: &str) -> Arc<dyn Broker> {
    let (broker, said) = build(&format!("type: webhook\nurl: {url}\n{more}"), Path::new("/nowhere"));
    assert_eq!(said, [""; 0], "{more}");
    broker.unwrap()
}

pub(crate) fn broker_for(server: &Server, more: &str) -> Arc<dyn Broker> {
    broker(&format!("http://{}/events", server.address), more)
}

fn body_of(heard: &Heard) -> &str {
    std::str::from_utf8(&heard.body).unwrap()
}

/// The events of each conversation, in order.
fn by_conversation<'e>(bodies: impl IntoIterator<Item = &'e [u8]>) -> HashMap<String, Vec<Vec<u8>>> {
    let mut sorted: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for body in bodies {
        let value: serde_json::Value = serde_json::from_slice(body).unwrap();
        sorted.entry(value["sender_id"].as_str().unwrap().to_owned()).or_default().push(body.to_vec());
    }
    sorted
}

fn expected(events: &[Arc<Event>]) -> HashMap<String, Vec<Vec<u8>>> {
    by_conversation(events.iter().map(|event| event.body.as_ref()))
}

#[tokio::test]
async fn a_request_carries_one_event_byte_for_byte_under_its_id() {
    let mut server = Server::start(|_| async { status(202) }).await;
    let broker =
        broker_for(&server, "headers: {X-Team: shop, Content-Type: application/vnd.shop+json}\ntoken: a&b\ntoken_name: key");
    let journal = journal(1);
    deliver(&*broker, &batch(&journal, &key())).await;
    let heard = server.hear().await;
    assert_eq!((heard.method.as_str(), heard.target.as_str()), ("POST", "/events?key=a%26b"));
    assert_eq!(heard.body, journal[0].body);
    assert_eq!(heard.header("webhook-id"), journal[0].id.to_string());
    assert_eq!(heard.header("x-team"), "shop");
    assert_eq!(heard.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["application/vnd.shop+json"]);
    assert!(heard.header("user-agent").starts_with("trunkline/"));
    for absent in ["webhook-signature", "webhook-timestamp", "x-hub-signature", "x-hub-signature-256", "rasa-export-process-id"] {
        assert!(!heard.headers.contains_key(absent), "{absent}");
    }

    let exported = Batch { export: Some("0123456789abcdef0123456789abcdef".into()), ..batch(&journal, &key()) };
    deliver(&*broker, &exported).await;
    assert_eq!(server.hear().await.header("rasa-export-process-id"), "0123456789abcdef0123456789abcdef");
}

#[tokio::test]
async fn user_and_password_are_sent_from_either_place() {
    let mut server = Server::start(|_| async { status(200) }).await;
    let from_section = broker_for(&server, "basic_auth: {username: me, password: 'pass:w0rd'}");
    let from_url = broker(&format!("http://me:pass%3Aw0rd@{}/", server.address), "");
    for broker in [from_section, from_url] {
        deliver(&*broker, &batch(&journal(1), &key())).await;
        assert_eq!(server.hear().await.header("authorization"), "Basic bWU6cGFzczp3MHJk");
    }
}

#[tokio::test]
async fn a_batch_is_a_list_with_the_ids_of_its_events_and_an_id_of_its_own() {
    let mut server = Server::start(|_| async { status(200) }).await;
    let broker = broker_for(&server, "content: batch");
    let (journal, key) = (journal(230), key());
    deliver(&*broker, &batch(&journal, &key)).await;
    deliver(&*broker, &batch(&journal[..100], &key)).await;
    deliver(&*broker, &batch(&journal[..99], &key)).await;
    let heard = server.heard();
    let parts = [&journal[..100], &journal[100..200], &journal[200..], &journal[..100], &journal[..99]];
    assert_eq!(heard.len(), parts.len());
    for (heard, events) in heard.iter().zip(parts) {
        let bodies: Vec<&str> = events.iter().map(|event| event.body_str()).collect();
        assert_eq!(body_of(heard), format!("[{}]", bodies.join(",")));
        let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
        assert_eq!(heard.header("trunkline-event-ids"), ids.join(","));
        assert!(heard.header("trunkline-event-ids").len() < 4096);
    }
    let ids: Vec<&str> = heard.iter().map(|heard| heard.header("webhook-id")).collect();
    assert!(ids.iter().all(|id| id.starts_with("batch_") && id.len() == 38), "{ids:?}");
    assert_eq!(ids[0], ids[3], "the same events have the same id");
    assert_ne!(ids[0], ids[4]);
}

#[tokio::test]
async fn conversations_go_side_by_side_and_the_events_of_each_one_after_the_other() {
    let (running, most) = (Arc::new(Mutex::new(HashMap::<String, usize>::new())), Arc::new(AtomicUsize::new(0)));
    // Nobody is answered before there are as many as may be.
    let all_here = Arc::new(Barrier::new(4));
    let (counted, highest, gate) = (Arc::clone(&running), Arc::clone(&most), Arc::clone(&all_here));
    let mut server = Server::start(move |heard| {
        let (running, most, all_here) = (Arc::clone(&counted), Arc::clone(&highest), Arc::clone(&gate));
        async move {
            let value: serde_json::Value = serde_json::from_slice(&heard.body).unwrap();
            let conversation = value["sender_id"].as_str().unwrap().to_owned();
            {
                let mut running = running.lock().unwrap();
                *running.entry(conversation.clone()).or_default() += 1;
                assert_eq!(running[&conversation], 1, "one of a conversation at a time");
                most.fetch_max(running.values().sum(), Ordering::Relaxed);
            }
            all_here.wait().await;
            *running.lock().unwrap().get_mut(&conversation).unwrap() -= 1;
            status(200)
        }
    })
    .await;
    let events: Vec<_> = (1..=40).map(|offset| event(offset, &format!("u{}", offset % 8), "x")).collect();
    deliver(&*broker_for(&server, "concurrency: 4"), &batch(&events, &key())).await;
    assert_eq!(most.load(Ordering::Relaxed), 4);
    let heard = server.heard();
    assert_eq!(by_conversation(heard.iter().map(|heard| heard.body.as_ref())), expected(&events));
}

/// Fails, with `code`, the first attempt at each event whose text is `bad`.
async fn failing_once(code: u16) -> Server {
    let failed = Arc::new(Mutex::new(Vec::new()));
    Server::start(move |heard| {
        let failed = Arc::clone(&failed);
        async move {
            let id = heard.header("webhook-id").to_owned();
            let mut failed = failed.lock().unwrap();
            if body_of(&heard).contains("\"bad\"") && !failed.contains(&id) {
                failed.push(id);
                return status(code);
            }
            status(200)
        }
    })
    .await
}

#[tokio::test]
async fn a_failure_in_the_middle_holds_back_its_conversation_and_no_other() {
    for (code, more) in [(500, "concurrency: 1"), (500, "concurrency: 3"), (500, ""), (409, ""), (408, "")] {
        let mut server = failing_once(code).await;
        let broker = broker_for(&server, more);
        let texts = |offset| if offset % 7 == 3 { "bad" } else { "good" };
        let events: Vec<_> = (1..=60).map(|offset| event(offset, &format!("u{}", offset % 5), texts(offset))).collect();
        let (key, mut left, mut received) = (key(), events.clone(), Vec::new());
        for call in 0.. {
            assert!(call < 20, "it comes to an end");
            let outcomes = broker.publish(&batch(&left, &key)).await;
            let delivered: Vec<_> = left.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Outcome::Delivered).collect();
            for (event, outcome) in left.iter().zip(&outcomes) {
                let before =
                    delivered.iter().any(|(other, _)| other.conversation == event.conversation && other.offset > event.offset);
                assert!(*outcome == Outcome::Delivered || !before, "nothing of a conversation goes past a failure");
            }
            received.extend(server.heard());
            let is_left = |outcome: &Outcome| *outcome != Outcome::Delivered;
            left =
                left.iter().zip(&outcomes).filter(|(_, outcome)| is_left(outcome)).map(|(event, _)| Arc::clone(event)).collect();
            if left.is_empty() {
                break;
            }
        }
        // Failed attempts aside, each arrived once and in order.
        let mut seen: HashMap<String, usize> = HashMap::new();
        let taken = received.iter().filter(|heard| {
            let attempt = seen.entry(heard.header("webhook-id").to_owned()).or_default();
            *attempt += 1;
            !body_of(heard).contains("\"bad\"") || *attempt == 2
        });
        assert_eq!(by_conversation(taken.map(|heard| heard.body.as_ref())), expected(&events), "{code} {more}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_overloaded_is_not_asked_for_every_event() {
    for (code, more) in [(503, "concurrency: 2"), (429, "concurrency: 2"), (401, "concurrency: 2"), (503, "content: batch")] {
        let mut server = Server::start(move |_| async move { status(code) }).await;
        let events: Vec<_> = (1..=300).map(|offset| event(offset, &format!("u{offset}"), "x")).collect();
        let outcomes = broker_for(&server, more).publish(&batch(&events, &key())).await;
        assert_eq!(outcomes.len(), 300);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })));
        assert!(outcomes.iter().all(|outcome| reason(outcome).contains(&code.to_string())), "{:?}", outcomes[299]);
        assert!(server.heard().len() <= 2);
    }
}

#[tokio::test]
async fn a_refused_batch_is_cut_until_the_event_is_found_and_all_others_arrive() {
    let mut server =
        Server::start(|heard| async move { status(if body_of(&heard).contains("poison") { 422 } else { 200 }) }).await;
    let broker = broker_for(&server, "content: batch");
    let texts = |offset| if offset == 42 || offset == 43 { "poison" } else { "good" };
    let events: Vec<_> = (1..=150).map(|offset| event(offset, &format!("u{}", offset % 30), texts(offset))).collect();
    let outcomes = broker.publish(&batch(&events, &key())).await;
    for (event, outcome) in events.iter().zip(&outcomes) {
        let is_behind = [12, 13].contains(&(event.offset % 30)) && event.offset > 43;
        match outcome {
            Outcome::Delivered => assert!(texts(event.offset) == "good" && !is_behind),
            Outcome::Reject { reason } => {
                assert_eq!(texts(event.offset), "poison");
                assert!(reason.contains("it answered 422 Unprocessable Entity; it does not accept this event"), "{reason}");
            }
            Outcome::Retry { reason, .. } => assert!(is_behind && reason.contains("same conversation"), "{}", event.offset),
            Outcome::Behind { .. } => panic!("it stores no cursor"),
        }
    }
    let heard = server.heard();
    assert!(heard.len() < 25, "{}", heard.len());
    let good = heard.iter().filter(|heard| !body_of(heard).contains("poison"));
    let lists: Vec<Vec<Box<serde_json::value::RawValue>>> =
        good.map(|heard| serde_json::from_slice(&heard.body).unwrap()).collect();
    let received = by_conversation(lists.iter().flatten().map(|raw| raw.get().as_bytes()));
    let delivered: Vec<_> = events
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Outcome::Delivered)
        .map(|(event, _)| Arc::clone(event))
        .collect();
    assert_eq!(received, expected(&delivered));
}

/// Verifies with Python's own library; prints what is wrong.
const VERIFY: &str = r#"
import base64, hashlib, hmac, json, sys
asked = json.load(sys.stdin)
body = asked["body"].encode()
for form, secret, value in asked["signatures"]:
    if form == "standard":
        key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
        text = asked["id"].encode() + b"." + asked["timestamp"].encode() + b"." + body
        made = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    else:
        made = form + "=" + hmac.new(secret.encode(), body, form).hexdigest()
    assert hmac.compare_digest(made, value), (form, made, value)
"#;

#[tokio::test]
async fn signatures_are_what_another_implementation_makes_of_the_bytes() {
    let mut server = Server::start(|_| async { status(200) }).await;
    let (standard, second) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
    let other = "a söcret of ours";
    let events = [event(1, "u\"ü", "Grüße 🌎 \\ \u{1f}")];
    for (more, header, forms) in [
        (format!("secret: {standard}"), "webhook-signature", vec![("standard", standard)]),
        (
            format!("secret: [{standard}, {second}]\ncontent: batch"),
            "webhook-signature",
            vec![("standard", standard), ("standard", second)],
        ),
        (format!("secret: {other}\nsignature: hub-sha256"), "x-hub-signature-256", vec![("sha256", other)]),
        (format!("secret: {other}\nsignature: hub"), "x-hub-signature", vec![("sha256", other)]),
        (format!("secret: {standard}\nsignature: hub-sha1"), "x-hub-signature", vec![("sha1", standard)]),
    ] {
        let broker = broker_for(&server, &more);
        broker.is_ready().await.unwrap();
        deliver(&*broker, &batch(&events, &key())).await;
        for heard in [server.hear().await, server.hear().await] {
            verified(&heard, header, &forms, &more).await;
        }
    }
}

/// Each of `forms` is the form of a signature and the secret that it is made with.
async fn verified(heard: &Heard, header: &str, forms: &[(&str, &str)], more: &str) {
    let values = heard.header(header).split(' ');
    let signatures: Vec<_> = forms.iter().zip(values).map(|((form, secret), value)| [form, *secret, value]).collect();
    assert_eq!(signatures.len(), forms.len());
    let (id, timestamp) = (heard.header("webhook-id"), heard.header("webhook-timestamp"));
    if header == "webhook-signature" {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(timestamp.parse().unwrap()) < 100 && !id.contains('.'), "{id} {timestamp}");
    }
    let asked = serde_json::json!({"body": body_of(heard), "id": id, "timestamp": timestamp, "signatures": signatures});
    let mut python = tokio::process::Command::new("python3")
        .args(["-c", VERIFY])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).await.unwrap();
    let output = python.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{more} {}: {}", heard.method, String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn certificates_are_read_again_after_they_were_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "other"));
    let shown = Served { files: ours.sign("localhost", false), clients_of: Some(ours.cafile.clone()) };
    ours.sign("client", false);
    let mut server = Server::start_tls(&shown, |_| async { status(200) }).await;
    std::fs::copy(&other.cafile, directory.path().join("trusted.pem")).unwrap();
    let yaml = format!(
        "type: webhook\nurl: https://localhost:{}/\ncafile: trusted.pem\ncertfile: client.pem\nkeyfile: client.key",
        server.address.port()
    );
    let (broker, said) = build(&yaml, directory.path());
    assert_eq!(said, [""; 0]);
    let broker = broker.unwrap();
    let events = batch(&journal(3), &key());
    let outcomes = broker.publish(&events).await;
    assert!(
        matches!(&outcomes[0], Outcome::Retry { reason, .. } if reason.contains("name the authority's certificate with `cafile`")),
        "{outcomes:?}"
    );
    assert!(broker.is_ready().await.unwrap_err().contains("`cafile`"));
    std::fs::copy(&ours.cafile, directory.path().join("trusted.pem")).unwrap();
    assert_eq!(broker.is_ready().await, Ok(()));
    deliver(&*broker, &events).await;
    assert_eq!(server.heard().len(), 4);
}

#[tokio::test]
async fn a_receiver_without_tls_needs_no_certificates_of_the_system() {
    // Run as a child, because the environment belongs to the whole process.
    const CHILD: &str = "TRUNKLINE_TEST_URL";
    if let Ok(url) = std::env::var(CHILD) {
        deliver(&*broker(&url, ""), &batch(&journal(1), &key())).await;
        return;
    }
    let mut server = Server::start(|_| async { status(200) }).await;
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "webhook::a_receiver_without_tls_needs_no_certificates_of_the_system"])
        .env(CHILD, format!("http://{}/here", server.address))
        .envs([("SSL_CERT_FILE", "/nowhere/ca.pem"), ("SSL_CERT_DIR", "/nowhere")])
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.heard()[0].target, "/here");
}

#[tokio::test]
async fn no_request_begins_that_may_not_end_before_the_caller_stops_waiting() {
    for (more, first) in [("concurrency: 1", 1), ("content: batch", 100)] {
        let mut server = Server::start(|_| async { status(200) }).await;
        let broker = broker_for(&server, &format!("timeout: 10s\n{more}"));
        let events: Vec<_> = (1..=150).map(|offset| event(offset, &format!("u{offset}"), "x")).collect();
        let soon = Instant::now() + Duration::from_secs(10);
        let outcomes = broker.publish(&Batch { deadline: soon, ..batch(&events, &key()) }).await;
        // The first request is sent all the same, or none ever would be.
        let (begun, left) = outcomes.split_at(first);
        assert_eq!(begun, Outcome::Delivered.all(first));
        assert!(
            left.iter().all(|outcome| reason(outcome).ends_with("it is slow: there was no time for this event yet")),
            "{left:?}"
        );
        assert_eq!(server.heard().len(), 1);
        deliver(&*broker, &batch(&events, &key())).await;
    }
}

#[tokio::test]
async fn no_event_is_given_up_before_the_receiver_has_accepted_one() {
    for (code, content) in [(400, "single"), (422, "single"), (410, "single"), (400, "batch"), (422, "batch"), (410, "batch")] {
        let is_right = Arc::new(AtomicBool::new(false));
        let knows_the_secret = Arc::clone(&is_right);
        let mut server = Server::start(move |heard| {
            let is_accepted = knows_the_secret.load(Ordering::SeqCst) && !body_of(&heard).contains("poison");
            let code = match heard.method.as_str() {
                "POST" if is_accepted => 200,
                "POST" => code,
                _ => 404,
            };
            async move { status(code) }
        })
        .await;
        let broker = broker_for(&server, if content == "single" { "concurrency: 1" } else { "content: batch" });
        assert_eq!(broker.is_ready().await, Ok(()));
        let texts = |offset| if offset == 1 { "poison" } else { "good" };
        let events: Vec<_> = (1..=100).map(|offset| event(offset, &format!("u{offset}"), texts(offset))).collect();
        let outcomes = broker.publish(&batch(&events, &key())).await;
        let said = "it has accepted nothing yet, so no event is given up: check `secret`, `url` and `content`";
        for outcome in &outcomes {
            let Outcome::Retry { reason, .. } = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains(&format!("it answered {code} ")) && reason.ends_with(said), "{reason}");
        }
        assert!(server.heard().len() < 10, "it is not asked for every event");
        assert!(broker.is_ready().await.unwrap_err().ends_with(said), "what would give events up asks whether it is ready");

        is_right.store(true, Ordering::SeqCst);
        assert!(matches!(broker.publish(&batch(&events[..1], &key())).await[0], Outcome::Retry { .. }));
        deliver(&*broker, &batch(&events[1..], &key())).await;
        let outcome = broker.publish(&batch(&events[..1], &key())).await.remove(0);
        assert!(matches!(outcome, Outcome::Reject { .. }), "{outcome:?}");
        assert_eq!(broker.is_ready().await, Ok(()));
    }
}

#[tokio::test]
async fn what_would_happen_to_every_event_is_held_against_none() {
    let code = Arc::new(AtomicU16::new(200));
    let now = Arc::clone(&code);
    let server = Server::start(move |heard| {
        // Few know what is asked when it is asked whether they are ready.
        let code = if heard.method == "POST" { now.load(Ordering::SeqCst) } else { 405 };
        async move { status(code) }
    })
    .await;
    let (broker, event) = (broker_for(&server, ""), [event(1, "u", "x")]);
    deliver(&*broker, &batch(&event, &key())).await;
    for turned_away in [301, 401, 404, 429] {
        for better in [200, 500] {
            code.store(turned_away, Ordering::SeqCst);
            let outcome = broker.publish(&batch(&event, &key())).await.remove(0);
            assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcome), "{turned_away}");
            code.store(better, Ordering::SeqCst);
            broker.publish(&batch(&event, &key())).await;
            assert_eq!(broker.is_ready().await, Ok(()), "{turned_away} {better}");
        }
    }
}
