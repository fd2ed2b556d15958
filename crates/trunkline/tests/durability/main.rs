//! Nothing that was acknowledged is lost, doubled or put out of order, whatever dies in between.
//!
//! Everything here runs the real program on real files. Three variables make the tests longer, to be quoted by a person who runs
//! them with `--nocapture`:
//!
//! - `TRUNKLINE_KILLS`: how many times the program is killed under load (8).
//! - `TRUNKLINE_DEAD_SECONDS`: how long a broker is dead under full load; without it, it is dead for 20,000 events.
//! - `TRUNKLINE_SEED`: the seed of what is random, which each run prints.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are to be quoted")]

mod arrived;
mod callback;
mod clients;
mod dead_broker;
mod disk_share;
mod export;
mod failed_sync;
mod fixture;
mod full_disk;
mod kills;
mod nested;
mod real_brokers;
mod receivers;
mod rotation;
mod second_process;
mod seeds;
mod servers;
mod stopping;

use std::time::Duration;

use trunkline_testkit::Program;

const BINARY: &str = env!("CARGO_BIN_EXE_trunkline");

/// What is random in this run.
fn random() -> fastrand::Rng {
    let seed = variable("TRUNKLINE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("TRUNKLINE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let watch = async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while !is_so().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), watch).await.unwrap_or_else(|_| panic!("not so after a minute: {what}"));
}

/// Waits until `/status/ready` answers `status`; gives the last answer.
async fn until_readiness_is(program: &Program, status: u16) -> serde_json::Value {
    let mut last = None;
    until(&format!("readiness is {status}"), async || {
        let answer = program.get("/status/ready").await;
        let is_so = answer.status == status;
        last = Some(answer.json());
        is_so
    })
    .await;
    last.unwrap()
}
