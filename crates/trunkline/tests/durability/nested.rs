//! A history that mixes flat events and nested ones, through every door and out to every kind of receiver.

use serde_json::Value;
use tokio::process::Command;
use trunkline_testkit::{Program, Project, file_events, services, sql_events};

use super::receivers::{Receiver, assert_complete_and_in_order, unique};
use super::{BINARY, arrived, until};

const EVENTS: &str = include_str!("../fixtures/nested-and-flat-events.jsonl");

const BROKERS: &str = "event_broker:\n  - {type: file, path: events.log}\n  - {type: sql, db: events.db}\n";

fn lines() -> Vec<String> {
    EVENTS.lines().map(str::to_owned).collect()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The lines about a conversation.
fn of_conversation(conversation: &str) -> Vec<String> {
    let is_of = |event: &Value| event["conversation_id"] == conversation || event["sender_id"] == conversation;
    lines().into_iter().filter(|line| is_of(&json(line))).collect()
}

/// The lines that name the user, in both shapes.
fn alices() -> Vec<String> {
    let is_hers = |event: &Value| event["user_id"] == "alice" || event["metadata"]["user_id"] == "alice";
    let alices: Vec<_> = lines().into_iter().filter(|line| is_hers(&json(line))).collect();
    assert!((13..30).contains(&alices.len()) && alices.iter().any(|line| line.contains("\"sender_id\"")));
    alices
}

/// What a command prints in the project.
async fn trunkline(project: &Project, arguments: &[&str]) -> String {
    let output = Command::new(BINARY).args(arguments).current_dir(project.directory()).output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The bodies that `trunkline tail` finds, byte for byte.
async fn tailed(project: &Project, selection: &[&str]) -> Vec<String> {
    let arguments = [&["tail", "--no-follow", "--json", "--since", "beginning"], selection].concat();
    let body = |line: &str| {
        let (_, body) = line.split_once(",\"event\":").unwrap();
        body.strip_suffix('}').unwrap().to_owned()
    };
    trunkline(project, &arguments).await.lines().map(body).collect()
}

/// The history is in the journal, found by conversation and by user, and at both brokers.
async fn assert_recorded(what: &str, project: &Project) {
    assert_eq!(lines().len(), 30);
    assert_eq!(tailed(project, &[]).await, lines(), "{what}");
    for conversation in ["caf\u{e9}/1", "c2"] {
        assert_eq!(tailed(project, &["--conversation", conversation]).await, of_conversation(conversation), "{what}");
    }
    let alices = alices();
    assert_eq!(tailed(project, &["--user", "alice"]).await, alices, "{what}");
    let both = tailed(project, &["--user", "alice", "--conversation", "c2"]).await;
    assert_eq!(both, of_conversation("c2").into_iter().filter(|line| alices.contains(line)).collect::<Vec<_>>(), "{what}");
    for found in [file_events(&project.path("events.log")), sql_events(&project.path("events.db"))] {
        assert_eq!(found, lines(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_history_is_taken_through_the_api_and_exported_as_it_came() {
    let project = Project::new().file("endpoints.yml", BROKERS);
    let program = Program::start(BINARY, project.directory()).await;
    for (number, list) in lines().chunks(7).enumerate() {
        // A list, and one event after another.
        let list: Vec<_> = if number == 0 { list.to_vec() } else { vec![format!("[{}]", list.join(","))] };
        for body in list {
            let answer = program.post("/api/events", body).await;
            assert_eq!(answer.status, 202, "{answer:?}");
        }
    }
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);
    // A list is recorded conversation by conversation; the lines of each are in their order.
    let mut found = tailed(&project, &[]).await;
    for conversation in ["caf\u{e9}/1", "c2"] {
        assert_eq!(tailed(&project, &["--conversation", conversation]).await, of_conversation(conversation));
    }
    assert_eq!(file_events(&project.path("events.log")), found);
    assert_eq!(sql_events(&project.path("events.db")), found);
    let (mut expected, mut alices, mut hers) = (lines(), alices(), tailed(&project, &["--user", "alice"]).await);
    for list in [&mut expected, &mut found, &mut alices, &mut hers] {
        list.sort_unstable();
    }
    assert_eq!((found, hers), (expected, alices));

    let mut names = vec!["rabbitmq", "postgresql"];
    if cfg!(feature = "kafka") {
        names.push("kafka");
    }
    let receivers: Vec<_> = names.into_iter().map(|name| Receiver::new(name, services::port(name), &unique("nested"))).collect();
    let sections: String = receivers.iter().map(Receiver::section).collect();
    let files = "  - {type: file, name: log, path: again.log}\n  - {type: sql, name: table, db: again.db}\n";
    let project = project.file("endpoints.yml", &format!("event_broker:\n{files}{sections}"));
    for name in ["log", "table"] {
        trunkline(&project, &["export", "--broker", name]).await;
    }
    for found in [file_events(&project.path("again.log")), sql_events(&project.path("again.db"))] {
        assert_eq!(found, file_events(&project.path("events.log")));
    }
    for receiver in &receivers {
        receiver.prepare().await;
        let said = json(&trunkline(&project, &["export", "--broker", receiver.name, "--json"]).await);
        assert_eq!((&said["events"], &said["rejected"]), (&30.into(), &0.into()), "{said}");
        assert_eq!(assert_complete_and_in_order(receiver.name, &receiver.arrived().await, &lines()), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_history_is_read_from_a_file_and_published_as_it_came() {
    let sources = "sources:\n  - {type: file, name: log, path: incoming.log, start: beginning}\n";
    let project = Project::new().file("endpoints.yml", BROKERS).file("trunkline.yml", sources).file("incoming.log", EVENTS);
    let program = Program::start(BINARY, project.directory()).await;
    until("the file is read", async || program.head().await == 30).await;
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);
    assert_recorded("file", &project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_event_of_each_kind_is_shown_to_a_person_by_what_it_tells() {
    let project = Project::new().file("incoming.log", EVENTS);
    let shown = trunkline(&project, &["consume", "incoming.log", "--option", "start=beginning", "--count", "30"]).await;
    for part in ["user      caf\u{e9} for two", "bot       When? [1 buttons]", "action    action_book", "slot      seats=2"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for part in ["memory_set  key=booking.seats value_json=2", "tool_executed  tool_name=get_tables"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("no event"), "{shown}");
}
