//! What goes wrong on the way, and what is said about it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;
use trunkline_core::AssistantError;
use trunkline_testkit::http::{self, Authority, Served};

use crate::common::{Reported, Server, assistant, failure, hello, json, ok, read_in, status, turn};

#[tokio::test]
async fn a_refusal_shows_its_status_and_the_head_of_its_body() {
    for (code, body, found) in [
        (
            500,
            "<h1>Oops\n</h1>",
            "found status 500 and the body \"<h1>Oops\\n</h1>\", expected status 200 with a JSON list of replies",
        ),
        (
            404,
            "",
            "found status 404 and an empty body, expected status 200 with a JSON list of replies; is `rest:` in the credentials.yml of the server?",
        ),
        (204, "", "found status 204 and an empty body, expected status 200 with a JSON list of replies"),
    ] {
        let server = Server::start(move |_| status(code, body)).await;
        let error = failure(&*assistant(&format!("type: rasa\nurl: {}", server.url)), &hello()).await;
        assert_eq!(error, format!("assistant `rasa` at {}/webhooks/rest/webhook: {found}", server.url));
    }
}

#[tokio::test]
async fn what_is_no_list_is_named() {
    for (body, found) in [
        ("", "found what is not JSON (the text ends too early at byte 0) in an empty body"),
        ("<html>", "found what is not JSON (expected a value at byte 0) in the body \"<html>\""),
        (
            r#"[{"text":"a"}"#,
            "found what is not JSON (the text ends too early at byte 13) in the body \"[{\\\"text\\\":\\\"a\\\"}\"",
        ),
        (r#"{"text":"a"}"#, "found the body \"{\\\"text\\\":\\\"a\\\"}\""),
    ] {
        let server = Server::start(move |_| json(body)).await;
        let error = failure(&*assistant(&format!("type: rasa\nurl: {}", server.url)), &hello()).await;
        assert!(error.ends_with(&format!("{found}, expected a JSON list of replies")), "{error}");
    }
}

#[tokio::test]
async fn secrets_are_not_shown_even_if_the_server_echoes_them() {
    let server = Server::start(|heard| ok_or_refuse(&format!("{} {:?}", heard.target, heard.headers["x-key"]))).await;
    let yaml = format!(
        "type: http\nurl: {}\ntoken: to&ken\nheaders: {{X-Key: hunter2}}\nbasic_auth: {{username: me, password: passw0rd}}",
        server.url
    );
    let error = failure(&*assistant(&yaml), &hello()).await;
    assert!(error.contains("/?token=[redacted] \\\"[redacted]\\\""), "{error}");

    let error = failure(&*assistant("type: http\nurl: http://me:passw0rd@127.0.0.1:1/x?token=hunter2"), &hello()).await;
    assert!(error.starts_with("assistant `http` at http://127.0.0.1:1/x: found no connection ("), "{error}");
    assert!(!error.contains("passw0rd") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn what_is_sent_of_a_user_or_behind_the_word_bearer_is_not_shown_either() {
    let server = Server::start(|heard| {
        let behind = |name: &str| heard.headers[name].to_str().unwrap().split_once(' ').unwrap().1.to_owned();
        ok_or_refuse(&format!("{} with pass w0rd and {}", behind("authorization"), behind("x-key")))
    })
    .await;
    let url = server.url.replace("://", "://me:pass%20w0rd@");
    let error = failure(&*assistant(&format!("type: http\nurl: {url}\nheaders: {{X-Key: Bearer hunter2}}")), &hello()).await;
    assert!(error.contains("the body \"[redacted] with [redacted] and [redacted]\""), "{error}");
}

fn ok_or_refuse(text: &str) -> axum::response::Response {
    let mut answer = ok("text/plain", text.to_owned());
    *answer.status_mut() = axum::http::StatusCode::BAD_REQUEST;
    answer
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    // Bound, so that nobody else takes it, and nobody listens there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = socket.local_addr().unwrap();
    let rasa = assistant(&format!("type: rasa\nurl: http://{address}"));
    let error = failure(&*rasa, &hello()).await;
    assert_eq!(
        error,
        format!(
            "assistant `rasa` at http://{address}/webhooks/rest/webhook: \
             found no connection (Connection refused (os error 111)), expected a server that answers"
        )
    );
    assert!(rasa.is_ready().await.unwrap_err().contains("Connection refused"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let mut server = Server::start(|_| {
        let mut answer = status(307, "");
        answer.headers_mut().insert("location", "/elsewhere".parse().unwrap());
        answer
    })
    .await;
    let error = failure(&*assistant(&format!("type: rasa\nurl: {}", server.url)), &hello()).await;
    assert!(error.contains("found status 307, a redirect, which is not followed, and an empty body"), "{error}");
    assert_eq!(server.heard().len(), 1);
}

#[tokio::test]
async fn a_journal_that_takes_nothing_ends_the_turn_with_its_own_error() {
    let server = Server::start(|_| json(r#"[{"text":"a"}]"#)).await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    drop(receiver);
    let http = assistant(&format!("type: http\nurl: {}", server.url));
    let result = http.answer(&[hello()], &mut Reported(sender)).await;
    assert!(matches!(result, Err(AssistantError::Unrecorded(_))), "{result:?}");
}

#[tokio::test]
async fn certificates_are_read_at_the_first_turn() {
    let no_file = assistant("type: rasa\nurl: https://127.0.0.1:1\ncafile: /nowhere/ca.pem");
    let error = failure(&*no_file, &hello()).await;
    assert!(error.contains("cannot read `/nowhere/ca.pem`: No such file or directory"), "{error}");
    let no_pem = assistant(&format!("type: rasa\nurl: https://127.0.0.1:1\ncafile: {}/Cargo.toml", env!("CARGO_MANIFEST_DIR")));
    assert!(failure(&*no_pem, &hello()).await.contains("there is no certificate in PEM in `"));
    let error = failure(&*assistant("type: rasa\nurl: https://127.0.0.1:1"), &hello()).await;
    assert!(error.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn certificates_lie_in_the_project_and_are_read_again_after_they_were_mended() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, other) = (Authority::new(directory.path(), "ours"), Authority::new(directory.path(), "other"));
    let shown = Served { files: ours.sign("localhost", false), clients_of: Some(ours.cafile.clone()) };
    ours.sign("client", false);
    let server = http::Server::start_tls(&shown, |_| async { json("[]") }).await;
    std::fs::copy(&other.cafile, directory.path().join("trusted.pem")).unwrap();
    let (plan, said) = read_in(
        directory.path(),
        &format!(
            "type: http\nurl: https://localhost:{}/\ncafile: trusted.pem\ncertfile: client.pem\nkeyfile: client.key",
            server.address.port()
        ),
    );
    assert_eq!(said, [""; 0]);
    let http = plan.unwrap().assistant;
    let error = failure(&*http, &hello()).await;
    assert!(
        error.contains("found no connection (") && error.contains("name the authority's certificate with `cafile`"),
        "{error}"
    );
    std::fs::copy(&ours.cafile, directory.path().join("trusted.pem")).unwrap();
    turn(&*http, &hello()).await.1.unwrap();
}
