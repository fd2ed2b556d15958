//! `trunkline export`: the past once more, to one broker.

mod history;
mod journal;
mod run;
mod shift;
mod state;
mod store;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use trunkline_brokers::SqlTrackerStore;
use trunkline_config::Diagnostics;
use trunkline_core::{CursorKey, JournalId};
use trunkline_gateway::{Adapters, BrokerPlan, Overrides, Plan, Project, listed, there_is_no};
use trunkline_journal::ReadOnlyJournal;

use super::JournalArgs;
use super::connect::is_ready;
use super::format::count;
use super::init::argument;
use super::output::{self, Failure, Outcome};
use super::serve::either;
use history::Opened;
use run::{Export, Halt, Report};
use state::{ExportState, Origin, Seconds, Selection, States};

/// The longest that the end may take, after everything is confirmed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Replay events of the past to one broker.
///
/// They come from the journal, whether a gateway runs or not, or from the tracker store of a Rasa server. Only what the broker
/// has confirmed is counted. The broker gets what its `filter` lets through; where its own subscription stands does not change.
/// An export that was interrupted goes on with --resume, without repeating what was confirmed. Exits with 1 when the broker
/// refused an event for good, or when a record could not be read.
#[derive(Args, Debug)]
pub(super) struct ExportCommand {
    #[command(flatten)]
    journal: JournalArgs,
    /// The file with the event brokers and the tracker store, in place of endpoints.yml in the project.
    #[arg(long, value_name = "FILE")]
    endpoints: Option<PathBuf>,
    /// The name of the broker to publish to. [default: the only one there is]
    #[arg(long, value_name = "NAME")]
    broker: Option<String>,
    /// Read the tracker store of the endpoints file, not the journal. [default: only when there is no journal]
    #[arg(long)]
    tracker_store: bool,
    /// Only these conversations, with a comma between them and no spaces. [default: all]
    #[arg(long, value_name = "ID,ID", value_delimiter = ',')]
    conversation_ids: Option<Vec<String>>,
    /// Only events whose timestamp is this one or later, in Unix seconds.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    minimum_timestamp: Option<Seconds>,
    /// Only events whose timestamp is earlier than this, in Unix seconds.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    maximum_timestamp: Option<Seconds>,
    /// Publish timestamps that are later by so many seconds, or earlier when it is negative; what selects is the original one.
    #[arg(
        long,
        visible_alias = "offset-timestamps-by",
        value_name = "SECONDS",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    offset_timestamps_by_seconds: i64,
    /// Go on with an export that was interrupted: its id, 32 hexadecimal digits. What it selects stays the same.
    #[arg(long, value_name = "ID", value_parser = export_id, conflicts_with_all = [
        "broker", "tracker_store", "conversation_ids", "minimum_timestamp", "maximum_timestamp", "offset_timestamps_by_seconds"
    ])]
    resume: Option<String>,
    /// Give up when the broker has confirmed nothing for so many seconds; the export can be resumed.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    give_up_after: u64,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

impl ExportCommand {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        if let (Some(minimum), Some(maximum)) = (self.minimum_timestamp, self.maximum_timestamp)
            && maximum < minimum
        {
            let (minimum, maximum) = (String::from(minimum), String::from(maximum));
            return Err(Failure::new(format!("the maximum timestamp {maximum} is before the minimum timestamp {minimum}")));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.export(adapters));
        // A broker that hangs in a system call must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        outcome
    }

    async fn export(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let overrides = Overrides { endpoints: self.endpoints.clone(), ..Overrides::default() };
        let plan = super::plan(&self.journal.project, overrides.clone(), adapters)?;
        let project = Project::new(&self.journal.project, overrides, adapters.clone());
        let states = States::new(&plan.journal.directory);
        let resumed = self.resume.as_deref().map(|id| states.load(id)).transpose().map_err(Failure::new)?;
        let broker = broker(&plan, resumed.as_ref().map(|state| state.broker.as_str()).or(self.broker.as_deref()))?;
        let origin = resumed.as_ref().map_or_else(|| self.origin(&plan), |state| state.origin);
        let opened = match origin {
            Origin::Journal => {
                let directory = plan.journal.directory.clone();
                Opened::Journal { journal: Box::new(ReadOnlyJournal::open(&directory)?), directory }
            }
            Origin::TrackerStore => Opened::TrackerStore(tracker_store(&project, &plan)?),
        };
        let name = broker.subscription.name.as_str();
        let state = match resumed {
            Some(state) => state,
            None => opened.begin(name, self.selection()).await?,
        };
        let history = opened.history(&state)?;
        let journal = match &opened {
            Opened::Journal { journal, .. } => journal.id(),
            // Only a broker that remembers our journal cares.
            Opened::TrackerStore(_) => {
                ReadOnlyJournal::open(&plan.journal.directory).map_or_else(|_| JournalId::random(), |journal| journal.id())
            }
        };
        is_ready(&*broker.broker)
            .await
            .map_err(|reason| Failure::new(format!("the broker `{name}` ({}) is not ready: {reason}", broker.kind)))?;

        let mut export = Export {
            broker: &*broker.broker,
            subscription: &broker.subscription,
            cursor: CursorKey { journal, subscription: name.into() },
            history,
            state,
            states: &states,
            report: Report::default(),
            patience: Duration::from_secs(self.give_up_after),
            stop: CancellationToken::new(),
            bar: bar(),
        };
        if self.resume.is_none() {
            states.begin(&mut export.state).map_err(Failure::new)?;
        }
        let command = self.command(&export.state.id);
        let begins = if self.resume.is_some() { "goes on" } else { "begins" };
        output::note(format!("export {} to {name} {begins}; if it is interrupted, go on with: {command}", export.state.id));
        let mut signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let result = until_told(&mut export, &mut signals).await;
        let Export { state, report, .. } = export;
        if result.is_ok() {
            states.remove(&state.id);
        }
        self.conclude(&state, &report, &result, &command)
    }

    /// The journal, unless the tracker store is asked for or there is no journal.
    fn origin(&self, plan: &Plan) -> Origin {
        let has_journal = plan.journal.directory.join("journal.db").exists();
        if self.tracker_store || !has_journal { Origin::TrackerStore } else { Origin::Journal }
    }

    /// What the command line selects.
    fn selection(&self) -> Selection {
        let mut conversations = self.conversation_ids.clone();
        if let Some(conversations) = &mut conversations {
            let mut seen = HashSet::new();
            conversations.retain(|conversation| seen.insert(conversation.clone()));
        }
        Selection {
            conversations,
            minimum: self.minimum_timestamp,
            maximum: self.maximum_timestamp,
            offset: self.offset_timestamps_by_seconds,
        }
    }

    /// How it goes on.
    fn command(&self, id: &str) -> String {
        let given = |option: &str, argument: String| if argument.is_empty() { argument } else { format!(" {option}{argument}") };
        let project = given("--project", argument(&self.journal.project));
        let endpoints = self.endpoints.as_deref().map(|path| given("--endpoints", argument(path))).unwrap_or_default();
        format!("trunkline export --resume {id}{project}{endpoints}")
    }

    fn conclude(
        &self,
        state: &ExportState,
        report: &Report,
        result: &Result<(), Halt>,
        command: &str,
    ) -> Result<Outcome, Failure> {
        let ExportState { id, broker, events: total, .. } = state;
        let conversations = report.conversations.len() as u64;
        let problem = match result {
            Ok(()) => None,
            Err(Halt::Interrupted) => Some("it was interrupted".to_owned()),
            Err(Halt::Failed(reason)) => Some(reason.clone()),
        };
        if self.json {
            let line = json!({
                "export_id": id, "broker": broker, "origin": state.origin, "events": report.events,
                "conversations": conversations, "total_events": total, "rejected": state.rejected,
                "rejected_events": report.rejected, "unreadable": state.unreadable, "finished": result.is_ok(),
                "problem": problem, "resume": problem.as_ref().map(|_| command),
            });
            output::report(line.to_string())?;
        } else {
            let more = if *total == report.events { String::new() } else { format!("; {total} in all runs of it") };
            let (events, conversations) = (count(report.events, "event"), count(conversations, "conversation"));
            output::report(format!("exported {events} of {conversations} to {broker} (export id {id}{more})"))?;
        }
        for (number, what) in [(state.rejected, "refused by the broker"), (state.unreadable, "not readable and left out")] {
            if number > 0 {
                output::note(format!("{}: {what}", count(number, "event")));
            }
        }
        match result {
            Ok(()) if state.rejected + state.unreadable == 0 => Ok(Outcome::Done),
            Ok(()) => Ok(Outcome::Unsound),
            Err(Halt::Interrupted) => {
                output::note(format!("it was interrupted; go on with: {command}"));
                Ok(Outcome::Forced)
            }
            Err(Halt::Failed(reason)) => Err(Failure::new(format!("{reason}\ngo on with: {command}"))),
        }
    }
}

/// Runs the export until it ends, and closes the broker. A first signal ends it after the batch under way, a second one at once.
async fn until_told(export: &mut Export<'_>, (terminate, interrupt): &mut (Signal, Signal)) -> Result<(), Halt> {
    let (stop, bar, broker) = (export.stop.clone(), export.bar.clone(), export.broker);
    let asked_twice = async {
        either(terminate, interrupt).await;
        bar.suspend(|| output::note("ending after the batch under way; again to end now"));
        stop.cancel();
        either(terminate, interrupt).await;
    };
    let (result, is_forced) = tokio::select! {
        result = export.run() => (result, false),
        () = asked_twice => (Err(Halt::Interrupted), true),
    };
    let result = export.end(result);
    export.bar.finish_and_clear();
    if !is_forced {
        tokio::select! {
            _ = timeout(CLOSE_TIMEOUT, broker.close()) => {}
            () = either(terminate, interrupt) => {}
        }
    }
    result
}

/// The broker of this name, or the only one.
fn broker<'p>(plan: &'p Plan, name: Option<&str>) -> Result<&'p BrokerPlan, Failure> {
    let names = plan.brokers.iter().map(|broker| &broker.subscription.name);
    match (name, plan.brokers.as_slice()) {
        (None, [broker]) => Ok(broker),
        (_, []) => Err(Failure::new("there is no broker to publish to: the endpoints file has no `event_broker`")),
        (None, _) => Err(Failure::new(format!("there are several brokers; choose one with --broker: {}", listed(names)))),
        (Some(name), brokers) => brokers
            .iter()
            .find(|broker| broker.subscription.name == name)
            .ok_or_else(|| Failure::new(there_is_no(&format!("broker `{name}`"), names))),
    }
}

fn tracker_store(project: &Project, plan: &Plan) -> Result<SqlTrackerStore, Failure> {
    let diagnostics = Diagnostics::new();
    let store = project.tracker_store(&diagnostics);
    output::diagnostics(&diagnostics);
    store.ok_or_else(|| {
        let directory = plan.journal.directory.display();
        Failure::new(match ReadOnlyJournal::open(&plan.journal.directory) {
            Err(_) => format!("there is no journal in {directory}, and no tracker store that can be read"),
            Ok(_) => "there is no tracker store that can be read".to_owned(),
        })
    })
}

/// It shows itself on a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent}%  {msg} events confirmed  {eta}") {
        bar.set_style(style);
    }
    bar.set_message("0");
    bar
}

/// The id of an export becomes the name of a file.
fn export_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text.to_ascii_lowercase()) } else { Err("expected 32 hexadecimal digits".to_owned()) }
}
