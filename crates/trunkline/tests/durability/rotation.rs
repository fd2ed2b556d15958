//! The file of the file broker is rotated, as logrotate does it.

use std::sync::Arc;

use rustix::process::Signal;
use trunkline_testkit::{Program, Project, file_events};

use super::clients::{ALL_WAYS, Clients};
use super::{BINARY, arrived, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_under_load_is_continued_in_a_new_one_and_sighup_is_no_end() {
    let project = Project::with_brokers();
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let (seen, running) = Clients::new(16, ALL_WAYS).start(&program);
    let path = project.path("events.log");
    for rotation in 0..5 {
        let before = seen.acknowledged();
        until("more is acknowledged", async || seen.acknowledged() > before + 100).await;
        until("the file is there", async || path.exists()).await;
        std::fs::rename(&path, project.path(&format!("events.log.{rotation}"))).unwrap();
        program.signal(Signal::HUP);
    }
    let before = seen.acknowledged();
    until("more is acknowledged", async || seen.acknowledged() > before + 100).await;
    seen.stop();
    let clients = running.await.unwrap();
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);

    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    let mut lines: Vec<_> = (0..5).flat_map(|rotation| file_events(&project.path(&format!("events.log.{rotation}")))).collect();
    let last = file_events(&path);
    assert!(!last.is_empty());
    lines.extend(last);
    arrived::assert_same("the lines of all files", &lines, &bodies);
}
