//! The `rest` channel, as Rasa's: a JSON message in, the replies as a JSON list or a stream of lines out.
//!
//! What it answers to bad input is the original's too, where people rely on it: a message that is no string gets `[]`. Where
//! the original fails with 500 (an empty body, a list), it answers 400.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use trunkline_core::json::{self, Document, Layout};
use trunkline_core::{BotMessage, CollectingOutputChannel, UserMessage, send_response};

use crate::{Bodies, Inbox, InputChannel, Problem, Replies, idempotency_key};

/// The `rest` channel. It has no settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rest;

#[derive(Clone)]
struct Context {
    inbox: Arc<dyn Inbox>,
    bodies: Bodies,
}

impl InputChannel for Rest {
    fn name(&self) -> &'static str {
        "rest"
    }

    fn routes(&self, mount: &str, inbox: Arc<dyn Inbox>, bodies: Bodies) -> Router {
        Router::new()
            .route(mount, get(health))
            .route(&format!("{mount}/"), get(health))
            .route(&format!("{mount}/webhook"), post(receive))
            .route(&format!("{mount}/webhook/"), post(receive))
            .with_state(Context { inbox, bodies })
    }
}

async fn health() -> Response {
    json_response("{\"status\":\"ok\"}".to_owned())
}

async fn receive(State(context): State<Context>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let body = context.bodies.read(body).await.map_err(|error| Problem::from((error, headers)))?;
    let document = json::lay_out_input(&body, Layout::Dumps).map_err(|error| Problem::malformed(&error, headers))?;
    if !document.is_object() {
        let expected = "The body must be a JSON object, as in {\"sender\": \"ann\", \"message\": \"hello\"}";
        return Err(Problem::new(StatusCode::BAD_REQUEST, expected, headers));
    }
    let Some(message) = message(&document).map_err(|reason| Problem::new(StatusCode::BAD_REQUEST, reason, headers))? else {
        tracing::warn!("Message without a text was not recorded");
        return Ok(json_response("[]".to_owned()));
    };
    let identity =
        identity(headers, &message.sender_id).map_err(|reason| Problem::new(StatusCode::BAD_REQUEST, reason, headers))?;
    let recipient = message.sender_id.clone();
    let stream_wanted = wants_stream(parts.uri.query().unwrap_or_default());
    let replies =
        context.inbox.receive(message, identity, stream_wanted).await.map_err(|error| Problem::from((error, headers)))?;
    // It is recorded; what follows may take long.
    drop((body, document));
    if stream_wanted { Ok(stream(replies, recipient)) } else { Ok(json_response(collect(replies, &recipient).await)) }
}

/// The message in the body. `None`: it has no text that is a string, which the original answers with an empty list.
fn message(document: &Document) -> Result<Option<UserMessage>, String> {
    let sender = word(document, "sender")?.unwrap_or_default();
    let input_channel = word(document, "input_channel")?.filter(|name| !name.is_empty());
    let Some(text) = document.get_str("message") else { return Ok(None) };
    let channel = input_channel.as_deref().unwrap_or("rest");
    Ok(Some(UserMessage::new(Some(&text), &sender, Some(channel), document.get("metadata"))))
}

/// A string, or a number as Python writes it; `None` when it is absent or null.
fn word(document: &Document, key: &str) -> Result<Option<String>, String> {
    match document.get(key) {
        None | Some("null" | "false") => Ok(None),
        Some("true") => Ok(Some("True".to_owned())),
        Some(raw) if raw.starts_with(['{', '[']) => Err(format!("`{key}` must be a string")),
        Some(raw) => Ok(Some(json::unquote(raw).unwrap_or(raw.into()).into_owned())),
    }
}

/// What makes this message the same as an earlier one of the conversation: the header `Idempotency-Key`.
fn identity(headers: &HeaderMap, conversation: &str) -> Result<Option<String>, String> {
    let key = idempotency_key(headers).map_err(|error| format!("the header Idempotency-Key {error}"))?;
    Ok(key.map(|key| format!("rest:{}:{conversation}:{key}", conversation.len())))
}

/// Whether the query has `stream=true`, in any case of letters.
fn wants_stream(query: &str) -> bool {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, value)| key == "stream" && value.eq_ignore_ascii_case("true"))
}

/// All replies as one JSON list.
async fn collect(mut replies: Replies, recipient: &str) -> String {
    let mut channel = CollectingOutputChannel::default();
    while let Some(reply) = replies.recv().await {
        send_response(&mut channel, recipient, &reply).await;
    }
    let messages: Vec<_> = channel.messages.iter().map(|message| message.to_json(Layout::Ujson)).collect();
    format!("[{}]", messages.join(","))
}

/// Each reply as it comes, a line of JSON for every message. The content type is the original's, though it is no event stream.
fn stream(replies: Replies, recipient: String) -> Response {
    let lines = UnboundedReceiverStream::new(replies).then(move |reply| {
        let recipient = recipient.clone();
        async move { Ok::<_, Infallible>(lines_of(&reply, &recipient).await) }
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(lines)).into_response()
}

async fn lines_of(reply: &BotMessage, recipient: &str) -> Bytes {
    let mut channel = CollectingOutputChannel::default();
    send_response(&mut channel, recipient, reply).await;
    let lines: String = channel.messages.iter().map(|message| message.to_json(Layout::Dumps) + "\n").collect();
    lines.into()
}

fn json_response(body: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use tokio::sync::mpsc;
    use tower::ServiceExt as _;

    use super::*;
    use crate::{BodyLimits, InboxError};

    /// Answers every message with its own text, and a button.
    #[derive(Default)]
    struct Mirror {
        taken: Mutex<Vec<(UserMessage, Option<String>)>>,
    }

    #[async_trait]
    impl Inbox for Mirror {
        async fn receive(&self, message: UserMessage, identity: Option<String>, _stream: bool) -> Result<Replies, InboxError> {
            let text = message.text.clone().unwrap_or_default();
            self.taken.lock().unwrap().push((message, identity));
            if text == "full" {
                return Err(InboxError::Unavailable("the disk is full".to_owned()));
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
        let routes = Rest.routes(
            "/rest",
            Arc::clone(mirror) as Arc<dyn Inbox>,
            Bodies::new(BodyLimits { bytes: 300, ..BodyLimits::default() }),
        );
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

    #[tokio::test]
    async fn an_unavailable_inbox_is_503_with_a_time_to_retry() {
        let (status, headers, body) = post(&Arc::default(), r#"{"message":"full"}"#).await;
        assert_eq!((status, &headers["retry-after"]), (StatusCode::SERVICE_UNAVAILABLE, &"1".parse().unwrap()));
        assert!(body.contains("the disk is full"), "{body}");
    }

    #[tokio::test]
    async fn an_idempotency_key_identifies_the_message_within_its_conversation() {
        let mirror = Arc::default();
        let request = || Request::post("/rest/webhook").header("content-type", "application/json");
        send(&mirror, request().header("idempotency-key", "k-1"), r#"{"sender":"u1","message":"x"}"#).await;
        assert_eq!(mirror.taken.lock().unwrap().pop().unwrap().1.as_deref(), Some("rest:2:u1:k-1"));
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
