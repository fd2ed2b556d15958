//! Brokers of one's own in other languages, under the real program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use trunkline_testkit::{Program, Project, python};

const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");
const EVENTS: &str = include_str!("fixtures/rasa-3.6.21-events.jsonl");

/// A class of Rasa's kind that raises on the event with this time.
fn class(poison: &str) -> String {
    format!(
        r#"
import json

from rasa.core.brokers.broker import EventBroker


class Recorder(EventBroker):
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)

    @classmethod
    async def from_endpoint_config(cls, broker_config):
        return cls(**broker_config.kwargs)

    def publish(self, event):
        if json.dumps(event["timestamp"]) == "{poison}":
            raise ValueError("this one is not to my taste")
        self.file.write(json.dumps(event) + "\n")

    async def close(self):
        self.file.write("closed\n")
"#
    )
}

const ENDPOINTS: &str = "event_broker:\n  name: mine\n  type: deep.er.recorder.Recorder\n  path: arrived\n";

fn conversation(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    event["sender_id"].as_str().unwrap().to_owned()
}

/// The events of each conversation in order, the conversations sorted.
fn by_conversation<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Value> {
    let mut events: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    events.sort_by_key(|event| event["sender_id"].as_str().unwrap().to_owned());
    events
}

async fn start(project: &Project) -> Program {
    std::fs::create_dir_all(project.path("deep/er")).unwrap();
    let python = python();
    Program::start_with(BINARY, project.directory(), &["--enable-api"], &[("TRUNKLINE_PYTHON", OsStr::new(&python))]).await
}

async fn post_all(program: &Program) {
    let lines: Vec<&str> = EVENTS.lines().collect();
    for part in lines.chunks(100) {
        let answer = program.post("/api/events", format!("[{}]", part.join(","))).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }
}

fn dead_letters(project: &Project) -> Vec<Value> {
    let output = Command::new(BINARY).args(["dead-letters", "list", "--json"]).current_dir(project.directory()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_rasas_kind_gets_every_event() {
    let project = Project::new().file("endpoints.yml", ENDPOINTS);
    std::fs::create_dir_all(project.path("deep/er")).unwrap();
    let project = project.file("deep/er/recorder.py", &class("never"));
    let program = start(&project).await;
    post_all(&program).await;
    program.settled().await;
    assert_eq!(program.stop().await.status.code(), Some(0));
    let arrived = std::fs::read_to_string(project.path("arrived")).unwrap();
    let arrived = arrived.strip_suffix("closed\n").unwrap();
    assert_eq!(arrived.lines().count(), 1_106);
    assert_eq!(by_conversation(arrived.lines()), by_conversation(EVENTS.lines()));
    assert!(dead_letters(&project).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_on_which_a_class_raises_is_a_dead_letter_and_the_rest_arrives() {
    // One in the midst of its conversation, and the very last one of all, which has nothing beside it that could go through.
    let lines: Vec<&str> = EVENTS.lines().collect();
    for poison in [lines[500], lines[1_105]] {
        let event: Value = serde_json::from_str(poison).unwrap();
        let project = Project::new().file("endpoints.yml", ENDPOINTS);
        std::fs::create_dir_all(project.path("deep/er")).unwrap();
        let project = project.file("deep/er/recorder.py", &class(&event["timestamp"].to_string()));
        let program = start(&project).await;
        post_all(&program).await;
        program.settled().await;
        assert_eq!(program.stop().await.status.code(), Some(0));
        let arrived = std::fs::read_to_string(project.path("arrived")).unwrap();
        let arrived = arrived.strip_suffix("closed\n").unwrap();
        let rest = lines.iter().copied().filter(|line| *line != poison);
        assert_eq!(by_conversation(arrived.lines()), by_conversation(rest));
        let letters = dead_letters(&project);
        assert_eq!(letters.len(), 1, "{letters:?}");
        assert_eq!(letters[0]["conversation"], conversation(poison).as_str(), "{letters:?}");
        assert_eq!(letters[0]["reason"], "`publish` of the class raised ValueError: this one is not to my taste");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_ends_with_the_gateway_however_that_ends() {
    let script = "import sys\nprint('{\"type\": \"hello\", \"version\": 1}', flush=True)\nsys.stdin.read()\n\
                  open('ended', 'w').close()\n";
    let endpoints = format!("event_broker: {{type: exec, command: [{}, child.py]}}\n", python().display());
    let project = Project::new().file("endpoints.yml", &endpoints).file("child.py", script);
    let program = Program::start(BINARY, project.directory()).await;
    program.say("ann", "hello").await;
    let log = project.path("program.log");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !std::fs::read_to_string(&log).unwrap().contains("Child process of the broker was started") {
        assert!(Instant::now() < deadline, "the child is not started");
        tokio::task::yield_now().await;
    }
    program.kill().await;
    while !project.path("ended").exists() {
        assert!(Instant::now() < deadline, "the child does not end");
        tokio::task::yield_now().await;
    }
}
