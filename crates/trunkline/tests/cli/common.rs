//! Running the program, and preparing what it works on.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trunkline_core::NewEvent;
use trunkline_journal::{Append, Appender, Journal, Options};

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The standard output of a command that did what it was asked for and had nothing else to say.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The standard error of a command that failed.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.err
    }
}

/// The program in `directory`, with nothing of our own environment that it looks at.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    for name in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "AUTH_TOKEN", "JWT_SECRET", "JWT_METHOD", "COLUMNS"] {
        command.env_remove(name);
    }
    command.current_dir(directory).args(arguments).env("TZ", "Europe/Berlin").stdin(Stdio::null());
    command
}

pub(crate) fn run(directory: &Path, arguments: &[&str]) -> Ran {
    run_with(directory, arguments, "")
}

/// With `input` on standard input.
pub(crate) fn run_with(directory: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = command(directory, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(body: &str) -> NewEvent {
    NewEvent::parse(body.as_bytes(), None, 1.5).unwrap()
}

/// Does something with the journal of the project in `directory`.
pub(crate) fn with_journal<F: Future>(directory: &Path, work: impl FnOnce(Arc<Appender>) -> F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (journal, appender) = Journal::open(&directory.join(".trunkline"), Options::default()).unwrap();
        let result = work(Arc::new(appender)).await;
        journal.close().await;
        result
    })
}

/// A project with a journal of these events.
pub(crate) fn project(events: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let appends = events.iter().map(|body| Append::one(event(body))).collect();
    with_journal(directory.path(), |appender| async move {
        for appended in appender.append_all(appends).await {
            appended.unwrap();
        }
    });
    directory
}

pub(crate) const CONVERSATION: [&str; 4] = [
    r#"{"sender_id": "ann", "event": "user", "timestamp": 1.0, "text": "two pizzas", "x": 1.50}"#,
    r#"{"sender_id": "bob", "event": "user", "timestamp": 2.0, "text": "h\u00e9llo"}"#,
    r#"{"sender_id": "ann", "event": "slot", "timestamp": 3.0, "name": "number", "value": 2}"#,
    r#"{"sender_id": "ann", "event": "bot", "timestamp": 4.0, "text": "Which?", "data": {"buttons": [{}, {}]}}"#,
];

/// A running gateway; killed at the end of the test that started it.
pub(crate) struct Served(Child);

impl Served {
    pub(crate) fn start(directory: &Path) -> Self {
        let mut command = command(directory, &["serve", "--port", "0", "--interface", "127.0.0.1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("listening")), "it did not start");
        Self(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
