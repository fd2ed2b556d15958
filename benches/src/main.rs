//! Measures a running Trunkline from outside and prints what it found.
//!
//! Nearly everything here goes through the program's own door: processes, HTTP and `/proc`; only [`journal`] and [`brokers`] use its
//! crates, with the allocator and the kind of runtime that the program has. A speed is quoted as a ratio against an anchor that runs
//! in turn with it; see `README.md` beside this crate for how to read the tables.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tables on stdout and progress on stderr are the job here")]

mod brokers;
mod callback;
mod compare;
mod constant;
mod footprint;
mod histogram;
mod ingest;
mod journal;
mod load;
mod machine;
mod report;
mod request;
mod rest;
mod server;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::{machine::Machine, report::Report};

/// Measures Trunkline: durable ingest, REST messages, journal, memory and start.
#[derive(Debug, Parser)]
#[command(name = "trunkline-bench", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,

    /// What to measure; everything when left out
    #[arg(value_enum)]
    groups: Vec<Group>,

    /// Seconds that each measurement counts, after half a second of warm-up
    #[arg(long, value_name = "N", default_value = "3", value_parser = seconds)]
    seconds: Duration,

    /// How often each pair of anchor and Trunkline is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How many clients send at once, one measurement for each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,16,64,256", value_parser = clap::value_parser!(u16).range(1..))]
    clients: Vec<u16>,

    /// Starts measured for each median
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,

    /// Events in the journal that is replayed, and in that of the second start measurement
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,

    /// Where journals are written; must be on a disk, not in memory
    #[arg(long, value_name = "PATH", default_value = "target/bench")]
    dir: PathBuf,

    /// Where the results are written as JSON
    #[arg(long, value_name = "PATH", default_value = "target/bench.json")]
    json: PathBuf,

    /// Which brokers to publish to; every one when left out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = brokers::names())]
    receivers: Vec<String>,

    /// A Python interpreter that has Rasa 3.6.21, to measure its own brokers beside ours
    #[arg(long, value_name = "PYTHON")]
    rasa: Option<PathBuf>,

    /// The program to measure; by default it is built, or found beside this one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,

    /// Another program of the same kind, measured in turn with it: in place of the constant server, and beside it where there is none
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
}

/// What this process is, when it is not the harness itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// Answers every POST with a constant: the anchor, started by the harness
    // It answers to Trunkline's command line too, so that the harness can measure the anchor against itself.
    #[command(alias = "serve")]
    ConstantServer {
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        ignored: Vec<String>,
    },
}

/// One set of measurements that can be asked for on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Durable ingest over HTTP against the constant server
    Ingest,
    /// REST messages with their answers
    Rest,
    /// Replies that are posted to a URL, against replies that are waited for
    Callback,
    /// Appending in one process against writing and syncing a bare file
    Append,
    /// Replay of a filled journal to a broker that does nothing
    Replay,
    /// Resident set, idle and under load
    Memory,
    /// Time from spawn to ready, on an empty and on a filled journal
    Start,
    /// Publishing to each broker against its bare client library; needs `scripts/services start`
    Brokers,
}

/// What every measurement needs to know.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The program under test.
    pub(crate) binary: PathBuf,
    /// Another program to compare it with, in place of the constant server.
    pub(crate) baseline: Option<PathBuf>,
    /// Where fresh project directories are made.
    pub(crate) dir: PathBuf,
    /// How long a measurement counts.
    pub(crate) duration: Duration,
    /// How often a measurement is repeated.
    pub(crate) rounds: u32,
    /// Numbers of clients to measure with.
    pub(crate) clients: Vec<u16>,
    /// How many starts make a median.
    pub(crate) starts: u32,
    /// Events in the filled journal.
    pub(crate) events: u64,
    /// The brokers to publish to; all when there is none.
    pub(crate) receivers: Vec<String>,
    /// A Python that has Rasa's brokers.
    pub(crate) rasa: Option<PathBuf>,
}

/// What the program has, so that both sides of a comparison have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        // The anchor has the runtime that the server under test has: a worker for each core.
        Some(Role::ConstantServer { .. }) => {
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(constant::serve())
        }
        None => harness(arguments),
    }
}

fn harness(arguments: Arguments) -> anyhow::Result<()> {
    let bench = Bench {
        binary: server::locate(arguments.binary)?,
        baseline: arguments.baseline.map(std::path::absolute).transpose()?,
        dir: arguments.dir,
        duration: arguments.seconds,
        rounds: arguments.rounds,
        clients: arguments.clients,
        starts: arguments.starts,
        events: arguments.events,
        receivers: arguments.receivers,
        // It runs in another directory.
        rasa: arguments.rasa.map(std::path::absolute).transpose()?,
    };
    std::fs::create_dir_all(&bench.dir).with_context(|| format!("failed to create {}", bench.dir.display()))?;
    let mut report = Report::new(Machine::look(&bench)?, &bench);

    let groups = Group::value_variants().iter().copied();
    let groups = groups.filter(|group| arguments.groups.is_empty() || arguments.groups.contains(group));
    let (inside, outside): (Vec<_>, Vec<_>) = groups.partition(|group| group.is_in_this_process());
    // The load shares the cores with the server, so it gets one thread and no work stealing.
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&bench, &outside, &mut report))?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure(&bench, &inside, &mut report))?;

    print!("{report}");
    report.save(&arguments.json)?;
    println!("\nwritten to {}", arguments.json.display());
    match report.failures.len() {
        0 => Ok(()),
        failures => bail!("{failures} measurements could not be made"),
    }
}

async fn interrupted() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

/// Measures some groups. An interrupted run must not leave servers and gigabytes of journal behind: leaving drops, and so ends, both.
async fn measure(bench: &Bench, groups: &[Group], report: &mut Report) -> anyhow::Result<()> {
    tokio::select! {
        () = each(bench, groups, report) => Ok(()),
        result = interrupted() => {
            result?;
            bail!("interrupted");
        }
    }
}

async fn each(bench: &Bench, groups: &[Group], report: &mut Report) {
    for group in groups {
        match group {
            Group::Ingest => ingest::measure(bench, report).await,
            Group::Rest => rest::measure(bench, report).await,
            Group::Callback => callback::measure(bench, report).await,
            Group::Append => journal::append(bench, report).await,
            Group::Replay => journal::replay(bench, report).await,
            Group::Memory => footprint::memory(bench, report).await,
            Group::Start => footprint::start(bench, report).await,
            Group::Brokers => brokers::measure(bench, report).await,
        }
    }
}

impl Bench {
    /// The programs to measure in turn, each with what to put before its name in a table.
    pub(crate) fn programs(&self) -> Vec<(&'static str, &Path)> {
        let baseline = self.baseline.as_deref().map(|path| ("baseline: ", path));
        baseline.into_iter().chain([("", self.binary.as_path())]).collect()
    }
}

impl Group {
    /// Whether journal and delivery run inside the harness, and not in a process of their own.
    fn is_in_this_process(self) -> bool {
        matches!(self, Self::Append | Self::Replay | Self::Brokers)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn groups_and_the_anchor_share_one_command_line() {
        let arguments = Arguments::parse_from(["trunkline-bench", "ingest", "start", "--seconds", "0.5"]);
        assert_eq!(arguments.groups, [Group::Ingest, Group::Start]);
        assert_eq!(arguments.seconds, Duration::from_millis(500));
        for anchor in [&["constant-server"][..], &["serve", "pizzeria", "--port", "0", "--enable-api"]] {
            let arguments = Arguments::parse_from([&["trunkline-bench"], anchor].concat());
            assert!(matches!(arguments.role, Some(Role::ConstantServer { .. })));
        }
    }
}
