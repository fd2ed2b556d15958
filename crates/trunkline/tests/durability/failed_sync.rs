//! Syncs and writes that fail under the journal: a shim between SQLite and the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Signal;
use tokio::process::Command;
use trunkline_testkit::{Program, Project};

use super::clients::{ALL_WAYS, Clients};
use super::{BINARY, arrived, until, until_readiness_is};

#[tokio::test(flavor = "multi_thread")]
async fn after_failed_syncs_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    the_disk_fails("sync").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_failed_writes_nothing_is_acknowledged_and_nothing_acknowledged_is_lost() {
    the_disk_fails("write").await;
}

async fn the_disk_fails(kind: &str) {
    let project = Project::with_brokers();
    let (shim, fault) = (build_shim(project.directory()).await, project.path("fault"));
    let control = project.path(&format!("fault.{kind}"));
    let variables = [("LD_PRELOAD", shim.as_os_str()), ("TRUNKLINE_FAULT", fault.as_os_str())];
    let program = Arc::new(Program::start_with(BINARY, project.directory(), &["--enable-api"], &variables).await);
    let (seen, running) = Clients::new(32, ALL_WAYS).start(&program);
    for _ in 0..3 {
        let before = seen.acknowledged();
        until("senders are served", async || seen.acknowledged() > before + 200).await;

        fs::write(&control, "").unwrap();
        until_readiness_is(&program, 503).await;
        // The answers to what was recorded before are on their way for a while.
        let refused = seen.refused();
        until("senders are refused", async || seen.refused() > refused + 200).await;
        let (acknowledged, refused) = (seen.acknowledged(), seen.refused());
        until("senders are refused again", async || seen.refused() > refused + 200).await;
        assert_eq!(seen.acknowledged(), acknowledged, "nothing is acknowledged while nothing can be synced");

        fs::remove_file(&control).unwrap();
        until_readiness_is(&program, 200).await;
    }
    let before = seen.acknowledged();
    until("senders are served again", async || seen.acknowledged() > before + 200).await;
    // Once more, and now the program dies before it can do anything about it.
    fs::write(&control, "").unwrap();
    until_readiness_is(&program, 503).await;
    program.signal(Signal::KILL);
    let clients = running.await.unwrap();
    Arc::into_inner(program).unwrap().ended().await;

    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);
    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    arrived::assert_brokers_have(&bodies, &project.path("events.log"), &project.path("events.db"));
}

async fn build_shim(directory: &Path) -> PathBuf {
    let (source, shim) = (directory.join("fault.c"), directory.join("fault.so"));
    fs::write(&source, include_str!("fault.c")).unwrap();
    let output = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&shim, &source]).arg("-ldl").output().await;
    let output = output.expect("a C compiler, `cc`, as the build of SQLite needs it");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    shim
}
