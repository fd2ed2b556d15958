//! Limits of size and time.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::post;
use futures_util::stream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::common::{Reported, Server, assistant, failure, hello, json, ok, says, serve, turn};

#[tokio::test]
async fn a_body_above_the_limit_is_refused_whether_its_size_is_announced_or_not() {
    let reply = format!(r#"[{{"text":"{}"}}]"#, "x".repeat(1 << 20));
    let announced = Server::start(move |_| json(reply.clone())).await;
    // Without an end: it is not even tried to read all of it.
    let blank = Bytes::from(" \n".repeat(500));
    let endless = move || Body::from_stream(stream::repeat(Ok::<_, Infallible>(blank.clone())));
    let endless_too = endless.clone();
    let endless_document = Server::start(move |_| json(endless())).await;
    let endless_lines = Server::start(move |_| ok("application/x-ndjson", endless_too())).await;
    for (server, kind) in
        [(&announced, "rasa"), (&endless_document, "rasa"), (&endless_lines, "http"), (&endless_document, "http")]
    {
        let error = failure(&*assistant(&format!("type: {kind}\nurl: {}", server.url)), &hello()).await;
        assert!(error.ends_with("found a larger body, expected at most 1048576 bytes (`max_body`)"), "{error}");
    }
    let (did, result) = turn(&*assistant(&format!("type: rasa\nurl: {}\nmax_body: 2 MiB", announced.url)), &hello()).await;
    result.unwrap();
    assert_eq!(did.len(), 1);
}

#[tokio::test]
async fn a_limit_is_not_passed_by_a_body_of_exactly_its_size() {
    let body = r#"[{"text":"a"}]"#;
    let server = Server::start(move |_| json(body)).await;
    let limited = |max: usize| assistant(&format!("type: rasa\nurl: {}\nmax_body: {max}", server.url));
    assert_eq!(turn(&*limited(body.len()), &hello()).await.0, says(&["a"]));
    failure(&*limited(body.len() - 1), &hello()).await;
}

/// Reports when it is dropped.
struct Alarm(UnboundedSender<&'static str>);

impl Drop for Alarm {
    fn drop(&mut self) {
        let _ = self.0.send("dropped");
    }
}

#[tokio::test]
async fn a_slow_answer_is_cancelled_by_dropping_the_turn() {
    let (sender, mut seen) = unbounded_channel();
    let handler = move || async move {
        let _alarm = Alarm(sender.clone());
        sender.send("asked").unwrap();
        std::future::pending::<()>().await;
    };
    let url = serve(Router::new().route("/webhooks/rest/webhook", post(handler))).await;
    let rasa = assistant(&format!("type: rasa\nurl: {url}"));
    let (reported, mut did) = unbounded_channel();
    let turn = tokio::spawn(async move { rasa.answer(&[hello()], &mut Reported(reported)).await });
    assert_eq!(seen.recv().await, Some("asked"));
    turn.abort();
    assert!(turn.await.unwrap_err().is_cancelled());
    assert_eq!(seen.recv().await, Some("dropped"), "the server notices that nobody waits any more");
    assert_eq!(did.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_by_itself_when_nobody_keeps_the_time() {
    let url = serve(Router::new().route("/", post(std::future::pending::<()>))).await;
    let started = tokio::time::Instant::now();
    let error = failure(&*assistant(&format!("type: http\nurl: {url}\ntimeout: 20s")), &hello()).await;
    assert!(error.contains("found no answer in time"), "{error}");
    let took = started.elapsed();
    assert!((Duration::from_secs(25)..Duration::from_secs(26)).contains(&took), "{took:?}");
}
