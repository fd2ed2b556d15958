//! The `rest` channel, as Rasa's: a JSON message in, the replies as a JSON list or a stream of lines out.
//!
//! What it answers to bad input is the original's too, where people rely on it: a message that is no string gets `[]`. Where
//! the original fails with 500 (an empty body, a list), it answers 400.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use compact_str::CompactString;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use trunkline_core::json::Layout;
use trunkline_core::{CollectedMessage, Incoming, Replies, UserMessage};

use crate::post::{Post, routes};
use crate::{Channel, Door, Problem, answer};

const NAME: &str = "rest";

/// The `rest` channel. It has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest;

impl Channel for Rest {
    fn name(&self) -> &str {
        NAME
    }

    fn routes(&self, mount: &str, door: Door) -> Router {
        routes(mount, post(receive)).with_state(door)
    }
}

async fn receive(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let post = Post::read(&door, request).await?;
    let Some(message) = message(&post, &door)? else {
        tracing::warn!("Message without a text was not recorded");
        return Ok(answer::json("[]".to_owned()));
    };
    let recipient = message.sender_id.clone();
    let stream_wanted = wants_stream(post.parts.uri.query().unwrap_or_default());
    let incoming = Incoming { message, channel: CompactString::const_new(NAME), key: post.key()? };
    let replies = door.inbox.converse(incoming, stream_wanted).await.map_err(|error| Problem::from((error, post.headers())))?;
    // It is recorded; what follows may take long.
    drop(post);
    if stream_wanted { Ok(stream(replies, recipient)) } else { Ok(answer::json(collect(replies, &recipient).await)) }
}

/// The message in the body. `None`: it has no text that is a string, which the original answers with an empty list.
fn message(post: &Post, door: &Door) -> Result<Option<UserMessage>, Problem> {
    let sender = post.sender()?;
    let input_channel = post.word("input_channel")?.filter(|name| !name.is_empty());
    let channel = input_channel.as_deref().unwrap_or(NAME);
    if door.carried.iter().any(|name| name == channel) {
        return Err(post.bad(format!(
            "`input_channel` cannot be `{channel}`: the answers to messages of that channel are carried elsewhere; write to \
             /webhooks/{channel}/webhook"
        )));
    }
    Ok(post.text().map(|text| UserMessage::new(Some(&text), &sender, Some(channel), post.raw("metadata"))))
}

/// Whether the query has `stream=true`, in any case of letters.
fn wants_stream(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == "stream" && value.eq_ignore_ascii_case("true"))
}

/// All replies as one JSON list.
async fn collect(mut replies: Replies, recipient: &str) -> String {
    let mut messages = Vec::new();
    while let Some(reply) = replies.recv().await {
        let collected = CollectedMessage::all_of(&reply, recipient);
        messages.extend(collected.iter().map(|message| message.to_json(Layout::Ujson)));
    }
    format!("[{}]", messages.join(","))
}

/// Each reply as it comes, a line of JSON for every message. The content type is the original's, though it is no event stream.
fn stream(replies: Replies, recipient: String) -> Response {
    let lines = UnboundedReceiverStream::new(replies).map(move |reply| {
        let collected = CollectedMessage::all_of(&reply, &recipient);
        let lines: String = collected.iter().map(|message| message.to_json(Layout::Dumps) + "\n").collect();
        Ok::<_, Infallible>(Bytes::from(lines))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(lines)).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use axum::http::{HeaderMap, StatusCode};
    use tokio::sync::{Semaphore, mpsc};
    use tower::ServiceExt as _;
    use trunkline_core::{BotMessage, Inbox, InboxError};

    use super::*;
    use crate::{Bodies, BodyLimits};

    /// Answers every message with its own text, and a button.
    #[derive(Default)]
    struct Mirror {
        taken: Mutex<Vec<(UserMessage, Option<String>)>>,
    }

    #[async_trait]
    impl Inbox for Mirror {
        async fn receive(&self, _incoming: Incoming) -> Result<(), InboxError> {
            unreachable!("whoever writes here waits for the answer")
        }

        async fn converse(&self, incoming: Incoming, _stream: bool) -> Result<Replies, InboxError> {
            let Incoming { message, channel, key } = incoming;
            assert_eq!(channel, "rest");
            let text = message.text.clone().unwrap_or_default();
            self.taken.lock().unwrap().push((message, key));
            match text.as_str() {
                "full" => return Err(InboxError::Unavailable("the disk is full".to_owned())),
                "lost" => return Err(InboxError::MaybeRecorded("the disk went away".to_owned())),
                _ => {}
            }
            let (sender, replies) = mpsc::unbounded_channel();
            let buttons = Some(r#"[{"title": "Yes", "payload": "/yes"}]"#.to_owned());
            sender.send(BotMessage { buttons, ..BotMessage::text(text) }).unwrap();
            sender.send(BotMessage::text("one\n\ntwo")).unwrap();
            Ok(replies)
        }
    }

    async fn send(
        mirror: &Arc<Mirror>,
        request: axum::http::request::Builder,
        body: impl Into<Body>,
    ) -> (StatusCode, HeaderMap, String) {
        let inbox = Arc::clone(mirror) as Arc<dyn Inbox>;
        let bodies = Bodies::new(BodyLimits { bytes: 300, ..BodyLimits::default() });
        let routes = Rest.routes("/rest", Door { inbox, bodies, carried: Arc::from(["callback".to_owned()]) });
        let response = routes.oneshot(request.body(body.into()).unwrap()).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = Bodies::new(BodyLimits::default()).read(response.into_body()).await.unwrap();
        (status, headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn post(mirror: &Arc<Mirror>, body: &str) -> (StatusCode, HeaderMap, String) {
        let request = Request::post("/rest/webhook").header("content-type", "application/json");
        send(mirror, request, body.to_owned()).await
    }

    #[tokio::test]
    async fn answers_as_the_original_does() {
        let mirror = Arc::default();
        let (status, headers, body) = post(&mirror, r#"{"sender":"u1","message":" Hé/ ","metadata":{"k":[1.50]}}"#).await;
        assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"application/json".parse().unwrap()));
        assert_eq!(
            body,
            r#"[{"recipient_id":"u1","text":"H\u00e9\/","buttons":[{"title":"Yes","payload":"\/yes"}]},{"recipient_id":"u1","text":"one"},{"recipient_id":"u1","text":"two"}]"#
        );
        let (message, identity) = mirror.taken.lock().unwrap().pop().unwrap();
        assert_eq!(
            (message.metadata.as_str(), message.input_channel.as_deref(), identity),
            (r#"{"k": [1.50]}"#, Some("rest"), None)
        );
    }

    #[tokio::test]
    async fn streams_lines_of_json_when_asked_to() {
        let mirror = Arc::default();
        for uri in ["/rest/webhook?stream=true", "/rest/webhook/?token=x&stream=TRUE"] {
            let (status, headers, body) = send(&mirror, Request::post(uri), r#"{"sender":"u1","message":"/a"}"#).await;
            assert_eq!((status, &headers["content-type"]), (StatusCode::OK, &"text/event-stream".parse().unwrap()));
            assert_eq!(
                body,
                "{\"recipient_id\": \"u1\", \"text\": \"/a\", \"buttons\": [{\"title\": \"Yes\", \"payload\": \"/yes\"}]}\n\
                 {\"recipient_id\": \"u1\", \"text\": \"one\"}\n{\"recipient_id\": \"u1\", \"text\": \"two\"}\n"
            );
        }
        let (_, headers, _) = send(&mirror, Request::post("/rest/webhook?stream=1"), r#"{"message":"/a"}"#).await;
        assert_eq!(headers["content-type"], "application/json");
    }

    #[tokio::test]
    async fn senders_and_channels_are_read_as_leniently_as_there() {
        let mirror = Arc::default();
        for (body, sender, channel) in [
            (r#"{"message":"x"}"#, "default", "rest"),
            (r#"{"message":"x","sender":""}"#, "default", "rest"),
            (r#"{"message":"x","sender":null,"input_channel":""}"#, "default", "rest"),
            (r#"{"message":"x","sender":42,"input_channel":"kiosk"}"#, "42", "kiosk"),
            (r#"{"message":"x","sender":true,"input_channel":null}"#, "True", "rest"),
        ] {
            assert_eq!(post(&mirror, body).await.0, StatusCode::OK);
            let (message, _) = mirror.taken.lock().unwrap().pop().unwrap();
            assert_eq!((message.sender_id.as_str(), message.input_channel.as_deref()), (sender, Some(channel)), "{body}");
        }
    }

    #[tokio::test]
    async fn a_message_without_text_gets_an_empty_list_and_is_not_taken() {
        let mirror = Arc::default();
        for body in [r#"{"sender":"u"}"#, r#"{"message":null}"#, r#"{"message":5}"#, r#"{"message":{"a":1}}"#] {
            assert_eq!(post(&mirror, body).await.2, "[]", "{body}");
        }
        assert!(mirror.taken.lock().unwrap().is_empty());
        assert_eq!(post(&mirror, r#"{"message":""}"#).await.0, StatusCode::OK);
        assert_eq!(mirror.taken.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn bad_requests_are_answered_in_the_form_the_client_asks_for() {
        let mirror = Arc::default();
        let too_long = format!(r#"{{"message":"{}"}}"#, "x".repeat(300));
        for (body, status) in [
            ("{", 400),
            ("", 400),
            ("[]", 400),
            ("\"x\"", 400),
            (r#"{"message":"\ud800"}"#, 400),
            (r#"{"message":"x","sender":["a"]}"#, 400),
            (r#"{"message":"x","input_channel":"callback"}"#, 400),
            (too_long.as_str(), 413),
        ] {
            let (found, headers, answer) = post(&mirror, body).await;
            assert_eq!((found.as_u16(), &headers["content-type"]), (status, &"application/json".parse().unwrap()), "{body}");
            assert!(answer.starts_with("{\"description\":\"") && answer.contains(&format!("\"status\":{status},")), "{answer}");
        }
        let page = send(&mirror, Request::post("/rest/webhook").header("accept", "text/html, application/json"), "{").await;
        assert_eq!((page.0.as_u16(), &page.1["content-type"]), (400, &"text/html; charset=utf-8".parse().unwrap()));
        assert!(send(&mirror, Request::post("/rest/webhook"), vec![0xff, 0xfe]).await.0.is_client_error());
        assert_eq!(send(&mirror, Request::get("/rest/webhook"), "").await.0, StatusCode::METHOD_NOT_ALLOWED);
        assert!(mirror.taken.lock().unwrap().is_empty());
    }

    /// Tells when a message comes in, and takes it when it may.
    struct Slow {
        came: mpsc::UnboundedSender<()>,
        may: Semaphore,
    }

    #[async_trait]
    impl Inbox for Slow {
        async fn receive(&self, _incoming: Incoming) -> Result<(), InboxError> {
            unreachable!("whoever writes here waits for the answer")
        }

        async fn converse(&self, _incoming: Incoming, _stream: bool) -> Result<Replies, InboxError> {
            self.came.send(()).unwrap();
            self.may.acquire().await.unwrap().forget();
            Ok(mpsc::unbounded_channel().1)
        }
    }

    #[tokio::test]
    async fn a_body_takes_its_part_of_the_memory_until_its_message_is_recorded() {
        // A body that does not tell its size may become as large as all may be together.
        let bodies = Bodies::new(BodyLimits { bytes: 64 << 20, ..BodyLimits::default() });
        let body = || Body::from_stream(tokio_stream::once(Ok::<_, Infallible>(r#"{"message": "x"}"#)));
        let is_room = async || {
            tokio::select! {
                biased;
                read = bodies.read(body()) => read.is_ok(),
                () = std::future::ready(()) => false,
            }
        };
        assert!(is_room().await);
        let (came, mut comes) = mpsc::unbounded_channel();
        let slow = Arc::new(Slow { came, may: Semaphore::new(0) });
        let door = Door { inbox: Arc::clone(&slow) as Arc<dyn Inbox>, bodies: bodies.clone(), carried: Arc::default() };
        let request = Request::post("/rest/webhook").body(body()).unwrap();
        let answer = tokio::spawn(Rest.routes("/rest", door).oneshot(request));
        comes.recv().await.unwrap();
        assert!(!is_room().await);
        slow.may.add_permits(1);
        assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
        assert!(is_room().await);
    }

    #[tokio::test]
    async fn an_unavailable_inbox_is_503_with_a_time_to_retry() {
        let (status, headers, body) = post(&Arc::default(), r#"{"message":"full"}"#).await;
        assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
        assert!(body.contains("the disk is full") && !body.contains("Idempotency-Key"), "{body}");
        let (status, headers, body) = post(&Arc::default(), r#"{"message":"lost"}"#).await;
        assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
        assert!(body.contains("the disk went away; with the same Idempotency-Key it can be sent again"), "{body}");
    }

    #[tokio::test]
    async fn an_idempotency_key_identifies_the_message_within_its_conversation() {
        let mirror = Arc::default();
        let request = || Request::post("/rest/webhook").header("content-type", "application/json");
        send(&mirror, request().header("idempotency-key", "k-1"), r#"{"sender":"u1","message":"x"}"#).await;
        assert_eq!(mirror.taken.lock().unwrap().pop().unwrap().1.as_deref(), Some("k-1"));
        let (status, ..) = send(&mirror, request().header("idempotency-key", "k".repeat(256)), r#"{"message":"x"}"#).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn health_is_ok() {
        for path in ["/rest", "/rest/"] {
            assert_eq!(send(&Arc::default(), Request::get(path), "").await.2, r#"{"status":"ok"}"#);
        }
    }
}
