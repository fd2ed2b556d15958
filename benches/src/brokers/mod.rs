//! Publishing to each broker: the journal, the delivery and the adapter together, against the bare client library with the same
//! events, the same batches and the same confirms, in turns.
//!
//! The servers are those of `scripts/services start`.

mod bare;
mod ours;
mod rasa;

use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::{
    Bench,
    compare::fresh,
    report::{Aim, Figure, Report},
};

/// Events in one call of a client, and in a batch of ours.
const BATCH: usize = 512;
/// Conversations that events go round.
const CONVERSATIONS: usize = 1_000;
/// Events of a conversation that come one after the other: those of a turn.
const TURN: usize = 9;

/// Something to publish to.
#[derive(Debug, Clone, Copy)]
struct Receiver {
    name: &'static str,
    /// The section of `endpoints.yml`. `PORT` and `PLACE` stand for what is not the same each time.
    section: &'static str,
    /// How far its port lies from the base.
    port: u16,
    bare: bare::Connect,
    /// What our rate divided by the client's should be.
    aim: f64,
    /// The variable parts of Rasa's own section, when it has such a broker.
    rasa: Option<&'static str>,
}

const RECEIVERS: &[Receiver] = &[
    Receiver {
        name: "rabbitmq",
        section: "type: pika, url: 127.0.0.1, port: PORT, username: trunkline, password: \"a secret/50%\", queues: [PLACE], exchange_name: PLACE",
        port: 1,
        bare: bare::rabbitmq,
        aim: 0.9,
        rasa: Some("pika"),
    },
    #[cfg(feature = "kafka")]
    Receiver {
        name: "kafka",
        section: "type: kafka, url: \"127.0.0.1:PORT\", security_protocol: PLAINTEXT, topic: PLACE, partition_by_sender: true",
        port: 50,
        bare: bare::kafka,
        aim: 0.8,
        rasa: Some("kafka"),
    },
    Receiver {
        name: "postgresql",
        section: "type: sql, dialect: postgresql, url: 127.0.0.1, port: PORT, db: PLACE, username: trunkline, password: \"a secret/50%\"",
        port: 10,
        bare: bare::postgresql,
        aim: 0.8,
        rasa: Some("postgresql"),
    },
    Receiver {
        name: "redis",
        section: "type: redis, url: \"redis://127.0.0.1:PORT\", key: PLACE",
        port: 30,
        bare: bare::redis,
        aim: 0.8,
        rasa: None,
    },
    Receiver { name: "sqlite", section: "type: sql, db: PLACE.db", port: 0, bare: bare::sqlite, aim: 0.8, rasa: Some("sqlite") },
    Receiver { name: "file", section: "type: file, path: PLACE.log", port: 0, bare: bare::file, aim: 0.8, rasa: Some("file") },
];

/// Where a receiver is for one measurement.
#[derive(Debug, Clone)]
struct Place {
    port: u16,
    /// A queue, topic, database, key or file of its own.
    name: String,
    /// The directory of the project.
    directory: std::path::PathBuf,
}

/// What the receivers are called.
pub(crate) fn names() -> clap::builder::PossibleValuesParser {
    RECEIVERS.iter().map(|receiver| receiver.name).collect::<Vec<_>>().into()
}

/// Measures every receiver that is asked for.
pub(crate) async fn measure(bench: &Bench, report: &mut Report) {
    let journals = match ours::Journals::fill(bench).await {
        Ok(journals) => journals,
        Err(error) => return report.fail("brokers", &error),
    };
    let asked = |receiver: &&Receiver| bench.receivers.is_empty() || bench.receivers.iter().any(|name| name == receiver.name);
    for receiver in RECEIVERS.iter().filter(asked) {
        eprintln!("measuring publishing to {}", receiver.name);
        if let Err(error) = receiver.measure(bench, &journals, report).await {
            report.fail(&format!("brokers, {}", receiver.name), &error);
        }
    }
}

impl Receiver {
    async fn measure(&self, bench: &Bench, journals: &ours::Journals, report: &mut Report) -> anyhow::Result<()> {
        let [mut ours, mut bare, mut alone, mut unordered, mut rasa] = [const { Vec::new() }; 5];
        for _ in 0..bench.rounds {
            let home = fresh(&bench.dir)?;
            bare.push(bare::rate(self.bare, &self.place(&home).await?, bench.duration).await?);
            ours.push(ours::rate(self, &self.place(&home).await?, &journals.thousand, bench.duration).await?);
            alone.push(ours::alone(self, &self.place(&home).await?, &journals.thousand, bench.duration).await?);
            unordered.push(ours::rate(self, &self.place(&home).await?, &journals.each_its_own, bench.duration).await?);
            if let (Some(python), Some(kind)) = (&bench.rasa, self.rasa) {
                rasa.push(rasa::rate(python, kind, &self.place(&home).await?, bench.duration).await?);
            }
        }
        let ratios = |numerators: &[f64], denominators: &[f64]| -> Vec<f64> {
            numerators.iter().zip(denominators).map(|(numerator, denominator)| numerator / denominator).collect()
        };
        let mut enter = |what: &str, unit, samples: Vec<f64>, aim: Option<f64>| {
            if !samples.is_empty() {
                let title = format!("{}, {what}", self.name);
                report.figures.push(Figure::new("brokers", title, unit, samples, aim.map(Aim::AtLeast)));
            }
        };
        enter("ours against the bare client", "ratio", ratios(&ours, &bare), Some(self.aim));
        enter("our adapter alone against the bare client", "ratio", ratios(&alone, &bare), None);
        enter("1,000 conversations against one for each event", "ratio", ratios(&ours, &unordered), Some(0.8));
        enter("ours against Rasa's", "ratio", ratios(&ours, &rasa), Some(20.0));
        enter("ours", "events/s", ours, None);
        enter("the bare client", "events/s", bare, None);
        enter("Rasa's own", "events/s", rasa, None);
        Ok(())
    }

    /// A new queue, topic, database, key or file.
    async fn place(&self, home: &TempDir) -> anyhow::Result<Place> {
        let base = std::env::var("TRUNKLINE_SERVICES_PORTS").ok().map_or(Ok(25_000), |base| base.parse::<u16>())?;
        let name = format!("trunkline_bench_{}", unique(home.path()));
        let place = Place { port: base + self.port, name, directory: home.path().to_owned() };
        if self.name == "postgresql" {
            bare::create_database(&place)
                .await
                .context("failed to make a database; start the servers with `scripts/services start`")?;
        }
        Ok(place)
    }
}

/// The directory is new, so a count within it is enough.
fn unique(directory: &Path) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let home = directory.file_name().unwrap_or_default().to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "");
    format!("{}_{}", home.to_lowercase(), COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
