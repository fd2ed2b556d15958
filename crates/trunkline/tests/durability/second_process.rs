//! Two processes on one journal.

use tokio::process::Command;
use trunkline_testkit::{Program, Project};

use super::{BINARY, arrived};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_journal_is_refused_by_name_and_the_first_goes_on() {
    let project = Project::with_brokers();
    let program = Program::start(BINARY, project.directory()).await;
    program.say("ann", "one").await;
    let mut second = Command::new(BINARY);
    second.arg("serve").arg(project.directory()).args(["--port", "0", "--interface", "127.0.0.1"]).kill_on_drop(true);
    let output = second.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    let (directory, pid) = (project.path(".trunkline"), program.pid());
    assert!(message.contains(directory.to_str().unwrap()) && message.contains(&pid.to_string()), "{message}");

    assert_eq!(program.say("ann", "two").await[0]["text"], "two");
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);
}
