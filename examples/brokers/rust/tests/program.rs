//! The example as its users run it: the program, a section of `endpoints.yml`, and a collector.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use trunkline_testkit::{Program, Project};

const BINARY: &str = env!("CARGO_BIN_EXE_example-broker");

/// Collects lines, and breaks the first connection after `break_after` of them.
async fn collect(listener: TcpListener, lines: Arc<Mutex<Vec<String>>>, break_after: usize) {
    let mut most = break_after;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (reading, mut writing) = stream.split();
        let mut reading = BufReader::new(reading).lines();
        while let Ok(Some(line)) = reading.next_line().await {
            lines.lock().unwrap().push(line);
            most = most.saturating_sub(1);
            if most == 0 || writing.write_all(b"ok\n").await.is_err() {
                most = usize::MAX;
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_in_order_though_the_connection_breaks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(collect(listener, Arc::clone(&lines), 7));
    let project =
        Project::new().file("endpoints.yml", &format!("event_broker:\n  type: collector\n  url: 127.0.0.1\n  port: {port}\n"));
    let program = Program::start(BINARY, project.directory()).await;
    for number in 0..10 {
        program.say("ann", &format!("number {number}")).await;
    }
    program.settled().await;
    assert_eq!(program.stop().await.status.code(), Some(0));

    let mut lines = lines.lock().unwrap().clone();
    let count = lines.len();
    lines.dedup();
    assert_eq!(count - lines.len(), 1, "what was not confirmed comes again, with the same id");
    let texts: Vec<String> = (0..10).map(|number| format!("\"text\": \"number {number}\"")).collect();
    let asked: Vec<_> = lines.iter().filter(|line| line.contains("\"event\": \"user\"")).collect();
    assert_eq!(asked.len(), 10);
    assert!(asked.iter().zip(texts).all(|(line, text)| line.contains(&text)), "{asked:?}");
}

#[test]
fn mistakes_in_the_section_are_found_by_check() {
    let project = Project::new().file("endpoints.yml", "event_broker:\n  type: collector\n  prot: 9000\n");
    let output = Command::new(BINARY).arg("check").arg(project.directory()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("event_broker.url: required key is missing") && said.contains("did you mean `port`?"), "{said}");
}

#[test]
fn its_own_project_is_sound() {
    let output = Command::new(BINARY).arg("check").arg(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
