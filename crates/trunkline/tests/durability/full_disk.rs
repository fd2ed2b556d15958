//! A disk that is full: a small file system of its own, in a mount namespace of its own.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::process::Command;
use trunkline_testkit::{Program, Project};

use super::clients::{ALL_WAYS, Clients};
use super::{BINARY, arrived, until, until_readiness_is};

/// Mounts, copies the project in, and becomes the program.
const SCRIPT: &str = r#"
mount -t tmpfs -o size=24m trunkline "$1" || exit 1
cp "$2"/*.yml "$1" || exit 1
exec "$0" serve "$1" --port 0 --interface 127.0.0.1 --enable-api
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_senders_and_loses_nothing_and_takes_events_again_once_there_is_room() {
    let supported = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output().await;
    let supported = supported.map(|output| output.status.success());
    assert!(
        matches!(supported, Ok(true)),
        "this test needs `unshare --map-root-user --mount` to work: unprivileged user namespaces, or root: {supported:?}"
    );

    let (outside, project) = (TempDir::new().unwrap(), Project::with_brokers());
    let place = outside.path().join("small");
    fs::create_dir(&place).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", SCRIPT, BINARY]).arg(&place).arg(project.directory());
    let program = Arc::new(Program::run(command, outside.path()).await);
    let inside = PathBuf::from(format!("/proc/{}/root{}", program.pid(), place.display()));
    // The file system lives as long as this is open.
    let held = File::open(&inside).unwrap();
    let (seen, running) = Clients::new(32, ALL_WAYS).start(&program);
    until("senders are served", async || seen.acknowledged() > 500).await;

    fill(&inside.join("ballast"));
    let ready = until_readiness_is(&program, 503).await;
    assert_eq!(ready["reason"], "the disk is full");
    until("senders are refused", async || seen.refused() > 200).await;
    let refused = program.post("/api/events", r#"{"sender_id": "nobody", "event": "restart"}"#).await;
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (503, "1"), "{refused:?}");
    assert!(refused.json()["message"].as_str().unwrap().contains("the disk is full"), "{refused:?}");
    // What is recorded can be read all the while.
    let tracker = program.get("/conversations/client%200%2F0/tracker").await;
    assert!(tracker.status == 200 && tracker.body.contains("c0.0"), "{tracker:?}");
    assert_eq!(program.get("/status/live").await.status, 200);

    fs::remove_file(inside.join("ballast")).unwrap();
    until_readiness_is(&program, 200).await;
    let before = seen.acknowledged();
    until("senders are served again", async || seen.acknowledged() > before + 500).await;
    seen.stop();
    let clients = running.await.unwrap();
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);

    let copy = TempDir::new().unwrap();
    copy_tree(Path::new(&format!("/proc/self/fd/{}", held.as_raw_fd())), copy.path());
    let bodies = arrived::assert_journal_has(&copy.path().join(".trunkline"), &clients);
    arrived::assert_brokers_have(&bodies, &copy.path().join("events.log"), &copy.path().join("events.db"));
}

/// Takes every byte that is left.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
