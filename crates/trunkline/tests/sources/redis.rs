//! A gateway that reads a real Redis, and is killed again and again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use trunkline_testkit::{Program, Project, journal_bodies, services};

use super::{FIXTURE, until};

/// Adds these events to a stream of the shared Redis, as somebody who has never heard of us.
fn publish(key: &str, events: &[&str]) {
    let mut stream = TcpStream::connect(("127.0.0.1", services::port("redis"))).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    for event in events {
        let parts = ["XADD", key, "*", "event", event].map(|part| format!("${}\r\n{part}\r\n", part.len()));
        stream.write_all(format!("*5\r\n{}", parts.concat()).as_bytes()).unwrap();
        assert!(answers.next().unwrap().unwrap().starts_with('$'));
        answers.next().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_while_it_reads_loses_and_doubles_nothing() {
    let key = format!("sources:kills:{}", fastrand::u64(..));
    let settings = format!(
        "sources:\n  - {{name: upstream, type: redis, url: \"redis://127.0.0.1:{}\", key: \"{key}\"}}\n",
        services::port("redis")
    );
    let project = Project::new().file("trunkline.yml", &settings);
    let events: Vec<_> = FIXTURE.lines().collect();
    let start = async || Program::start(env!("CARGO_BIN_EXE_trunkline"), project.directory()).await;
    let chunks: Vec<_> = events.chunks(150).collect();
    for (number, chunk) in chunks.iter().enumerate() {
        let program = start().await;
        let before = program.head().await;
        publish(&key, chunk);
        // Some are appended by now, and not all of them are settled.
        until("it reads", async || program.head().await > before).await;
        if number % 2 == 0 { program.kill().await } else { drop(program.stop().await) }
    }
    let program = start().await;
    until("everything is read", async || program.head().await >= events.len() as u64).await;
    until("it is connected", async || {
        let source = program.get("/status/ready").await.json()["sources"][0].take();
        source["name"] == "upstream" && source["connected"] == true
    })
    .await;
    drop(program.stop().await);
    assert_eq!(journal_bodies(&project.path(".trunkline")), events);
}
