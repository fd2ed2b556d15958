//! The example as its users run it.

use std::fs;
use std::path::Path;
use std::process::Command;

use trunkline_testkit::{Program, Project};

const BINARY: &str = env!("CARGO_BIN_EXE_example-assistant");

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_answered_by_its_keyword() {
    let settings = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("trunkline.yml")).unwrap();
    let program = Program::start(BINARY, Project::new().file("trunkline.yml", &settings).directory()).await;
    for (message, answer) in [
        ("Are you OPEN?", "We are open from 11 to 23, every day."),
        ("the menu, please", "Margherita, Marinara, Calzone."),
        ("hello", "Ask me when we are open, or for the menu."),
    ] {
        assert_eq!(program.say("ann", message).await, serde_json::json!([{"recipient_id": "ann", "text": answer}]));
    }
}

#[test]
fn mistakes_in_the_section_are_found_by_check() {
    let project = Project::new().file("trunkline.yml", "assistant: {type: keywords, answres: {a: b}, otherwise: c}\n");
    let output = Command::new(BINARY).arg("check").arg(project.directory()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("assistant.answers: required key is missing") && said.contains("did you mean `answers`?"), "{said}");
}

#[test]
fn its_own_project_is_sound() {
    let output = Command::new(BINARY).arg("check").arg(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
