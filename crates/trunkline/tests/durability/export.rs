//! What `trunkline export` says it published is what a consumer then counts.

use tokio::process::Command;
use trunkline_testkit::{Program, Project, services};

use super::receivers::{Receiver, assert_complete_and_in_order, unique};
use super::{BINARY, arrived, fixture};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_counts_what_a_consumer_of_each_broker_then_counts() {
    let project = Project::new();
    let program = Program::start(BINARY, project.directory()).await;
    let lines = fixture::post(&program).await;
    arrived::assert_ended_well(&program.stop().await);

    let mut names = vec!["rabbitmq", "postgresql", "mariadb", "redis"];
    if cfg!(feature = "kafka") {
        names.push("kafka");
    }
    let receivers: Vec<_> = names.into_iter().map(|name| Receiver::new(name, services::port(name), &unique("export"))).collect();
    let sections: String = receivers.iter().map(Receiver::section).collect();
    let project = project.file("endpoints.yml", &format!("event_broker:\n{sections}"));
    for receiver in &receivers {
        receiver.prepare().await;
        let export = ["export", "--broker", receiver.name, "--json"];
        let output = Command::new(BINARY).args(export).current_dir(project.directory()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let arrived = receiver.arrived().await;
        println!("{}: {said}; a consumer counts {}", receiver.name, arrived.len());
        assert_eq!(said["events"], arrived.len());
        assert_eq!(assert_complete_and_in_order(receiver.name, &arrived, &lines), 0);
    }
}
