//! `trunkline consume`: what a broker gives, in the terminal.

mod address;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use trunkline_config::Diagnostics;
use trunkline_core::json::{self, Layout};
use trunkline_core::{Clock, Event, JournalId, NewEvent, Received, Source, Timestamp};
use trunkline_delivery::Backoff;
use trunkline_gateway::{Adapters, Overrides, Project, there_is_no};

use super::JournalArgs;
use super::format::{count, event_line, stranger_line};
use super::output::{self, Failure, Outcome};
use super::serve::either;
use address::PlaceArgs;

/// Follow a broker: print the events that it gives.
///
/// What was printed is settled: a queue does not give it again. With --broker or --source a section of the project is read in place
/// of an address. Ends with Ctrl-C, and when the source has an end.
#[derive(Args, Debug)]
pub(super) struct Consume {
    #[command(flatten)]
    journal: JournalArgs,
    /// Where to read: `amqp://host/vhost` or `amqps://…`, `kafka://host:9092,host:9092`, `redis://host:6379` or `rediss://…`, the URL
    /// of a database beginning with `postgresql://`, `mysql://`, `mariadb://` or `sqlite://`, or the path of a file.
    #[arg(value_name = "ADDRESS", required_unless_present_any = ["broker", "source"])]
    address: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Read where this broker of endpoints.yml publishes.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["address", "source", "queue", "topic", "key", "table", "options"])]
    broker: Option<String>,
    /// Read this source of trunkline.yml. Stop the gateway first: what is printed here does not reach it.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["address", "queue", "topic", "key", "table", "options"])]
    source: Option<String>,
    /// The file with the event brokers, in place of endpoints.yml in the project.
    #[arg(long, value_name = "FILE")]
    endpoints: Option<PathBuf>,
    /// End after so many messages. What came together with the last of them is not settled, and comes again, printed or not.
    /// [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Print every message on a line as it came.
    #[arg(long)]
    json: bool,
}

impl Consume {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let source = self.open(adapters)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(async {
            let mut following = Following { json: self.json, left: self.count, printed: 0, position: None };
            let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let result = tokio::select! {
                result = following.follow(&*source) => result,
                () = either(&mut terminate, &mut interrupt) => Ok(()),
            };
            result?;
            output::note(count(following.printed, "message"));
            Ok(Outcome::Done)
        });
        // A source that hangs in a system call must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }

    fn open(&self, adapters: &Adapters) -> Result<Arc<dyn Source>, Failure> {
        if let Some(address) = &self.address {
            return self.place.source(address, adapters);
        }
        let overrides = Overrides { endpoints: self.endpoints.clone(), ..Overrides::default() };
        if let Some(name) = &self.broker {
            let diagnostics = Diagnostics::new();
            let project = Project::new(&self.journal.project, overrides, adapters.clone());
            let source = project.source_of_broker(name, &diagnostics);
            output::diagnostics(&diagnostics);
            return Ok(source.ok_or_else(|| Failure::reported(&diagnostics))?.source);
        }
        let name = self.source.as_deref().unwrap_or_default();
        let sources = super::plan(&self.journal.project, overrides, adapters)?.sources;
        let found = sources.iter().find(|source| source.name == name).map(|source| Arc::clone(&source.source));
        let names = sources.iter().map(|source| &source.name);
        found.ok_or_else(|| Failure::new(there_is_no(&format!("source `{name}` in trunkline.yml"), names)))
    }
}

/// What is printed, and how much of it.
struct Following {
    json: bool,
    /// How many messages are still to be printed; `None` when there is no end to it.
    left: Option<u64>,
    printed: u64,
    /// How far the source is read, where it cannot remember that itself.
    position: Option<String>,
}

impl Following {
    /// Prints what comes. What fails after it went well once is tried again.
    async fn follow(&mut self, source: &dyn Source) -> Result<(), Failure> {
        let (backoff, mut failures, mut was_open) = (Backoff::default(), 0, false);
        loop {
            let Err(reason) = self.read(source, &mut was_open, &mut failures).await? else { return Ok(()) };
            if !was_open {
                return Err(Failure::new(reason));
            }
            failures += 1;
            output::note(format!("{reason}; trying again"));
            tokio::time::sleep(backoff.wait(failures, fastrand::f64())).await;
        }
    }

    /// Reads until the end, or until the source fails; the inner error says why.
    async fn read(
        &mut self,
        source: &dyn Source,
        was_open: &mut bool,
        failures: &mut u32,
    ) -> Result<Result<(), String>, Failure> {
        let mut reader = match source.open_at(self.position.as_deref()).await {
            Ok(reader) => reader,
            Err(reason) => return Ok(Err(reason)),
        };
        *was_open = true;
        while self.left != Some(0) {
            let batch = match reader.receive().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(reason) => return Ok(Err(reason)),
            };
            let most = self.left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX);
            let printed = &batch[..batch.len().min(most)];
            self.print(printed)?;
            self.left = self.left.map(|left| left.saturating_sub(printed.len() as u64));
            // Settling takes in all that was received.
            if printed.len() == batch.len() {
                match reader.position().await {
                    Ok(position) => self.position = position,
                    Err(reason) => return Ok(Err(reason)),
                }
                if let Err(reason) = reader.settle().await {
                    return Ok(Err(reason));
                }
            }
            // Only what was read shows that it goes well: a source may open again and again, and give nothing.
            *failures = 0;
        }
        Ok(Ok(()))
    }

    fn print(&mut self, messages: &[Received]) -> Result<(), Failure> {
        let mut text = String::new();
        for message in messages {
            self.printed += 1;
            text += &if self.json { line(&message.body) } else { self.pretty(message) };
            text.push('\n');
        }
        // `print` takes some control characters for colours, which JSON may contain.
        if self.json { output::print_exactly(text) } else { output::print(text) }
    }

    fn pretty(&self, message: &Received) -> String {
        match NewEvent::parse(&message.body, None, Clock::system().seconds()) {
            Ok(event) => event_line(&shown(event, self.printed)),
            Err(error) => {
                stranger_line(self.printed, &message.origin, &error.to_string(), &String::from_utf8_lossy(&message.body))
            }
        }
    }
}

/// A message on one line: as it came, unless it has line breaks.
fn line(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains(['\n', '\r']) => text.to_owned(),
        _ => match json::lay_out(body, Layout::Dumps) {
            Ok(document) => document.into_string(),
            Err(_) => json::quote(&String::from_utf8_lossy(body), Layout::Dumps),
        },
    }
}

/// The event as the journal would show it, with its own time, and its number in place of the offset.
fn shown(event: NewEvent, number: u64) -> Event {
    let document = json::lay_out(&event.body, Layout::Dumps).ok();
    let seconds = document.and_then(|body| event.shape.members(&body).time?.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, reason = "a time that does not fit is shown as none")]
    let time = Timestamp((seconds.unwrap_or_default() * 1000.0) as i64);
    event.recorded(JournalId::random(), time, number)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use trunkline_core::{Place as SourcePlace, Reader};

    use super::*;

    /// Can be opened, and gives nothing but errors.
    #[derive(Default)]
    struct Broken(AtomicUsize);

    #[async_trait]
    impl Source for Broken {
        fn place(&self) -> SourcePlace {
            "nowhere".into()
        }

        async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Box::new(Self::default()))
        }

        async fn is_ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[async_trait]
    impl Reader for Broken {
        async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
            Err("nothing is here".to_owned())
        }

        async fn settle(&mut self) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_opens_and_gives_nothing_is_opened_less_and_less_often() {
        let source = Broken::default();
        let mut following = Following { json: true, left: None, printed: 0, position: None };
        // A clock that jumps from wait to wait.
        let following = tokio::time::timeout(Duration::from_secs(100), following.follow(&source));
        assert!(following.await.is_err());
        let opened = source.0.load(Ordering::Relaxed);
        assert!((10..=15).contains(&opened), "{opened} times");
    }

    #[test]
    fn a_message_is_one_line_whatever_it_is() {
        for (body, expected) in [
            (&b"{\"a\":  1.50}"[..], "{\"a\":  1.50}"),
            (b"no JSON", "no JSON"),
            (b"{\n  \"a\": 1.50\n}\n", "{\"a\": 1.50}"),
            (b"two\nlines", "\"two\\nlines\""),
            (b"\xff", "\"\\ufffd\""),
        ] {
            assert_eq!(line(body), expected);
        }
    }
}
