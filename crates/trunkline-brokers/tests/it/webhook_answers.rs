//! What answers mean, and what is said about them.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tokio::net::TcpSocket;
use trunkline_brokers::WebhookBroker;
use trunkline_brokers::webhook::WebhookSettings;
use trunkline_config::{Diagnostics, Document, UnknownKeys};
use trunkline_core::{Broker, Outcome};
use trunkline_http::{Addrs, Name, Resolve, Resolving};
use trunkline_testkit::http::Server;
use trunkline_testkit::http::axum::body::Body;
use trunkline_testkit::http::axum::http::StatusCode;
use trunkline_testkit::http::axum::response::{IntoResponse, Response};

use crate::common::{batch, deliver, event, journal, key, reason};
use crate::webhook::{broker, broker_for, status};

/// What becomes of one event.
async fn outcome(broker: &dyn Broker) -> Outcome {
    broker.publish(&batch(&journal(1), &key())).await.remove(0)
}

/// Answers as it is told, but accepts the first event, so that it is known to accept some.
async fn after_the_first(answer: impl Fn() -> Response + Send + Sync + 'static) -> Server {
    let has_accepted = AtomicBool::new(false);
    Server::start(move |_| {
        let answer = if has_accepted.swap(true, Ordering::SeqCst) { answer() } else { status(200) };
        async move { answer }
    })
    .await
}

/// What becomes of one event, after one that was accepted.
async fn later_outcome(broker: &dyn Broker) -> Outcome {
    deliver(broker, &batch(&[event(1, "first", "x")], &key())).await;
    outcome(broker).await
}

fn with_header(code: u16, name: &'static str, value: &str) -> Response {
    let mut answer = status(code);
    answer.headers_mut().insert(name, value.parse().unwrap());
    answer
}

#[tokio::test]
async fn every_status_has_its_outcome() {
    for content in ["single", "batch"] {
        for (codes, expected) in [
            (&[200, 201, 202, 204, 206, 299][..], "delivered"),
            (&[400, 413, 422, 410], "reject"),
            (&[300, 304, 401, 403, 404, 405, 406, 408, 409, 411, 415, 425, 429, 431, 451, 499], "retry"),
            (&[500, 501, 502, 503, 504, 507, 599], "retry"),
        ] {
            for &code in codes {
                let server = after_the_first(move || status(code)).await;
                let outcome = later_outcome(&*broker_for(&server, &format!("content: {content}"))).await;
                let found = match &outcome {
                    Outcome::Delivered => "delivered",
                    Outcome::Reject { .. } => "reject",
                    Outcome::Retry { .. } => "retry",
                    Outcome::Behind { .. } => "behind",
                };
                assert_eq!(found, expected, "{code} {outcome:?}");
                if outcome != Outcome::Delivered {
                    let begin = format!("the webhook http://{}/events: it answered {code} ", server.address);
                    assert!(reason(&outcome).starts_with(&begin), "{outcome:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_reason_says_what_to_do_and_shows_what_was_said() {
    for (code, said, expected) in [
        (400, "no such field", "it answered 400 Bad Request, saying \"no such field\"; it does not accept this event"),
        (413, "", "it answered 413 Payload Too Large; this event is too large for it"),
        (
            401,
            "who are you?",
            "it answered 401 Unauthorized, saying \"who are you?\"; it does not let us in: correct `headers`, `basic_auth`, `token` or `secret`",
        ),
        (404, "", "it answered 404 Not Found; nothing is there: correct `url`"),
        (405, "", "it answered 405 Method Not Allowed; it takes no POST there: correct `url`"),
        (
            410,
            "",
            "it answered 410 Gone; it wants no more events: take this broker out, or replay the dead letters when it is back",
        ),
        (503, "later", "it answered 503 Service Unavailable, saying \"later\""),
    ] {
        let server = after_the_first(move || (StatusCode::from_u16(code).unwrap(), said).into_response()).await;
        let outcome = later_outcome(&*broker_for(&server, "")).await;
        assert_eq!(reason(&outcome), format!("the webhook http://{}/events: {expected}", server.address));
    }
}

#[tokio::test]
async fn retry_after_is_honoured_in_every_form() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(1));
    let in_a_year = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(365 * 24));
    for (code, value, expected) in [
        (503, "7", Some(7..=7)),
        (429, "0", Some(0..=0)),
        (500, "3", Some(3..=3)),
        (301, "4", Some(4..=4)),
        (503, in_an_hour.as_str(), Some(3500..=3600)),
        (503, in_a_year.as_str(), Some(86_400..=86_400)),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", Some(0..=0)),
        (429, "123456789012", Some(86_400..=86_400)),
        (503, "tomorrow", None),
        (503, "-5", None),
    ] {
        let value = value.to_owned();
        let shown = value.clone();
        let server = Server::start(move |_| {
            let value = value.clone();
            async move { with_header(code, "retry-after", &value) }
        })
        .await;
        let Outcome::Retry { after, .. } = outcome(&*broker_for(&server, "")).await else { panic!("{shown}") };
        match (after, expected) {
            (Some(after), Some(range)) => assert!(range.contains(&after.as_secs()), "{shown}: {after:?}"),
            (after, expected) => assert!(after.is_none() && expected.is_none(), "{shown}: {after:?}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_its_target_is_named_without_its_query() {
    let mut server =
        Server::start(|_| async { with_header(308, "location", "https://other.example/events?token=hunter2#x") }).await;
    let outcome = outcome(&*broker_for(&server, "token: hunter2")).await;
    assert!(
        reason(&outcome).ends_with(
            "it answered 308 Permanent Redirect, pointing to \"https://other.example/events\"; \
             redirects are not followed: if it is right, write that address as `url`"
        ),
        "{outcome:?}"
    );
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn secrets_are_not_shown_even_if_the_receiver_echoes_them() {
    let server = Server::start(|heard| async move {
        let text =
            format!("{} {:?} {:?}", heard.target, heard.headers["x-key"].to_str(), heard.headers["authorization"].to_str());
        (StatusCode::BAD_REQUEST, text).into_response()
    })
    .await;
    let more =
        "token: to&ken\nheaders: {X-Key: hunter2}\nbasic_auth: {username: me, password: passw0rd}\nsecret: whsec_c3JjcjNjcjN0";
    let (shown, said) =
        crate::settings::build(&format!("type: webhook\nurl: http://{}/\n{more}", server.address), Path::new("/nowhere"));
    assert_eq!(said, [""; 0]);
    let outcome = outcome(&*shown.unwrap()).await;
    let reason = reason(&outcome);
    assert!(reason.contains("/?token=[redacted]") && reason.contains("Basic [redacted]"), "{reason}");
    for secret in ["to%26ken", "to&ken", "hunter2", "passw0rd", "whsec_c3JjcjNjcjN0", "bWU6"] {
        assert!(!reason.contains(secret), "{reason}");
    }
    let plan = || plan("{url: 'http://me:hunter2@host/?key=hunter2', secret: hunter2, signature: hub, headers: {x: hunter2}}");
    let shown = format!("{:?} {:?}", plan(), WebhookBroker::new(plan()));
    assert!(shown.contains("http://host/") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn what_stands_in_the_url_or_behind_the_word_bearer_is_not_shown_either() {
    let server = Server::start(|heard| async move {
        let authorization = heard.header("authorization");
        let (_, encoded) = authorization.split_once(' ').unwrap_or_default();
        let text =
            format!("me with pass w0rd as {encoded}, and the token {}", heard.header("x-key").trim_start_matches("Bearer "));
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    })
    .await;
    let url = format!("http://me:pass%20w0rd@{}/", server.address);
    let outcome = outcome(&*broker(&url, "headers: {X-Key: Bearer hunter2}")).await;
    let said = "saying \"me with [redacted] as [redacted], and the token [redacted]\"";
    assert_eq!(
        reason(&outcome),
        format!("the webhook http://{}/: it answered 500 Internal Server Error, {said}", server.address)
    );
}

#[tokio::test]
async fn giant_answers_are_not_read_to_their_end() {
    for code in [200, 500] {
        let server = Server::start(move |_| async move {
            let mut answer = Response::new(Body::from(vec![b'x'; 50 << 20]));
            *answer.status_mut() = StatusCode::from_u16(code).unwrap();
            answer
        })
        .await;
        let outcome = outcome(&*broker_for(&server, "")).await;
        if code == 200 {
            assert_eq!(outcome, Outcome::Delivered);
        } else {
            assert!(reason(&outcome).ends_with(&format!("saying \"{}\"…", "x".repeat(200))), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn slow_receivers_and_those_that_are_not_there_are_tried_again() {
    let server = Server::start(|_| async { std::future::pending().await }).await;
    let slow = outcome(&*broker_for(&server, "timeout: 100ms")).await;
    assert_eq!(slow, Outcome::retry(format!("the webhook http://{}/events: there was no answer within 0.1 s", server.address)));
    // Bound, so that nobody else takes it, and nobody listens there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    let gone = broker(&format!("http://me:hunter2@{address}/?token=hunter2"), "");
    let said = format!("the webhook http://{address}/: there is no connection: Connection refused (os error 111)");
    assert_eq!(outcome(&*gone).await, Outcome::retry(&said));
    assert_eq!(gone.is_ready().await, Err(said));
    // It is found when it is back.
    let listener = socket.listen(16).unwrap();
    tokio::spawn(async move {
        let router = trunkline_testkit::http::axum::Router::new().fallback(async || "");
        trunkline_testkit::http::axum::serve(listener, router).await
    });
    deliver(&*gone, &batch(&[event(1, "u", "x")], &key())).await;
}

#[tokio::test]
async fn readiness_is_asked_for_without_an_effect_and_is_assumed_in_doubt() {
    for (code, expected) in [
        (200, Ok(())),
        (204, Ok(())),
        (404, Ok(())),
        (405, Ok(())),
        (403, Ok(())),
        (410, Ok(())),
        (500, Ok(())),
        (301, Ok(())),
        (401, Err("it answered 401 Unauthorized; it does not let us in: correct `headers`, `basic_auth`, `token` or `secret`")),
        (503, Err("it answered 503 Service Unavailable")),
    ] {
        let mut server = Server::start(move |_| async move { status(code) }).await;
        let found = broker_for(&server, "headers: {X-Key: k}").is_ready().await;
        let expected = expected.map_err(|said| format!("the webhook http://{}/events: {said}", server.address));
        assert_eq!(found, expected, "{code}");
        let heard = server.hear().await;
        assert_eq!((heard.method.as_str(), heard.header("x-key"), heard.body.len()), ("OPTIONS", "k", 0));
    }
}

fn plan(section: &str) -> WebhookSettings {
    let diagnostics = Diagnostics::new();
    let document = Document::parse("endpoints.yml", &format!("event_broker: {section}"), &|_| None, &diagnostics).unwrap();
    let plan = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.section("event_broker", |section| WebhookSettings::from_section(section, Path::new("/nowhere")))
    });
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    plan.flatten().unwrap()
}

/// Says that every name leads to this address.
struct Says(IpAddr);

impl Resolve for Says {
    fn resolve(&self, _: Name) -> Resolving {
        let found = SocketAddr::new(self.0, 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(found)) as Addrs) })
    }
}

#[tokio::test]
async fn a_name_that_begins_to_lead_to_a_metadata_service_gets_nothing() {
    let mut server = Server::start(|_| async { status(200) }).await;
    let section = format!("{{url: 'http://receiver.example:{}/'}}", server.address.port());
    let broker = |address: &str| WebhookBroker::new(plan(&section)).with_resolver(Arc::new(Says(address.parse().unwrap())));
    let outcome = outcome(&broker("169.254.169.254")).await;
    assert!(
        reason(&outcome).ends_with(
            "the address 169.254.169.254 of `receiver.example` is link-local or a metadata service, and no request goes there"
        ),
        "{outcome:?}"
    );
    assert_eq!(broker("169.254.169.254").is_ready().await.unwrap_err(), reason(&outcome));
    assert!(server.heard().is_empty());
    deliver(&broker("127.0.0.1"), &batch(&journal(1), &key())).await;
    assert_eq!(server.heard().len(), 1);
}
