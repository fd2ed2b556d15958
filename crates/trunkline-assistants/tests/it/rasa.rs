//! `type: rasa` with `events: messages`.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc::unbounded_channel;
use trunkline_core::{BotMessage, Recording, UserMessage};

use crate::common::{Did, Reported, Server, assistant, hello, json, ok, says, status, turn};

#[tokio::test]
async fn the_request_is_that_of_the_rest_channel_with_metadata_untouched() {
    let mut server = Server::start(|_| json("[]")).await;
    let metadata = r#"{"z": 1.50e2, "a": [null, "\u00e9"], "n": 12345678901234567890123}"#;
    let message = UserMessage { metadata: metadata.to_owned(), ..UserMessage::new(Some("hé \"x\""), "ü 1", Some("web"), None) };
    let rasa = assistant(&format!("type: rasa\nurl: {}", server.url));
    assert_eq!((rasa.name(), rasa.recording()), ("rasa", Recording::Gateway));
    turn(&*rasa, &message).await.1.unwrap();
    turn(&*rasa, &UserMessage { text: None, input_channel: None, ..hello() }).await.1.unwrap();

    let heard = server.heard();
    assert_eq!((heard[0].method.as_str(), heard[0].target.as_str()), ("POST", "/webhooks/rest/webhook"));
    assert_eq!(heard[0].headers["content-type"], "application/json");
    assert_eq!(
        heard[0].body,
        format!(r#"{{"sender": "\u00fc 1", "message": "h\u00e9 \"x\"", "metadata": {metadata}, "input_channel": "web"}}"#)
    );
    assert_eq!(heard[1].body, r#"{"sender": "u1", "message": null, "metadata": {}, "input_channel": null}"#);
    assert_eq!(heard[0].peer, heard[1].peer, "the connection is used again");
}

#[tokio::test]
async fn replies_of_every_kind_are_said_in_order() {
    let body = r#"[{"recipient_id":"u1","text":"H\u00e9llo"},
        {"recipient_id":"u1","text":"pick","buttons":[{"title":"A","payload":"\/greet"}]},
        {"recipient_id":"u1","custom":{"k":1.0,"n":null}},{"recipient_id":"u1","image":"http:\/\/x\/y.png"},
        {"recipient_id":"u1","attachment":{"type":"file","url":"u"}}]"#;
    let server = Server::start(move |_| json(body)).await;
    let (did, result) = turn(&*assistant(&format!("type: rasa\nurl: {}/", server.url)), &hello()).await;
    result.unwrap();
    let said = |message: BotMessage| Did::Say(message);
    assert_eq!(
        did,
        [
            said(BotMessage::text("Héllo")),
            said(BotMessage { buttons: Some(r#"[{"title": "A", "payload": "/greet"}]"#.into()), ..BotMessage::text("pick") }),
            said(BotMessage { custom: Some(r#"{"k": 1.0, "n": null}"#.into()), ..BotMessage::default() }),
            said(BotMessage { image: Some("\"http://x/y.png\"".into()), ..BotMessage::default() }),
            said(BotMessage { attachment: Some(r#"{"type": "file", "url": "u"}"#.into()), ..BotMessage::default() }),
        ]
    );
}

#[tokio::test]
async fn the_options_of_an_endpoint_go_with_every_request() {
    let mut server = Server::start(|_| json("[]")).await;
    let yaml = format!(
        "type: rasa\nurl: {}/bot/webhooks/rest/webhook?k=v\nparams: {{lang: de}}\ntoken: a&b\ntoken_name: t\n\
         headers: {{X-Key: secret-1, Accept: text/x}}\nbasic_auth: {{username: me, password: pw}}",
        server.url
    );
    let rasa = assistant(&yaml);
    turn(&*rasa, &hello()).await.1.unwrap();
    rasa.is_ready().await.unwrap();
    let heard = server.heard();
    assert_eq!(heard[0].target, "/bot/webhooks/rest/webhook?k=v&lang=de&t=a%26b");
    assert_eq!(heard[1].target, "/bot/webhooks/rest/?k=v&lang=de&t=a%26b");
    for heard in heard {
        assert_eq!(
            (&heard.headers["x-key"], &heard.headers["accept"]),
            (&"secret-1".parse().unwrap(), &"text/x".parse().unwrap())
        );
        assert_eq!(heard.headers["authorization"], "Basic bWU6cHc=");
    }

    turn(&*assistant(&format!("type: rasa\nurl: {}", server.url.replace("://", "://me:p%77@"))), &hello()).await.1.unwrap();
    assert_eq!(server.heard()[0].headers["authorization"], "Basic bWU6cHc=");
}

#[tokio::test]
async fn replies_of_a_stream_are_said_as_they_arrive() {
    let (lines, arriving) = unbounded_channel::<&'static str>();
    let arriving = std::sync::Mutex::new(Some(arriving));
    let mut server =
        Server::start(move |_| {
            let arriving = arriving.lock().unwrap().take().unwrap();
            let body = stream::unfold(arriving, |mut lines| async move {
                Some((Ok::<_, Infallible>(Bytes::from(lines.recv().await?)), lines))
            });
            ok("text/event-stream", Body::from_stream(body))
        })
        .await;
    let rasa = assistant(&format!("type: rasa\nurl: {}\nstream: true", server.url));
    let (sender, mut did) = unbounded_channel();
    let turn = tokio::spawn(async move { rasa.answer(&[hello()], &mut Reported(sender)).await });

    // Each part is sent when what the part before it completes was said.
    for (part, said) in [
        ("{\"recipient_id\": \"u1\", \"text\": \"a\"}\n", &["a"][..]),
        ("{\"recipient_id\": \"u1\", \"te", &[]),
        ("xt\": \"b\"}\n\r\n{\"text\": \"c\"}\r\n", &["b", "c"]),
        ("{\"text\": \"d\"}", &[]),
    ] {
        lines.send(part).unwrap();
        for text in says(said) {
            assert_eq!(did.recv().await.unwrap(), text);
        }
    }
    drop(lines);
    assert_eq!(did.recv().await.unwrap(), says(&["d"])[0], "the last line needs no end");
    turn.await.unwrap().unwrap();
    assert_eq!(did.recv().await, None);
    assert_eq!(server.heard()[0].target, "/webhooks/rest/webhook?stream=true");
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood_although_it_was_asked_to() {
    let server = Server::start(|_| json(r#"[{"text":"a"},{"text":"b"}]"#)).await;
    let (did, result) = turn(&*assistant(&format!("type: rasa\nurl: {}\nstream: true", server.url)), &hello()).await;
    result.unwrap();
    assert_eq!(did, says(&["a", "b"]));
}

#[tokio::test]
async fn what_was_said_before_a_stream_broke_stays_said() {
    let server = Server::start(|_| ok("text/event-stream", "{\"text\": \"a\"}\n{\"text\": b}\n")).await;
    let (did, result) = turn(&*assistant(&format!("type: rasa\nurl: {}\nstream: true", server.url)), &hello()).await;
    assert_eq!(did, says(&["a"]));
    let error = result.unwrap_err().to_string();
    assert!(error.contains("what is not JSON (expected a value at byte 9) in the body \"{\\\"text\\\": b}\""), "{error}");
}

#[tokio::test]
async fn readiness_is_the_channels_health_or_else_the_servers() {
    for (health, root, ready) in [(200, 500, true), (404, 200, true), (404, 404, false), (302, 503, false)] {
        let server = Server::start(move |heard| status(if heard.target == "/" { root } else { health }, "x")).await;
        let is_ready = assistant(&format!("type: rasa\nurl: {}", server.url)).is_ready().await;
        assert_eq!(is_ready.is_ok(), ready, "{is_ready:?}");
        if let Err(error) = is_ready {
            let expected = format!("assistant `rasa` at {}/webhooks/rest/: found status {health}", server.url);
            assert!(error.starts_with(&expected) && error.contains("is `rest:` in the credentials.yml"), "{error}");
        }
    }
}
