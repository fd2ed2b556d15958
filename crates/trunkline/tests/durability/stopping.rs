//! SIGTERM: those who have asked are answered, and a second one ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use trunkline_testkit::{Program, Project};

use super::clients::{ALL_WAYS, Client, Clients};
use super::{BINARY, arrived, random, until};

#[tokio::test(flavor = "multi_thread")]
async fn who_has_asked_before_sigterm_is_answered() {
    let (project, mut random) = (Project::with_brokers(), random());
    let mut clients = Clients::new(32, ALL_WAYS);
    for _ in 0..6 {
        let program = Program::start(BINARY, project.directory()).await;
        let (terminated, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::atomic::AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for (number, client) in clients.all.into_iter().enumerate() {
            // Every other one connects anew for each request.
            let address = program.url.strip_prefix("http://").unwrap().to_owned();
            let connection = Connection { address, stream: None, keep: number % 2 == 0 };
            tasks.spawn(ask(client, connection, Arc::clone(&terminated), Arc::clone(&answered)));
        }
        let enough = random.u64(1..400);
        until("some are answered", async || answered.load(Ordering::SeqCst) > enough).await;
        terminated.store(true, Ordering::SeqCst);
        let exit = program.stop().await;
        arrived::assert_ended_well(&exit);
        clients = Clients { all: tasks.join_all().await };
        arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    }
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);
    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    arrived::assert_brokers_have(&bodies, &project.path("events.log"), &project.path("events.db"));
}

/// Sends until nobody answers, which may only happen to what was sent after the signal.
async fn ask(
    mut client: Client,
    mut connection: Connection,
    terminated: Arc<AtomicBool>,
    answered: Arc<std::sync::atomic::AtomicU64>,
) -> Client {
    loop {
        let request = client.request();
        let body = request.body();
        let (path, token, keep) = (request.path(), &request.token, if connection.keep { "keep-alive" } else { "close" });
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: trunkline\r\nConnection: {keep}\r\nContent-Type: application/json\r\n\
             Idempotency-Key: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let Ok(()) = connection.send(&text).await else { return client };
        // The system has all of it, so the program can have it.
        let is_before = !terminated.load(Ordering::SeqCst);
        match connection.answer().await {
            Ok(status) => {
                assert!(status == 200 || status == 202, "{request:?} was answered {status}");
                client.acknowledge();
                answered.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                assert!(!is_before, "{request:?} was sent before the signal, and not answered: {error}");
                return client;
            }
        }
    }
}

/// As plain as can be, because it has to be known when a request is sent.
struct Connection {
    address: String,
    stream: Option<TcpStream>,
    keep: bool,
}

impl Connection {
    async fn send(&mut self, request: &str) -> std::io::Result<()> {
        if self.stream.is_none() {
            self.stream = Some(TcpStream::connect(&self.address).await?);
        }
        self.stream.as_mut().unwrap().write_all(request.as_bytes()).await
    }

    /// The status of the answer, once all of it is here.
    async fn answer(&mut self) -> std::io::Result<u16> {
        let (mut stream, mut answer) = (self.stream.take().unwrap(), Vec::new());
        let end = loop {
            if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        };
        let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        let mut body = vec![0; (end + length).saturating_sub(answer.len())];
        stream.read_exact(&mut body).await?;
        if self.keep && !head.contains("connection: close") {
            self.stream = Some(stream);
        }
        Ok(head.split(' ').nth(1).unwrap().parse().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigterm_does_not_wait_for_an_assistant_that_hangs() {
    let (project, assistant) = hanging().await;
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let asking = ask_the_assistant(&program);
    let _never_answered = asked(&assistant).await;
    program.signal(Signal::TERM);
    // A second signal before the first is taken would be the same one.
    let address = program.url.strip_prefix("http://").unwrap();
    until("nobody is accepted any more", async || TcpStream::connect(address).await.is_err()).await;
    program.signal(Signal::TERM);
    asking.await.unwrap();
    let exit = Arc::into_inner(program).unwrap().ended().await;
    assert_eq!(exit.status.code(), Some(3), "{}", exit.log);
    assert_is_answered_later(project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_that_hangs_is_waited_for_as_long_as_the_grace_lasts() {
    let (project, assistant) = hanging().await;
    let project = project.file("trunkline.yml", &format!("{}server:\n  shutdown_grace: 100ms\n", settings(&assistant)));
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let asking = ask_the_assistant(&program);
    let _never_answered = asked(&assistant).await;
    program.signal(Signal::TERM);
    asking.await.unwrap();
    let exit = Arc::into_inner(program).unwrap().ended().await;
    assert_eq!(exit.status.code(), Some(3), "{}", exit.log);
    assert_is_answered_later(project).await;
}

/// A project whose assistant accepts and says nothing.
async fn hanging() -> (Project, TcpListener) {
    let assistant = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let project = Project::with_brokers().file("trunkline.yml", &settings(&assistant));
    (project, assistant)
}

/// The connection on which a message comes; whether the assistant is ready is asked on others.
async fn asked(assistant: &TcpListener) -> TcpStream {
    loop {
        let (mut stream, mut method) = (assistant.accept().await.unwrap().0, [0; 4]);
        if stream.read_exact(&mut method).await.is_ok() && method == *b"POST" {
            return stream;
        }
    }
}

fn settings(assistant: &TcpListener) -> String {
    format!("assistant:\n  type: http\n  url: http://{}/\n", assistant.local_addr().unwrap())
}

fn ask_the_assistant(program: &Arc<Program>) -> tokio::task::JoinHandle<()> {
    let request =
        program.request(reqwest::Method::POST, "/webhooks/rest/webhook").body(r#"{"sender": "ann", "message": "hello"}"#);
    tokio::spawn(async move {
        // Whether it gets an empty answer or none is all the same.
        let _ = request.send().await;
    })
}

/// The message is recorded, and answered by the next process.
async fn assert_is_answered_later(project: Project) {
    let project = project.file("trunkline.yml", "");
    let program = Program::start(BINARY, project.directory()).await;
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);
    let bodies = trunkline_testkit::journal_bodies(&project.path(".trunkline"));
    assert_eq!(bodies.iter().filter(|body| body.contains("\"event\": \"bot\"")).count(), 1, "{bodies:?}");
    arrived::assert_every_message_is_answered(&project.path(".trunkline"));
    arrived::assert_brokers_have(&bodies, &project.path("events.log"), &project.path("events.db"));
}
