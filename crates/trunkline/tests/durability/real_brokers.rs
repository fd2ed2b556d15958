//! Brokers on real servers, all at once, while the program is killed again and again.

use std::sync::Arc;

use rustix::process::Signal;
use trunkline_testkit::{Program, Project, services};

use super::clients::{ALL_WAYS, Clients};
use super::receivers::{Receiver, assert_complete_and_in_order, unique};
use super::{BINARY, arrived, random, until, variable};

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_at_any_broker_and_put_nothing_out_of_order() {
    let (rounds, mut random) = (variable("TRUNKLINE_KILLS").unwrap_or(4), random());
    let mut names = vec!["rabbitmq", "postgresql", "mariadb", "redis"];
    if cfg!(feature = "kafka") {
        names.push("kafka");
    }
    let receivers: Vec<_> = names.into_iter().map(|name| Receiver::new(name, services::port(name), &unique("kills"))).collect();
    for receiver in &receivers {
        receiver.prepare().await;
    }
    let sections: String = receivers.iter().map(Receiver::section).collect();
    let project = Project::new().file("endpoints.yml", &format!("event_broker:\n{sections}"));
    let mut clients = Clients::new(32, ALL_WAYS);
    for _ in 0..rounds {
        let program = Arc::new(Program::start(BINARY, project.directory()).await);
        let (seen, running) = clients.start(&program);
        let enough = random.u64(1..500);
        until("enough is acknowledged", async || seen.acknowledged() >= enough).await;
        program.signal(Signal::KILL);
        clients = running.await.unwrap();
        Arc::into_inner(program).unwrap().ended().await;
    }
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);

    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    println!("{rounds} kills -9 under load of 32 clients: {} events in the journal", bodies.len());
    for receiver in &receivers {
        let arrived = receiver.arrived().await;
        let duplicates = assert_complete_and_in_order(receiver.name, &arrived, &bodies);
        println!(
            "  {}: {} arrived, 0 missing, {duplicates} duplicates, all with the id of the first",
            receiver.name,
            arrived.len()
        );
        assert!(duplicates == 0 || !receiver.is_exactly_once(), "{}: {duplicates} duplicates", receiver.name);
    }
}
