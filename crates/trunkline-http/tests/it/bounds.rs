//! Answers that are too long, too late, or none.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use trunkline_http::{Allow, Client, Failure, HeaderMap, Method, Name, Request, Resolve, Resolving, Url};
use trunkline_testkit::http::Server;
use trunkline_testkit::http::axum::body::Body;
use trunkline_testkit::http::axum::response::Response;

use crate::{post, status};

/// Knows no name.
struct KnowsNobody;

impl Resolve for KnowsNobody {
    fn resolve(&self, name: Name) -> Resolving {
        let said = format!("nobody knows `{}`", name.as_str());
        Box::pin(async move { Err(said.into()) })
    }
}

fn client() -> Client {
    Client::new(Allow::private(), None).unwrap()
}

#[tokio::test]
async fn no_more_of_an_answer_is_read_than_was_asked_for() {
    for (size, read, is_whole) in
        [(0, 0, true), (999, 999, true), (1000, 1000, true), (1001, 1000, false), (100 << 20, 1000, false)]
    {
        let server = Server::start(move |_| async move { Response::new(Body::from(vec![b'x'; size])) }).await;
        let answer = post(&client(), &format!("http://{}/", server.address)).await.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.len(), answer.is_whole), (200, read, is_whole), "{size}");
    }
}

#[tokio::test]
async fn a_status_that_came_counts_whatever_becomes_of_the_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\nhalf").await.unwrap();
    });
    let answer = post(&client(), &format!("http://{address}/")).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_ref(), answer.is_whole), (202, &b"half"[..], false));
}

#[tokio::test]
async fn what_takes_longer_than_it_may_is_no_answer() {
    let server = Server::start(|_| async { std::future::pending().await }).await;
    let url = Url::parse(&format!("http://{}/", server.address)).unwrap();
    let (headers, timeout) = (HeaderMap::new(), Duration::from_millis(200));
    let request = Request { method: Method::POST, url: &url, headers, body: "".into(), timeout };
    let failure = client().send(request, 10).await.unwrap_err();
    assert_eq!(failure, Failure::NoAnswer(timeout));
    assert_eq!(failure.to_string(), "there was no answer within 0.2 s");
}

#[tokio::test]
async fn nobody_there_and_somebody_who_hangs_up_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await.unwrap();
        // Dropped here, and the listener with it.
    });
    let hung_up = post(&client(), &format!("http://{address}/?token=hunter2")).await.unwrap_err();
    assert!(matches!(&hung_up, Failure::Broken(_)), "{hung_up}");
    let nobody = post(&client(), &format!("http://{address}/?token=hunter2")).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no connection: Connection refused (os error 111)");
    assert!(!format!("{hung_up} {hung_up:?} {nobody:?}").contains("hunter2"));
    let lost = Client::with_resolver(Allow::private(), None, Arc::new(KnowsNobody)).unwrap();
    let nowhere = post(&lost, "http://no-such-host.invalid/").await.unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "there is no connection: nobody knows `no-such-host.invalid`; the name of the host could not be looked up"
    );
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    // Run as a child, because the environment belongs to the whole process.
    const CHILD: &str = "TRUNKLINE_TEST_URL";
    if let Ok(url) = std::env::var(CHILD) {
        assert_eq!(post(&client(), &url).await.unwrap().status, 200);
        return;
    }
    let mut server = Server::start(|_| async { status(200, "") }).await;
    let output = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bounds::proxies_of_the_environment_are_not_used"])
        .env(CHILD, format!("http://{}/here", server.address))
        .envs(["http_proxy", "HTTP_PROXY", "ALL_PROXY", "https_proxy"].map(|name| (name, "http://127.0.0.1:1")))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(server.heard()[0].target, "/here");
}
