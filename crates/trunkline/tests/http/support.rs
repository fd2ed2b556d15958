//! Starting the program, looking at what it recorded, speaking to it byte by byte, and assistants that tests control.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use trunkline_testkit::{Answer, Program, Project, journal_bodies};

/// Nothing that a test waits for takes longer on a machine that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// Where messages are posted.
pub(crate) const REST: &str = "/webhooks/rest/webhook";

/// The program on `project`, with the HTTP API.
pub(crate) async fn start(project: &Project) -> Program {
    start_with(project, &["--enable-api"]).await
}

/// The program on `project` with other arguments.
pub(crate) async fn start_with(project: &Project, arguments: &[&str]) -> Program {
    Program::start_with(env!("CARGO_BIN_EXE_trunkline"), project.directory(), arguments, &[]).await
}

/// The program on a project that says nothing but `trunkline.yml`.
pub(crate) async fn start_on(settings: &str) -> (Project, Program) {
    let project = Project::with_brokers().file("trunkline.yml", settings);
    let program = start(&project).await;
    (project, program)
}

/// The settings of an assistant at `url`.
pub(crate) fn assistant(kind: &str, url: &str) -> String {
    format!("assistant:\n  type: {kind}\n  url: {url}\n")
}

/// What the journal has of `conversation`, in order.
pub(crate) fn recorded(project: &Project, conversation: &str) -> Vec<Value> {
    let bodies = journal_bodies(&project.path(".trunkline"));
    let events = bodies.iter().map(|body| serde_json::from_str::<Value>(body).unwrap());
    events.filter(|event| event["sender_id"] == conversation).collect()
}

/// `type` of events, or `action:name`.
pub(crate) fn gist(events: &[Value]) -> Vec<String> {
    let gist = |event: &Value| match &event["name"] {
        Value::String(name) => format!("{}:{name}", event["event"].as_str().unwrap()),
        _ => event["event"].as_str().unwrap().to_owned(),
    };
    events.iter().map(gist).collect()
}

/// The keys of an object, in order.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Awaits what a test waits for, within bounds.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens")
}

/// Looks again and again until there is something to see; for what nobody announces.
pub(crate) async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    soon(async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !is_so().await {
            tick.tick().await;
        }
    })
    .await;
}

/// A connection on which a test says what it likes.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(program: &Program) -> Self {
        let address = program.url.strip_prefix("http://").unwrap();
        Self { stream: soon(TcpStream::connect(address)).await.unwrap(), read: Vec::new() }
    }

    /// Sends what the other side still takes.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = soon(self.stream.write_all(bytes.as_ref())).await;
    }

    /// A `POST` with a body of JSON.
    pub(crate) async fn post(&mut self, path: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: t\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        self.send([head.as_bytes(), body].concat()).await;
    }

    /// The next answer; its body must have an announced length.
    pub(crate) async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            self.read_more().await;
        };
        let rest = self.read.split_off(end + 4);
        let head = String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = reqwest::header::HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap());
        }
        let length = headers.get("content-length").map_or(0, |value| value.to_str().unwrap().parse().unwrap());
        while self.read.len() < length {
            self.read_more().await;
        }
        let rest = self.read.split_off(length);
        let body = String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
        Answer { status, headers, body }
    }

    async fn read_more(&mut self) {
        let count = soon(self.stream.read_buf(&mut self.read)).await.unwrap();
        assert!(count > 0, "the connection ended after {:?}", String::from_utf8_lossy(&self.read));
    }

    /// Waits until the other side has closed; answers what it said before.
    pub(crate) async fn closed(mut self) -> String {
        // A reset is an end too.
        let _ = soon(self.stream.read_to_end(&mut self.read)).await;
        String::from_utf8(self.read).unwrap()
    }
}

/// A request as an assistant got it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The body as JSON; null when it is none.
    pub(crate) body: Value,
}

impl Heard {
    /// The conversation of a message.
    pub(crate) fn sender(&self) -> &str {
        self.body["sender"].as_str().unwrap()
    }
}

/// Serves `answer` on a port of its own, until the test's end; gives the URL. Whoever only asks whether it is there gets a yes.
pub(crate) async fn serve<F>(answer: impl Fn(Heard) -> F + Clone + Send + Sync + 'static) -> String
where
    F: Future<Output = Response> + Send,
{
    let router = Router::new().fallback(async move |request: Request| {
        let (parts, body) = request.into_parts();
        if parts.method == "HEAD" || parts.method == "GET" && parts.uri.path() == "/webhooks/rest/" {
            return StatusCode::OK.into_response();
        }
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or_default();
        answer(Heard { method: parts.method.to_string(), path: parts.uri.path().to_owned(), body }).await
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// An answer of status 200.
pub(crate) fn ok(content_type: &'static str, body: impl Into<Body>) -> Response {
    ([("content-type", content_type)], body.into()).into_response()
}

pub(crate) fn json(body: impl Into<Body>) -> Response {
    ok("application/json", body)
}

/// An answer that breaks off: what a client sees when the server dies.
pub(crate) fn broken() -> Response {
    let error = std::io::Error::other("dead");
    json(Body::from_stream(tokio_stream::once(Err::<&'static str, _>(error))))
}

/// An assistant that answers a message when the test lets it, with `to <text>`.
pub(crate) struct Patient {
    pub(crate) url: String,
    /// The messages in the order in which it was asked.
    pub(crate) asked: mpsc::UnboundedReceiver<Heard>,
    gates: Gates,
}

/// A gate per conversation; a permit lets one answer through.
#[derive(Clone, Default)]
struct Gates(Arc<std::sync::Mutex<BTreeMap<String, Gate>>>);

#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    under_way: usize,
    most: usize,
}

impl Gates {
    fn with<T>(&self, conversation: &str, look: impl FnOnce(&mut Gate) -> T) -> T {
        let mut gates = self.0.lock().unwrap();
        let gate = || Gate { permits: Arc::new(Semaphore::new(0)), under_way: 0, most: 0 };
        look(gates.entry(conversation.to_owned()).or_insert_with(gate))
    }
}

impl Patient {
    pub(crate) async fn start() -> Self {
        let (sender, asked) = mpsc::unbounded_channel();
        let gates = Gates::default();
        let shared = gates.clone();
        let url = serve(move |heard| {
            let (gates, sender) = (shared.clone(), sender.clone());
            async move {
                if heard.method != "POST" {
                    return json("[]");
                }
                let conversation = heard.sender().to_owned();
                let text = format!("to {}", heard.body["message"].as_str().unwrap());
                let permits = gates.with(&conversation, |gate| {
                    gate.under_way += 1;
                    gate.most = gate.most.max(gate.under_way);
                    Arc::clone(&gate.permits)
                });
                sender.send(heard).unwrap();
                permits.acquire().await.unwrap().forget();
                gates.with(&conversation, |gate| gate.under_way -= 1);
                json(serde_json::json!([{"text": text}]).to_string())
            }
        })
        .await;
        Self { url, asked, gates }
    }

    /// Waits until it is asked.
    pub(crate) async fn next(&mut self) -> Heard {
        soon(self.asked.recv()).await.unwrap()
    }

    /// Lets so many answers to `conversation` through.
    pub(crate) fn let_through(&self, conversation: &str, count: usize) {
        self.gates.with(conversation, |gate| gate.permits.add_permits(count));
    }

    /// How many messages of `conversation` were being answered at the same time, at the most.
    pub(crate) fn most_at_once(&self, conversation: &str) -> usize {
        self.gates.with(conversation, |gate| gate.most)
    }

    /// How many messages are being answered.
    pub(crate) fn under_way(&self) -> usize {
        self.gates.0.lock().unwrap().values().map(|gate| gate.under_way).sum()
    }
}
