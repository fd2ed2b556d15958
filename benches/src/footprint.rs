//! What the server costs when nothing happens, and how soon it is there.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use tokio::time;

use crate::{
    Bench,
    compare::{fresh, project},
    ingest,
    load::{self, Expect},
    report::{Aim, Figure, Report},
    request::{Template, rest_message, user_event},
    rest,
    server::{Memory, Server},
};

/// Events in each request that fills a journal.
const BATCH: u64 = 500;
/// Clients that send while memory is measured.
const CLIENTS: u16 = 64;
/// How long after it got ready a server counts as idle.
const IDLE: Duration = Duration::from_secs(1);

/// Measures the resident set, idle and under load.
pub(crate) async fn memory(bench: &Bench, report: &mut Report) {
    eprintln!("measuring memory, idle");
    match idle(bench).await {
        Ok(programs) => {
            for (program, samples) in programs {
                let figure = |what: &str, part: fn(&Memory) -> u64, aim| {
                    let samples = samples.iter().map(|memory| mebibytes(part(memory))).collect();
                    Figure::new("memory", format!("{program}{what}"), "MiB", samples, aim)
                };
                report.figures.push(figure("idle, resident", |memory| memory.resident, Some(Aim::AtMost(20.0))));
                report.figures.push(figure("idle, peak since start", |memory| memory.peak, None));
                report.figures.push(figure("idle, not of a file", |memory| memory.anonymous, None));
            }
        }
        Err(error) => report.fail("memory, idle", &error),
    }
    let loads = [
        ("ingest 520 B", Template::post(ingest::PATH, &user_event(ingest::USUAL_SIZE)), Expect::Accepted),
        ("rest", Template::post(rest::PATH, &rest_message()), Expect::Messages),
    ];
    for (load, template, expect) in loads {
        let title = format!("memory, {load}, {CLIENTS} clients");
        eprintln!("measuring {title}");
        match loaded(bench, &template, expect).await {
            Ok(programs) => {
                for (program, peaks, afterwards) in programs {
                    for (what, samples) in [("peak", peaks), ("afterwards", afterwards)] {
                        let what = format!("{program}{load}, {CLIENTS} clients, {what}");
                        report.figures.push(Figure::new("memory", what, "MiB", samples, None));
                    }
                }
            }
            Err(error) => report.fail(&title, &error),
        }
    }
}

/// The memory of each program, in turns.
async fn idle(bench: &Bench) -> anyhow::Result<Vec<(&'static str, Vec<Memory>)>> {
    let programs = bench.programs();
    let mut samples: Vec<_> = programs.iter().map(|(name, _)| (*name, Vec::new())).collect();
    for _ in 0..bench.rounds {
        for ((_, binary), (_, samples)) in programs.iter().zip(&mut samples) {
            let home = fresh(&bench.dir)?;
            let server = Server::trunkline(binary, &project(&home)).await?;
            time::sleep(IDLE).await;
            samples.push(server.memory()?);
            server.stop().await?;
        }
    }
    Ok(samples)
}

/// The peak under load of each program, in turns, and the resident set once the work is done.
async fn loaded(bench: &Bench, template: &Template, expect: Expect) -> anyhow::Result<Vec<(&'static str, Vec<f64>, Vec<f64>)>> {
    let programs = bench.programs();
    let mut samples: Vec<_> = programs.iter().map(|(name, _)| (*name, Vec::new(), Vec::new())).collect();
    for _ in 0..bench.rounds {
        for ((_, binary), (_, peaks, afterwards)) in programs.iter().zip(&mut samples) {
            let home = fresh(&bench.dir)?;
            let server = Server::trunkline(binary, &project(&home)).await?;
            load::run(&server, template, expect, CLIENTS, bench.duration).await?;
            peaks.push(mebibytes(server.memory()?.peak));
            server.settle().await?;
            afterwards.push(mebibytes(server.memory()?.resident));
            server.stop().await?;
        }
    }
    Ok(samples)
}

/// Measures the time from spawn to ready, on an empty and on a filled journal.
pub(crate) async fn start(bench: &Bench, report: &mut Report) {
    eprintln!("measuring start, empty journal");
    if let Err(error) = start_empty(bench, report).await {
        report.fail("start, empty journal", &error);
    }
    let title = format!("start, {} events", bench.events);
    eprintln!("measuring {title}");
    if let Err(error) = start_filled(bench, report).await {
        report.fail(&title, &error);
    }
}

async fn start_empty(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let programs = bench.programs();
    let mut starts: Vec<_> = programs.iter().map(|(name, _)| (*name, Starts::default())).collect();
    for _ in 0..bench.starts {
        for ((_, binary), (_, starts)) in programs.iter().zip(&mut starts) {
            let home = fresh(&bench.dir)?;
            starts.add(binary, &project(&home)).await?.stop().await?;
        }
    }
    for (name, starts) in starts {
        starts.enter(report, &format!("{name}empty journal"), Some(Aim::AtMost(100.0)));
    }
    Ok(())
}

async fn start_filled(bench: &Bench, report: &mut Report) -> anyhow::Result<()> {
    let batches = bench.events.div_ceil(BATCH);
    let mut filled = Vec::new();
    for (name, binary) in bench.programs() {
        let home = fresh(&bench.dir)?;
        let project = project(&home);
        let what = format!("{name}{} events", batches * BATCH);
        let rate = (batches * BATCH) as f64 / fill(binary, &project, batches).await?;
        report.figures.push(Figure::new("start", format!("{what}, filled in batches of {BATCH}"), "events/s", vec![rate], None));
        filled.push((what, binary, home, project, Starts::default(), None));
    }
    for nth in 1..=bench.starts {
        for (_, binary, _, project, starts, idle) in &mut filled {
            let server = starts.add(binary, project).await?;
            if nth == bench.starts {
                time::sleep(IDLE).await;
                *idle = Some(mebibytes(server.memory()?.resident));
            }
            server.stop().await?;
        }
    }
    for (what, _, _, _, starts, idle) in filled {
        starts.enter(report, &what, None);
        report.figures.push(Figure::new("start", format!("{what}, idle, resident"), "MiB", Vec::from_iter(idle), None));
    }
    Ok(())
}

/// Fills a journal through the front door, and says in how many seconds.
async fn fill(binary: &Path, project: &Path, batches: u64) -> anyhow::Result<f64> {
    let event = user_event(ingest::USUAL_SIZE);
    let batch = format!("[{}]", vec![event; usize::try_from(BATCH)?].join(","));
    let server = Server::trunkline(binary, project).await?;
    let begin = Instant::now();
    load::fill(server.address, &Template::post(ingest::PATH, &batch), batches).await?;
    let seconds = begin.elapsed().as_secs_f64();
    server.settle().await?;
    server.stop().await?;
    Ok(seconds)
}

/// Milliseconds of several starts.
#[derive(Debug, Default)]
struct Starts {
    announced: Vec<f64>,
    ready: Vec<f64>,
}

impl Starts {
    async fn add(&mut self, binary: &Path, project: &Path) -> anyhow::Result<Server> {
        let server = Server::trunkline(binary, project).await?;
        self.announced.push(server.announced.as_secs_f64() * 1e3);
        self.ready.push(server.ready.as_secs_f64() * 1e3);
        Ok(server)
    }

    fn enter(self, report: &mut Report, what: &str, aim: Option<Aim>) {
        report.figures.push(Figure::new("start", format!("{what}, to the line with the address"), "ms", self.announced, None));
        report.figures.push(Figure::new("start", format!("{what}, to 200 from /status/ready"), "ms", self.ready, aim));
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1_024.0
}
