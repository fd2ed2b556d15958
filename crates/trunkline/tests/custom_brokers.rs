//! Brokers of one's own in other languages, under the real program.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{interval, timeout};
use trunkline_testkit::{Program, Project, python};

const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");
const EVENTS: &str = include_str!("fixtures/rasa-3.6.21-events.jsonl");

/// A class of Rasa's kind that raises on events with these times.
fn class(poison: &[&str]) -> String {
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
        if json.dumps(event["timestamp"]) in {poison:?}:
            raise ValueError("this one is not to my taste")
        self.file.write(json.dumps(event) + "\n")

    async def close(self):
        self.file.write("closed\n")
"#
    )
}

const ENDPOINTS: &str = "
event_broker:
  type: deep.er.recorder.Recorder
  path: arrived
  trunkline:
    name: mine
    retry: {initial: 10ms, most: 100ms}
";

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

/// A project with a class in `deep/er/recorder.py`.
fn project(endpoints: &str, class: &str) -> Project {
    let project = Project::new().file("endpoints.yml", endpoints);
    std::fs::create_dir_all(project.path("deep/er")).unwrap();
    project.file("deep/er/recorder.py", class)
}

async fn start(project: &Project) -> Program {
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
    let project = project(ENDPOINTS, &class(&[]));
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
        let project = project(ENDPOINTS, &class(&[&event["timestamp"].to_string()]));
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
async fn a_second_bad_event_in_a_row_waits_for_another_conversation_and_holds_up_none() {
    let event =
        |sender: &str, time: u32| format!("{{\"sender_id\": \"{sender}\", \"event\": \"restart\", \"timestamp\": {time}.5}}");
    let project = project(ENDPOINTS, &class(&["1.5", "2.5"]));
    let program = start(&project).await;
    let of_ann = [event("ann", 1), event("ann", 2), event("ann", 3)];
    assert_eq!(program.post("/api/events", format!("[{}]", of_ann.join(","))).await.status, 202);
    // Alone, the first is given up after a while, and then nobody can tell whether the second is at fault or the receiver is down.
    let dead = "trunkline_subscription_dead_events_total{subscription=\"mine\"}";
    until(async || program.metric(dead).await == Some(1)).await;
    let of_bob = event("bob", 4);
    assert_eq!(program.post("/api/events", of_bob.clone()).await.status, 202);
    program.settled().await;
    assert_eq!(program.stop().await.status.code(), Some(0));
    let arrived = std::fs::read_to_string(project.path("arrived")).unwrap();
    let arrived: Vec<_> = arrived.strip_suffix("closed\n").unwrap().lines().collect();
    assert_eq!(by_conversation(arrived.into_iter()), by_conversation([of_ann[2].as_str(), &of_bob].into_iter()));
    let letters = dead_letters(&project);
    let times: Vec<_> = letters.iter().map(|letter| letter["event"]["timestamp"].to_string()).collect();
    assert_eq!(times, ["1.5", "2.5"], "{letters:?}");
}

/// A class that keeps what it is told of its settings.
const CURIOUS: &str = r#"
import json


class Curious:
    def __init__(self, settings):
        with open("settings", "w") as file:
            json.dump(settings, file)
        self.file = open("arrived", "a", buffering=1)

    @classmethod
    async def from_endpoint_config(cls, config):
        return cls(config.kwargs)

    def publish(self, event):
        self.file.write(json.dumps(event) + "\n")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_the_classs_and_ours_stand_under_one_of_their_own() {
    let theirs = "name: theirs, filter: [a], start: {b: c}, lanes: 4, batch: 5, retry: 3";
    let ours = format!(
        "{{name: mine, filter: {{types: [restart]}}, start: beginning, lanes: 1, batch: {{events: 7}}, retry: {{most: 1s}}, python: {}}}",
        python().display()
    );
    let endpoints = format!("event_broker: {{type: deep.er.recorder.Curious, {theirs}, trunkline: {ours}}}\n");
    let project = project(&endpoints, CURIOUS);
    assert_eq!(check(project.directory()), (Some(0), vec![]));
    // The section wins over the variable.
    let nowhere = OsStr::new("/nowhere/python");
    let variables = [("TRUNKLINE_PYTHON", nowhere)];
    let program = Program::start_with(BINARY, project.directory(), &["--enable-api"], &variables).await;
    let events = r#"[{"sender_id": "a", "event": "restart"}, {"sender_id": "a", "event": "undo"}]"#;
    assert_eq!(program.post("/api/events", events).await.status, 202);
    program.settled_by("mine").await;
    assert_eq!(program.stop().await.status.code(), Some(0));
    let settings: Value = serde_json::from_str(&std::fs::read_to_string(project.path("settings")).unwrap()).unwrap();
    let expected = r#"{"name": "theirs", "filter": ["a"], "start": {"b": "c"}, "lanes": 4, "batch": 5, "retry": 3}"#;
    assert_eq!(settings, serde_json::from_str::<Value>(expected).unwrap());
    let arrived = std::fs::read_to_string(project.path("arrived")).unwrap();
    assert!(arrived.lines().count() == 1 && arrived.contains("restart"), "{arrived}");
}

/// The status of `trunkline check`, and what it says, as `path: message (hint)`.
fn check(directory: &Path) -> (Option<i32>, Vec<String>) {
    let output = Command::new(BINARY).args(["check", "--json"]).arg(directory).output().unwrap();
    let problems: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |problem: &Value, key: &str| problem[key].as_str().unwrap_or_default().to_owned();
    let said = problems.iter().map(|one| format!("{}: {} ({})", text(one, "path"), text(one, "message"), text(one, "hint")));
    (output.status.code(), said.collect())
}

fn check_section(section: &str) -> (Option<i32>, Vec<String>) {
    check(Project::new().file("endpoints.yml", &format!("event_broker: {{{section}}}\n")).directory())
}

#[test]
fn mistakes_in_the_section_of_a_class_are_found_by_check() {
    let to_the_class = ["filter", "batch", "retry"]
        .map(|key| format!("event_broker.{key}: `{key}` goes to the class (for the gateway write it under `trunkline:`)"));
    for (keys, status, expected) in [
        (
            "filter: {types: [user]}, batch: {events: 5}, retry: {attempts: 3, most: 5s}",
            0,
            to_the_class.each_ref().map(String::as_str).to_vec(),
        ),
        ("filter: {types: [user], mine: 1}, batch: {}, retry: {count: 3}", 0, vec![]),
        (
            "trunkline: {nmae: x, python: [a]}",
            1,
            vec![
                "event_broker.trunkline.nmae: unknown key `nmae` (did you mean `name`?)",
                "event_broker.trunkline.python: expected text",
            ],
        ),
        ("trunkline: {retry: 3}", 1, vec!["event_broker.trunkline.retry: expected a mapping, found 3"]),
        ("trunkline: 5", 1, vec!["event_broker.trunkline: expected a mapping, found 5"]),
        (
            "trunkline: {lanes: 2}",
            1,
            vec![
                "event_broker.trunkline.lanes: broker type `python` works with one lane only (its child process works on one batch at a time, ",
            ],
        ),
    ] {
        let (code, said) = check_section(&format!("type: a.Class, {keys}"));
        assert_eq!((code, said.len()), (Some(status), expected.len()), "{keys}: {said:?}");
        assert!(said.iter().zip(&expected).all(|(said, expected)| said.starts_with(expected)), "{keys}: {said:?}");
    }
}

#[test]
fn options_that_do_not_go_together_are_found_by_check() {
    let webhook = "type: webhook, url: 'http://localhost/'";
    for (section, expected) in [
        ("type: exec, command: cat, lanes: 2".to_owned(), "event_broker.lanes: broker type `exec` works with one lane only"),
        (
            format!("{webhook}, timeout: 60s"),
            "event_broker.timeout: one request may take 60 s, and the call that it is a part of no more than 60 s",
        ),
        (
            format!("{webhook}, retry: {{timeout: 15s}}"),
            "event_broker.timeout: one request may take 15 s, and the call that it is a part of no more than 15 s",
        ),
    ] {
        let (code, said) = check_section(&section);
        assert!(code == Some(1) && said.len() == 1 && said[0].starts_with(expected), "{section}: {said:?}");
    }
    assert_eq!(check_section(&format!("{webhook}, timeout: 14s, retry: {{timeout: 15s}}")), (Some(0), vec![]));
}

#[test]
fn the_examples_are_sound() {
    for example in ["brokers/exec-node", "brokers/exec-python", "brokers/python-class", "pizzeria"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
        assert!(directory.join("endpoints.yml").is_file(), "{example}");
        assert_eq!(check(&directory), (Some(0), vec![]), "{example}");
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
    until(async || std::fs::read_to_string(&log).unwrap().contains("Child process of the broker was started")).await;
    program.kill().await;
    until(async || project.path("ended").exists()).await;
}

/// Waits for what can only be looked at from outside.
async fn until(is_so: impl AsyncFn() -> bool) {
    let looking = async {
        let mut tick = interval(Duration::from_millis(10));
        while !is_so().await {
            tick.tick().await;
        }
    };
    timeout(Duration::from_mins(1), looking).await.expect("it comes to be so");
}
