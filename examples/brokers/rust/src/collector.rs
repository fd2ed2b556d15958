//! Broker `collector`: one JSON line per event over TCP, to a program that answers each with the line `ok`.
//!
//! `Delivered` means that the collector said `ok`. An event comes again when the connection broke before it did; the collector
//! recognises it by the id that stands before the event.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;
use tokio::time::timeout;
use trunkline::broker::{Batch, Broker, Outcome, Section, TimeUnit, UnknownKeys, async_trait};

/// Builds the broker from its section of `endpoints.yml`. It connects to nobody: `trunkline check` runs this on a laptop.
pub(crate) fn from_section(section: &Section<'_>, _project: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    // Every key is read before the first `?`, so that all problems are found in one run.
    let host = section.required_string("url");
    let port = section.port("port").unwrap_or(9_000);
    let patience = section.duration("timeout", TimeUnit::Seconds).unwrap_or(Duration::from_secs(5));
    Some(Arc::new(Collector { address: (host?, port), patience, connection: Mutex::new(None) }))
}

/// Publishes to a collector of lines.
pub(crate) struct Collector {
    address: (String, u16),
    /// The longest that anything may take.
    patience: Duration,
    /// Made by the first call that needs it, and again after it broke.
    connection: Mutex<Option<Connection>>,
}

struct Connection {
    lines: OwnedWriteHalf,
    answers: BufReader<OwnedReadHalf>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Collector {
    async fn connect(&self) -> Result<Connection, String> {
        let stream = self.within(TcpStream::connect((self.address.0.as_str(), self.address.1))).await?;
        let (answers, lines) = stream.into_split();
        Ok(Connection { lines, answers: BufReader::new(answers) })
    }

    /// Waits for the collector, but not for ever; the error is a sentence for a person at night.
    async fn within<T>(&self, work: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
        let (host, port) = &self.address;
        match timeout(self.patience, work).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(format!("collector at {host}:{port}: {error}")),
            Err(_) => Err(format!("collector at {host}:{port} did not answer within {} s", self.patience.as_secs_f32())),
        }
    }

    /// Sends a batch and counts into `delivered` what the collector has said `ok` to.
    async fn send(&self, connection: &mut Connection, batch: &Batch, delivered: &mut usize) -> Result<(), String> {
        let mut lines = Vec::new();
        for event in &batch.events {
            // The body goes out as it is; it is one line of JSON.
            lines.extend_from_slice(format!("{} ", event.id).as_bytes());
            lines.extend_from_slice(&event.body);
            lines.push(b'\n');
        }
        let read = async {
            let mut answer = String::new();
            while *delivered < batch.events.len() {
                answer.clear();
                self.within(connection.answers.read_line(&mut answer)).await?;
                match answer.trim_end() {
                    "ok" => *delivered += 1,
                    "" => return Err("the collector closed the connection".to_owned()),
                    other => return Err(format!("the collector answered `{other}` in place of `ok`")),
                }
            }
            Ok(())
        };
        // Both at once, or the two sides could wait for each other with full buffers.
        let (written, read) = tokio::join!(self.within(connection.lines.write_all(&lines)), read);
        read.and(written)
    }
}

#[async_trait]
impl Broker for Collector {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let mut kept = self.connection.lock().await;
        // Taken out: a call that is given up half way leaves no half line behind.
        let connection = match kept.take() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(reason) => return Outcome::retry(reason).all(batch.events.len()),
        };
        let mut delivered = 0;
        let result = self.send(&mut connection, batch, &mut delivered).await;
        // The collector answers in order, so what was delivered is the beginning of the batch, and nothing overtakes anything.
        let mut outcomes = Outcome::Delivered.all(delivered);
        match result {
            Ok(()) => *kept = Some(connection),
            Err(reason) => outcomes.resize(batch.events.len(), Outcome::retry(reason)),
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        let mut kept = self.connection.lock().await;
        if kept.is_none() {
            *kept = Some(self.connect().await?);
        }
        Ok(())
    }

    async fn close(&self) {
        if let Some(mut connection) = self.connection.lock().await.take() {
            let _ = self.within(connection.lines.shutdown()).await;
        }
    }
}
