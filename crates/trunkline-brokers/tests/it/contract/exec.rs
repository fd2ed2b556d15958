//! Child processes.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::{contract_tests, python};

use crate::exec::build;

/// What a child kept, in a directory of its own.
struct Keeper {
    directory: TempDir,
}

impl Keeper {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn down(&self) {
        fs::write(self.directory.path().join("down"), "").unwrap();
    }

    fn up(&self) {
        fs::remove_file(self.directory.path().join("down")).unwrap();
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.directory.path().join("pid")).unwrap()
    }

    /// Kills the child and waits for the next.
    async fn kill(&self) {
        let pid = self.pid();
        assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        let next = async {
            while self.pid() == pid {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_mins(1), next).await.expect("it is started again");
    }
}

#[async_trait]
impl Subject for Keeper {
    fn broker(&self) -> Arc<dyn Broker> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/keeper.py");
        build(&format!("type: exec\ncommand: [{}, {script}]", python().display()), self.directory.path())
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let kept = fs::read_to_string(self.directory.path().join("kept")).unwrap();
        let lines = kept.lines().map(|line| line.split_once(' ').unwrap());
        lines.map(|(id, body)| Arrived { id: Some(id.to_owned()), ..Arrived::body(body) }).collect()
    }

    fn is_exactly_once(&self) -> bool {
        false
    }
}

contract_tests!(Keeper::new());

#[tokio::test]
async fn a_receiver_that_is_down_for_a_while() {
    let keeper = Keeper::new();
    contract::outage(&keeper, async { keeper.down() }, async { keeper.up() }).await;
}

#[tokio::test]
async fn a_child_that_is_killed_under_load() {
    let keeper = Keeper::new();
    let kills = async {
        for _ in 0..5 {
            keeper.kill().await;
        }
    };
    contract::fault_under_load(&keeper, kills).await;
}

#[tokio::test]
async fn an_event_that_the_child_rejects() {
    let body = r#"{"sender_id": "user4", "event": "user", "timestamp": 1.0, "text": "poison"}"#;
    contract::poison(&Keeper::new(), body).await;
}
