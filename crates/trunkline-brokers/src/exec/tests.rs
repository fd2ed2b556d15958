//! Children that are silent or deaf or have children of their own, and less patience with them than by default.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use trunkline_core::{Batch, Broker as _, CursorKey, JournalId, Kind, NewEvent, Outcome, Timestamp};

use super::ExecBroker;
use super::program::{Program, Times};

const BRIEF: Duration = Duration::from_millis(50);

/// What takes longer than this hangs.
const LIMIT: Duration = Duration::from_mins(1);

/// A child that runs `script` in the shell, in a directory of its own.
fn child(script: &str, times: Times) -> (ExecBroker, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let broker = ExecBroker::new(Program {
        broker: "cellar".to_owned(),
        title: "child".to_owned(),
        command: ["sh", "-c", script].map(Into::into).to_vec(),
        directory: directory.path().to_owned(),
        environment: Vec::new(),
        settings: json!({}),
        remedy: "",
        times,
    });
    (broker, directory)
}

fn batch() -> Batch {
    let journal = JournalId::random();
    let event = NewEvent::new(Kind::Event, "u", "restart", "{}").recorded(journal, Timestamp(1), 1);
    Batch::new(vec![Arc::new(event)], CursorKey { journal, subscription: "s".into() })
}

async fn publish(broker: &ExecBroker) -> String {
    match timeout(LIMIT, broker.publish(&batch())).await.expect("publish hangs").remove(0) {
        Outcome::Retry { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

/// Waits until the file is there, and gives what is in it.
async fn written(directory: &TempDir, name: &str) -> String {
    let file = directory.path().join(name);
    let there = async {
        loop {
            match fs::read_to_string(&file) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LIMIT, there).await.expect("it is written")
}

/// Waits until the process whose number is in the file has ended.
async fn gone(directory: &TempDir, name: &str) {
    let stat = Path::new("/proc").join(written(directory, name).await).join("stat");
    // Its parent may not have looked at it yet.
    let is_there = || fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let gone = async {
        while is_there() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, gone).await.expect("it still runs");
}

const HELLO: &str = "read hello; echo '{\"type\": \"hello\", \"version\": 1}'";
const READY: &str = "read ready; echo '{\"type\": \"ready\", \"ready\": true}'";

#[tokio::test]
async fn a_child_that_says_nothing_is_ended() {
    let (broker, directory) = child("echo $$ > pid; echo thinking >&2; sleep 1000", Times { hello: BRIEF, ..Times::default() });
    let error = broker.is_ready().await.unwrap_err();
    assert!(error.starts_with("`child` gave no hello within 0.05 s, and was killed"), "{error}");
    if directory.path().join("pid").exists() {
        gone(&directory, "pid").await;
    }

    let script = format!("echo $$ > pid; {HELLO}; sleep 1000");
    let (broker, directory) = child(&script, Times { ready: BRIEF, ..Times::default() });
    let error = broker.is_ready().await.unwrap_err();
    assert_eq!(error, "`child` gave no answer to `ready` within 0.05 s, and was killed");
    gone(&directory, "pid").await;
}

#[tokio::test]
async fn a_child_that_ignores_the_end_is_terminated_and_one_that_ignores_that_is_killed() {
    for (trap, terminate) in [("", Times::default().terminate), ("trap '' TERM; ", BRIEF)] {
        let script = format!("{trap}echo $$ > pid; {HELLO}; {READY}; while :; do sleep 1000; done");
        let (broker, directory) = child(&script, Times { close: BRIEF, terminate, ..Times::default() });
        broker.is_ready().await.unwrap();
        timeout(LIMIT, broker.close()).await.expect("close hangs");
        let process = Path::new("/proc").join(written(&directory, "pid").await);
        assert!(!process.exists(), "{trap}: the child still runs");
    }
}

#[tokio::test]
async fn what_a_child_started_ends_with_it() {
    // It holds the pipes open, as a worker does that was forked.
    let worker = "sleep 1000 & echo $! > worker; echo $$ > pid";
    let script = |then: &str| format!("{worker}; {HELLO}; {READY}; {then}");

    // It dies in a call, after it has answered.
    let (broker, directory) = child(&script("read event; exit 4"), Times::default());
    broker.is_ready().await.unwrap();
    assert_eq!(publish(&broker).await, "`child` ended (exit status: 4)");
    gone(&directory, "worker").await;

    // It ends when it is told to.
    let (broker, directory) = child(&script("read close"), Times::default());
    broker.is_ready().await.unwrap();
    timeout(LIMIT, broker.close()).await.expect("close hangs");
    gone(&directory, "worker").await;

    // It dies between two calls.
    let (broker, directory) = child(&script("exit 5"), Times::default());
    broker.is_ready().await.unwrap();
    gone(&directory, "pid").await;
    assert!(publish(&broker).await.starts_with("`child` ended (exit status: 5)"));
    gone(&directory, "worker").await;

    // The call that it works on is given up.
    let (broker, directory) = child(&script("read event; echo > asked; sleep 1000"), Times::default());
    broker.is_ready().await.unwrap();
    tokio::select! {
        reason = publish(&broker) => panic!("it answers: {reason}"),
        _ = written(&directory, "asked") => {}
    }
    gone(&directory, "worker").await;
    gone(&directory, "pid").await;
}
