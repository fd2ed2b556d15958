//! `kill -9` under load.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use trunkline_testkit::{Program, Project, file_events, sql_events};

use super::arrived::{self, Difference};
use super::clients::{ALL_WAYS, Clients};
use super::{BINARY, random, until, variable};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_survives_kills_under_load_and_arrives_once_and_in_order() {
    let (rounds, mut random) = (variable("TRUNKLINE_KILLS").unwrap_or(8), random());
    let project = Project::with_brokers();
    let mut clients = Clients::new(32, ALL_WAYS);
    let mut unanswered = 0;
    for _ in 0..rounds {
        let program = Arc::new(Program::start(BINARY, project.directory()).await);
        let (seen, running) = clients.start(&program);
        if random.u8(..4) == 0 {
            // Also while it starts, and while it delivers what was left.
            tokio::time::sleep(Duration::from_millis(random.u64(..50))).await;
        } else {
            let enough = random.u64(1..500);
            until("enough is acknowledged", async || seen.acknowledged() >= enough).await;
        }
        program.signal(Signal::KILL);
        clients = running.await.unwrap();
        unanswered += clients.all.iter().filter(|client| client.pending.is_some()).count();
        Arc::into_inner(program).unwrap().ended().await;
    }
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    program.settled().await;
    let exit = Arc::into_inner(program).unwrap().stop().await;
    arrived::assert_ended_well(&exit);

    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    let (lines, rows) = (file_events(&project.path("events.log")), sql_events(&project.path("events.db")));
    let (file, sql) = (Difference::of(&lines, &bodies), Difference::of(&rows, &bodies));
    println!(
        "{rounds} kills -9 under load of 32 clients: {} requests acknowledged ({unanswered} of them only when they were \
         repeated after a kill), {} events in the journal; SQL: {} rows, {} missing, {} duplicates; file: {} lines, {} missing, \
         {} duplicates",
        clients.acknowledged(),
        bodies.len(),
        rows.len(),
        sql.missing,
        sql.duplicates,
        lines.len(),
        file.missing,
        file.duplicates
    );
    arrived::assert_same("the rows of the SQL broker", &rows, &bodies);
    arrived::assert_same("the lines of the file broker", &lines, &bodies);
}
