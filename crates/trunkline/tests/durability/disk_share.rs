//! The journal has used up its share of the disk with what a dead broker still has to get.

use std::sync::Arc;

use trunkline_testkit::{Program, Project};

use super::clients::{Clients, Way};
use super::dead_broker::Locked;
use super::{BINARY, arrived, until, until_readiness_is};

#[tokio::test(flavor = "multi_thread")]
async fn when_a_dead_broker_fills_the_share_of_the_disk_senders_wait_and_nothing_is_lost() {
    let project = Project::with_brokers().file("trunkline.yml", "journal:\n  max_size: 1MiB\n");
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = Clients::new(8, &[Way::Events]).finish(&program).await;
    program.settled().await;
    let lock = Locked::new(&project.path("events.db"));
    let (seen, running) = clients.start(&program);

    let reason = async || until_readiness_is(&program, 503).await["reason"].as_str().unwrap().to_owned();
    // At first it may name another, whose cursor was not stored yet.
    until("the dead broker is named", async || {
        let reason = reason().await;
        assert!(reason.contains("held from offset"), "{reason}");
        reason.contains("`sql`")
    })
    .await;
    until("senders are refused", async || seen.refused() > 50).await;
    program.settled_by("file").await;
    drop(lock);
    until_readiness_is(&program, 200).await;
    let before = seen.acknowledged();
    until("senders are served again", async || seen.acknowledged() > before + 500).await;
    seen.stop();
    let clients = running.await.unwrap();
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);

    // The journal has let go of most of it, and the brokers have it all.
    let rows = trunkline_testkit::sql_events(&project.path("events.db"));
    arrived::assert_same("the lines", &trunkline_testkit::file_events(&project.path("events.log")), &rows);
    for client in &clients.all {
        let mine = format!("\"sender_id\": \"client {}/", client.number);
        let mine: Vec<_> = rows.iter().filter(|row| row.contains(&mine)).cloned().collect();
        let sent: Vec<_> = client.acknowledged.iter().map(super::clients::Request::event).collect();
        arrived::assert_same("the rows of a client", &mine, &sent);
    }
}
