//! The journal and the delivery inside one process, without HTTP: appending against the bare disk, and replaying to a broker
//! that does nothing.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::Notify;
use trunkline_core::{Batch, Broker, NewEvent, Outcome};
use trunkline_delivery::{Filter, Metrics, Shutdown, Subscription};
use trunkline_journal::{Append, Journal, Options};

use crate::{
    Bench,
    compare::fresh,
    ingest,
    report::{Figure, Report},
    request::user_event,
};

/// Events in one append.
const BATCHES: [usize; 4] = [1, 16, 128, 1024];
/// Events in each append that fills a journal.
const FILL: usize = 1_000;

/// Appends one batch after another, in turn with a file that gets the same bytes and is synced as often.
pub(crate) async fn append(bench: &Bench, report: &mut Report) {
    for batch in BATCHES {
        eprintln!("measuring append, batches of {batch}");
        let (mut ours, mut raw, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds {
            match appended(bench, batch).await {
                Ok((file, journal)) => {
                    raw.push(file);
                    ours.push(journal);
                    ratios.push(journal / file);
                }
                Err(error) => report.fail(&format!("append, batches of {batch}"), &error),
            }
        }
        let title = |what: &str| format!("append, batches of {batch}, {what}");
        for (what, unit, samples) in [
            ("journal", "events/s", ours),
            ("write and fdatasync", "events/s", raw),
            ("journal against the file", "ratio", ratios),
        ] {
            report.figures.push(Figure::new("append", title(what), unit, samples, None));
        }
    }
}

/// Events a second into a bare file, and into a journal.
async fn appended(bench: &Bench, batch: usize) -> anyhow::Result<(f64, f64)> {
    let home = fresh(&bench.dir)?;
    let bytes = vec![b'x'; user_event(ingest::USUAL_SIZE).len() * batch];
    let mut file = File::create(home.path().join("raw"))?;
    let raw = rate(bench.duration, batch, async || {
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    })
    .await?;
    let (journal, appender) = Journal::open(&home.path().join("journal"), Options::default())?;
    let events = vec![event(0)?; batch];
    let ours = rate(bench.duration, batch, async || {
        appender.append(Append::new(events.clone())).await?;
        Ok(())
    })
    .await?;
    journal.close().await;
    Ok((raw, ours))
}

/// How many events a second go through `step`, `batch` at a time.
async fn rate(duration: Duration, batch: usize, mut step: impl AsyncFnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let (started, mut steps) = (Instant::now(), 0_u32);
    while started.elapsed() < duration {
        step().await?;
        steps += 1;
    }
    Ok(f64::from(steps) * batch as f64 / started.elapsed().as_secs_f64())
}

/// Replays a filled journal, from the disk, to a broker that does nothing.
pub(crate) async fn replay(bench: &Bench, report: &mut Report) {
    eprintln!("measuring replay of {} events", bench.events);
    match replayed(bench).await {
        Ok(samples) => {
            let title = format!("replay of {} events to a broker that does nothing", bench.events);
            report.figures.push(Figure::new("replay", title, "events/s", samples, None));
        }
        Err(error) => report.fail("replay", &error),
    }
}

async fn replayed(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let home = fresh(&bench.dir)?;
    fill(home.path(), bench.events).await?;
    let mut samples = Vec::new();
    for round in 0..bench.rounds {
        let (journal, _appender) = Journal::open(home.path(), Options::default())?;
        let broker = Arc::new(Null { wanted: journal.head(), seen: AtomicU64::new(0), done: Notify::new() });
        let (started, shutdown) = (Instant::now(), Shutdown::default());
        let subscription = Subscription::new(format!("round-{round}"), Filter::published());
        let receiver = Arc::new(Arc::clone(&broker));
        let delivery = trunkline_delivery::start(&journal, subscription, receiver, &Metrics::default(), shutdown.clone());
        broker.done.notified().await;
        samples.push(broker.wanted as f64 / started.elapsed().as_secs_f64());
        shutdown.drain.cancel();
        delivery.ended().await;
        journal.close().await;
    }
    Ok(samples)
}

async fn fill(directory: &Path, events: u64) -> anyhow::Result<()> {
    let (journal, appender) = Journal::open(directory, Options::default())?;
    let mut number = 0;
    while journal.head() < events {
        let batch = (number..number + FILL).map(|number| event(number).map(Append::one)).collect::<Result<_, _>>()?;
        number += FILL;
        for appended in appender.append_all(batch).await {
            appended?;
        }
    }
    journal.close().await;
    Ok(())
}

/// An event of the usual size, in one of 1,000 conversations.
fn event(number: usize) -> anyhow::Result<NewEvent> {
    Ok(NewEvent::parse(user_event(ingest::USUAL_SIZE).as_ref(), Some(&format!("s{}", number % 1_000)), 1.0)?)
}

/// A broker that does nothing but count.
#[derive(Debug)]
struct Null {
    wanted: u64,
    seen: AtomicU64,
    done: Notify,
}

#[async_trait]
impl Broker for Null {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let count = batch.events.len() as u64;
        if self.seen.fetch_add(count, Ordering::Relaxed) + count >= self.wanted {
            self.done.notify_one();
        }
        Outcome::Delivered.all(batch.events.len())
    }

    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}
