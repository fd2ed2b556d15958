//! A server whose answers a test decides, a turn that reports what is done with it, and assistants from configuration.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use trunkline_assistants::{AssistantPlan, assistants, from_section};
use trunkline_config::{Diagnostics, Document, Severity, UnknownKeys};
use trunkline_core::{Assistant, AssistantError, BotMessage, Turn, UserMessage};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    /// Path and query, nothing decoded.
    pub(crate) target: String,
    pub(crate) headers: axum::http::HeaderMap,
    pub(crate) body: String,
    pub(crate) peer: SocketAddr,
}

type Answer = Arc<dyn Fn(&Heard) -> Response + Send + Sync>;

#[derive(Clone)]
struct Behaviour {
    answer: Answer,
    heard: UnboundedSender<Heard>,
}

/// A running server; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) url: String,
    heard: UnboundedReceiver<Heard>,
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Heard) -> Response + Send + Sync + 'static) -> Self {
        let (sender, heard) = unbounded_channel();
        let behaviour = Behaviour { answer: Arc::new(answer), heard: sender };
        let router = Router::new().fallback(answer_one).with_state(behaviour);
        let url = serve(router).await;
        Self { url, heard }
    }

    /// What arrived since the last call.
    pub(crate) fn heard(&mut self) -> Vec<Heard> {
        std::iter::from_fn(|| self.heard.try_recv().ok()).collect()
    }
}

/// Serves `router` on a port of its own; answers its URL.
pub(crate) async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    url
}

async fn answer_one(
    State(behaviour): State<Behaviour>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let heard = Heard {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        peer,
    };
    let answer = (behaviour.answer)(&heard);
    behaviour.heard.send(heard).unwrap();
    answer
}

/// Status 200 and `body` as `content_type`.
pub(crate) fn ok(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([("content-type", content_type)], body.into()).into_response()
}

pub(crate) fn json(body: impl Into<Body>) -> Response {
    ok("application/json", body)
}

pub(crate) fn status(code: u16, body: &'static str) -> Response {
    (axum::http::StatusCode::from_u16(code).unwrap(), body).into_response()
}

/// What was done with a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Did {
    Say(BotMessage),
    Record(Vec<String>),
}

/// A turn that reports through a channel.
pub(crate) struct Reported(pub(crate) UnboundedSender<Did>);

#[async_trait]
impl Turn for Reported {
    async fn say(&mut self, message: BotMessage) -> Result<(), AssistantError> {
        self.0.send(Did::Say(message)).map_err(|_| AssistantError::Unrecorded("the journal is full".to_owned()))
    }

    async fn record(&mut self, tracker_events: Vec<String>) -> Result<(), AssistantError> {
        self.0.send(Did::Record(tracker_events)).map_err(|_| AssistantError::Unrecorded("the journal is full".to_owned()))
    }
}

/// One turn: what was done, and how it ended.
pub(crate) async fn turn(assistant: &dyn Assistant, message: &UserMessage) -> (Vec<Did>, Result<(), AssistantError>) {
    let (sender, mut receiver) = unbounded_channel();
    let result = assistant.answer(std::slice::from_ref(message), &mut Reported(sender)).await;
    (std::iter::from_fn(|| receiver.try_recv().ok()).collect(), result)
}

/// The error of a turn in which nothing was said.
pub(crate) async fn failure(assistant: &dyn Assistant, message: &UserMessage) -> String {
    let (did, result) = turn(assistant, message).await;
    assert_eq!(did, []);
    match result.unwrap_err() {
        AssistantError::Failed(text) => text,
        AssistantError::Unrecorded(text) => panic!("{text}"),
    }
}

pub(crate) fn says(texts: &[&str]) -> Vec<Did> {
    texts.iter().map(|text| Did::Say(BotMessage::text(*text))).collect()
}

pub(crate) fn hello() -> UserMessage {
    UserMessage { message_id: "c0a9".to_owned(), ..UserMessage::new(Some("hello"), "u1", Some("rest"), None) }
}

pub(crate) fn from(sender: &str) -> UserMessage {
    UserMessage { sender_id: sender.to_owned(), ..hello() }
}

/// The plan of the section with `yaml` in it; with what was said about it, as `severity: path: message (hint)`.
pub(crate) fn read(yaml: &str) -> (Option<AssistantPlan>, Vec<String>) {
    read_in(Path::new("/nowhere"), yaml)
}

/// The same in a directory that paths are relative to.
pub(crate) fn read_in(directory: &Path, yaml: &str) -> (Option<AssistantPlan>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("assistant:\n  {}\n", yaml.trim().replace('\n', "\n  "));
    let document = Document::parse("trunkline.yml", &text, &|_| None, &diagnostics).unwrap();
    let plan = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.section_or_empty("assistant", |section| from_section(section, directory, &assistants()))
    });
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    (plan, said.collect())
}

/// The assistant of a section without fault.
pub(crate) fn assistant(yaml: &str) -> Arc<dyn Assistant> {
    let (plan, said) = read(yaml);
    assert_eq!(said, [""; 0], "{yaml}");
    plan.unwrap().assistant
}
