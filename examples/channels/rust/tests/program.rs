//! The example as its users run it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use trunkline_testkit::{Program, Project};

const BINARY: &str = env!("CARGO_BIN_EXE_example-channel");

fn project() -> Project {
    let project = Project::new().file("credentials.yml", "outbox:\n  directory: outbox\n");
    fs::create_dir(project.path("outbox")).unwrap();
    project
}

/// What was printed, in the order in which it was said.
fn pages(project: &Project) -> Vec<String> {
    let mut paths: Vec<_> = fs::read_dir(project.path("outbox")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    paths.into_iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_letter_is_answered_in_order_though_the_program_is_killed() {
    let project = project();
    let mut expected = Vec::new();
    for round in 0..3 {
        let program = Program::start(BINARY, project.directory()).await;
        for number in 0..5 {
            let letter = format!("letter {round}.{number}");
            let answer = program.post("/webhooks/outbox/letters", format!(r#"{{"from": "ann", "letter": "{letter}"}}"#)).await;
            assert_eq!((answer.status, answer.body.as_str()), (202, r#"{"status":"recorded"}"#));
            // The assistant of an empty project says what it hears.
            expected.push(format!("To ann\n\n{letter}\n"));
        }
        program.signal(Signal::KILL);
        program.ended().await;
    }
    let program = Program::start(BINARY, project.directory()).await;
    program.settled_by("channel:outbox").await;
    assert_eq!(program.post("/webhooks/outbox/letters", "{}").await.status, 400);
    assert_eq!(program.stop().await.status.code(), Some(0));
    assert_eq!(pages(&project), expected);
}

#[test]
fn mistakes_in_the_section_are_found_by_check() {
    let project = Project::new().file("credentials.yml", "outbox:\n  directroy: outbox\n");
    let output = Command::new(BINARY).arg("check").arg(project.directory()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("outbox.directory: required key is missing") && said.contains("did you mean `directory`?"), "{said}");
}

#[test]
fn its_own_project_is_sound() {
    let output = Command::new(BINARY).arg("check").arg(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
