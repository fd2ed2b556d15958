//! One broker is dead, and nobody notices but those who read it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;
use trunkline_testkit::{Program, Project};

use super::clients::{Clients, Seen, Way};
use super::{BINARY, arrived, until, variable};

/// The most that the program may have held in memory at any time.
const MOST_MEMORY: u64 = 200 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_sql_database_holds_up_nobody_and_gets_everything_afterwards() {
    one_is_dead("sql", "file", 20_000, |project| {
        let lock = Locked::new(&project.path("sql/events.db"));
        move || drop(lock)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_moved_away_holds_up_nobody_and_its_file_gets_everything_afterwards() {
    one_is_dead("file", "sql", 5_000, |project| {
        let (place, away) = (project.path("file"), project.path("away"));
        std::fs::rename(&place, &away).unwrap();
        move || std::fs::rename(away, place).unwrap()
    })
    .await;
}

/// A new broker gets what is recorded from its configuration on, and not from when it could first be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_dead_from_the_first_start_on_gets_everything_once_it_lives() {
    let project = Project::with_brokers();
    let lock = Locked::new(&project.path("events.db"));
    let mut clients = Clients::new(8, &[Way::Message, Way::Events]);
    for _ in 0..2 {
        let program = Arc::new(Program::start(BINARY, project.directory()).await);
        clients = clients.finish(&program).await;
        program.signal(Signal::KILL);
        Arc::into_inner(program).unwrap().ended().await;
    }
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = clients.finish(&program).await;
    drop(lock);
    program.settled().await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);
    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    arrived::assert_brokers_have(&bodies, &project.path("events.log"), &project.path("events.db"));
}

/// `dead` dies under load, for some seconds when they are given, or else for so many requests.
async fn one_is_dead<R: FnOnce()>(dead: &str, live: &str, requests: u64, die: impl FnOnce(&Project) -> R) {
    let project = Project::new().file(
        "endpoints.yml",
        "event_broker:\n  - type: file\n    path: file/events.log\n  - type: sql\n    db: sql/events.db\n",
    );
    for name in ["file", "sql"] {
        std::fs::create_dir(project.path(name)).unwrap();
    }
    let seconds = variable("TRUNKLINE_DEAD_SECONDS").map(Duration::from_secs);
    let program = Arc::new(Program::start(BINARY, project.directory()).await);
    let clients = Clients::new(32, &[Way::Events]).finish(&program).await;
    program.settled().await;
    let (seen, running) = clients.start(&program);
    let watch = Watch { program: &program, seen: &seen, dead, live, began: Instant::now() };

    if let Some(seconds) = seconds {
        watch.sample("both alive", seconds / 2, u64::MAX).await;
    }
    let revive = die(&project);
    let owed_from = program.head().await;
    let enough = if seconds.is_some() { u64::MAX } else { seen.acknowledged() + requests };
    watch.sample(&format!("{dead} dead"), seconds.unwrap_or(Duration::MAX), enough).await;
    seen.stop();
    let clients = running.await.unwrap();

    // Every request was acknowledged, and the live broker gets everything while the other one is still dead.
    assert!(clients.all.iter().all(|client| client.pending.is_none()));
    program.settled_by(live).await;
    let settled_below = |ready: serde_json::Value| {
        let subscriptions = ready["subscriptions"].as_array().unwrap().clone();
        let dead = subscriptions.into_iter().find(|one| one["name"] == dead).unwrap();
        assert!(dead["problem"].is_string(), "{dead}");
        dead["settled_below"].as_u64().unwrap()
    };
    let ready = program.get("/status/ready").await;
    assert_eq!(ready.status, 200, "a broker that is dead is no reason to send nobody here");
    assert!(settled_below(ready.json()) <= owed_from + 2_000, "the dead broker is dead");
    watch.sample("no load", Duration::ZERO, 0).await;
    let memory = program.memory("VmHWM");
    assert!(memory < MOST_MEMORY, "{memory} bytes of memory");

    let revived = Instant::now();
    revive();
    program.settled().await;
    let caught_up = revived.elapsed();
    watch.sample("both alive, caught up", Duration::ZERO, 0).await;
    arrived::assert_ended_well(&Arc::into_inner(program).unwrap().stop().await);
    let bodies = arrived::assert_journal_has(&project.path(".trunkline"), &clients);
    println!(
        "{dead} was dead: {} requests acknowledged, {} events in the journal, most memory {:.1} MiB, {dead} had everything {:.1} s \
         after it was back",
        clients.acknowledged(),
        bodies.len(),
        mib(memory),
        caught_up.as_secs_f64()
    );
    arrived::assert_brokers_have(&bodies, &project.path("file/events.log"), &project.path("sql/events.db"));
}

/// What a person would watch meanwhile.
struct Watch<'a> {
    program: &'a Program,
    seen: &'a Seen,
    dead: &'a str,
    live: &'a str,
    began: Instant,
}

impl Watch<'_> {
    /// Prints a line every second, until the time is over or so many requests are acknowledged.
    async fn sample(&self, phase: &str, time: Duration, acknowledged: u64) {
        let (started, first) = (Instant::now(), self.seen.acknowledged());
        let first_delivered = self.delivered().await;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.tick().await;
        loop {
            self.line(phase).await;
            let is_enough = async { until("enough is acknowledged", async || self.seen.acknowledged() >= acknowledged).await };
            let time_is_over = async {
                match started.checked_add(time) {
                    Some(end) => tokio::time::sleep_until(end.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = is_enough => break,
                () = time_is_over => break,
                _ = tick.tick() => {}
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        if seconds > 1.0 {
            println!(
                "{phase}, on average: {:.0} requests/s acknowledged, {:.0} events/s delivered by {}",
                (self.seen.acknowledged() - first) as f64 / seconds,
                (self.delivered().await - first_delivered) as f64 / seconds,
                self.live
            );
        }
    }

    async fn delivered(&self) -> u64 {
        let name = format!("trunkline_subscription_delivered_events_total{{subscription=\"{}\"}}", self.live);
        self.program.metric(&name).await.unwrap()
    }

    async fn line(&self, phase: &str) {
        let lag = async |name: &str| {
            let name = format!("trunkline_subscription_lag_events{{subscription=\"{name}\"}}");
            self.program.metric(&name).await.unwrap()
        };
        println!(
            "{:6.1} s  {phase}: {} acknowledged; {}: {} delivered, lag {}; {}: lag {}; VmRSS {:.1} MiB, of which no file {:.1}",
            self.began.elapsed().as_secs_f64(),
            self.seen.acknowledged(),
            self.live,
            self.delivered().await,
            lag(self.live).await,
            self.dead,
            lag(self.dead).await,
            mib(self.program.memory("VmRSS")),
            mib(self.program.memory("RssAnon")),
        );
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A SQLite database that nobody else can write to as long as this lives.
#[derive(Debug)]
pub(crate) struct Locked(#[expect(dead_code, reason = "the lock lasts as long as the connection is open")] Connection);

impl Locked {
    pub(crate) fn new(path: &Path) -> Self {
        let connection = Connection::open(path).unwrap();
        connection.busy_timeout(Duration::from_secs(30)).unwrap();
        connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
        Self(connection)
    }
}
