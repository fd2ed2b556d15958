//! The server of a broker is killed under load, and comes back.

use std::sync::Arc;

use trunkline_testkit::rabbitmq::keep_queues;
use trunkline_testkit::services::Private;
use trunkline_testkit::{Program, Project, file_events};

use super::clients::{Clients, Way};
use super::receivers::{Receiver, assert_complete_and_in_order, unique};
use super::{BINARY, arrived, until};

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_killed_under_load() {
    killed("rabbitmq").await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_killed_under_load() {
    killed("kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_killed_under_load() {
    killed("postgresql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb_is_killed_under_load() {
    killed("mariadb").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_under_load() {
    killed("redis").await;
}

/// Everybody is answered all the time, the file beside it gets everything, and so does the server once it is back.
async fn killed(name: &'static str) {
    let server = Private::start(name).await;
    let receiver = Receiver::new(name, server.port(name), &unique("server"));
    receiver.prepare().await;
    let endpoints = format!("event_broker:\n  - type: file\n    path: events.log\n{}", receiver.section());
    let project = Project::new().file("endpoints.yml", &endpoints);
    let program = Arc::new(Program::start(BINARY, project.directory()).await);

    let (seen, running) = Clients::new(16, &[Way::Events]).start(&program);
    let so_many_more = async |more: u64| {
        let enough = seen.acknowledged() + more;
        until("enough is acknowledged", async || seen.acknowledged() >= enough).await;
    };
    so_many_more(2_000).await;
    if name == "rabbitmq" {
        until("it has published", async || program.settled_below(name).await > 1).await;
        keep_queues(&server).await;
    }
    server.kill().await;
    so_many_more(2_000).await;
    server.start_again().await;
    so_many_more(2_000).await;
    seen.stop();
    let clients = running.await.unwrap();
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);

    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    arrived::assert_same("the lines of the file broker", &file_events(&project.path("events.log")), &bodies);
    let arrived = receiver.arrived().await;
    let duplicates = assert_complete_and_in_order(name, &arrived, &bodies);
    println!("{name} was killed under load: {} events, {} arrived, {duplicates} duplicates", bodies.len(), arrived.len());
    assert!(duplicates == 0 || !receiver.is_exactly_once());
}
