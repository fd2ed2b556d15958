//! What a real Rasa published.

use serde_json::Value;
use trunkline_testkit::{Program, Project, file_events, sql_events};

use super::{BINARY, arrived};

const EVENTS: &str = include_str!("../fixtures/rasa-3.6.21-events.jsonl");

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_a_real_rasa_come_out_of_both_brokers_as_they_were() {
    let project = Project::with_brokers();
    let program = Program::start(BINARY, project.directory()).await;
    let lines = post(&program).await;
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);

    let (file, sql) = (file_events(&project.path("events.log")), sql_events(&project.path("events.db")));
    for found in [&file, &sql] {
        // Equal as JSON is what is promised, and equal byte for byte says more.
        let json = |lines: &[String]| -> Vec<Value> { lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect() };
        assert_eq!(json(found), json(&lines));
        arrived::assert_same("the events", found, &lines);
    }
}

/// Posts them all, as they follow each other; gives the lines.
pub(crate) async fn post(program: &Program) -> Vec<String> {
    let lines: Vec<String> = EVENTS.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 1_106);
    for run in lines.chunk_by(|one, other| conversation(one) == conversation(other)) {
        let path = format!("/conversations/{}/tracker/events?include_events=NONE", escaped(&conversation(&run[0])));
        let answer = program.post(&path, format!("[{}]", run.join(","))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    lines
}

fn conversation(line: &str) -> String {
    let event: Value = serde_json::from_str(line).unwrap();
    event["sender_id"].as_str().unwrap().to_owned()
}

/// Everything but letters and digits as `%XX`.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}
