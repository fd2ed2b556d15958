//! `trunkline check`: what is wrong with the files of a project, and with what they lead to.

use std::time::Duration;

use clap::Args;
use serde_json::json;
use trunkline_config::{Diagnostics, Severity};
use trunkline_gateway::{Adapters, Plan, Project, listed};

use super::ProjectArgs;
use super::connect::{Connection, connect};
use super::output::{self, Failure, Outcome};

/// Exits with 1 when there is an error, or with --connect when something cannot be reached; warnings alone are 0, unless they are
/// taken for errors with --strict.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    project: ProjectArgs,
    /// When the files have no errors, connect to every broker and every source, all at the same time and for 35 seconds at the most,
    /// and say what is wrong with them. Nothing is published, taken or created. [default: connects nowhere]
    #[arg(long)]
    connect: bool,
    /// Fail on warnings too.
    #[arg(long)]
    strict: bool,
    /// Print the problems as a JSON list; with --connect as an object with `problems` and `connections`.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let diagnostics = Diagnostics::new();
        let plan = Project::new(&self.project.directory, self.project.overrides(), adapters.clone()).plan(&diagnostics);
        let connections = match &plan {
            Some(plan) if self.connect => connections(plan)?,
            _ => Vec::new(),
        };
        if self.json {
            let problems = json!(diagnostics.sorted());
            let found = if self.connect { json!({"problems": problems, "connections": connections}) } else { problems };
            output::report(serde_json::to_string_pretty(&found)?)?;
        } else {
            output::diagnostics(&diagnostics);
            let mut lines = plan.as_ref().map(summary).unwrap_or_default();
            lines.extend(connections.iter().map(Connection::line));
            lines.push(output::counted(&diagnostics));
            output::report(lines.join("\n"))?;
        }
        if self.connect && plan.is_none() {
            output::note("nothing was connected to, because the files have errors");
        }
        let is_sound = plan.is_some() && connections.iter().all(Connection::is_ok);
        Ok(if is_sound && !(self.strict && diagnostics.count(Severity::Warning) > 0) { Outcome::Done } else { Outcome::Unsound })
    }
}

fn connections(plan: &Plan) -> Result<Vec<Connection>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let connections = runtime.block_on(connect(plan));
    // What hangs in a system call must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(connections)
}

/// What the files say, in short.
fn summary(plan: &Plan) -> Vec<String> {
    let brokers = plan.brokers.iter().map(|broker| format!("{} ({})", broker.subscription.name, broker.kind));
    let mut lines = vec![format!("brokers    {}", listed(brokers))];
    if !plan.sources.is_empty() {
        lines.push(format!(
            "sources    {}",
            listed(plan.sources.iter().map(|source| format!("{} ({})", source.name, source.kind)))
        ));
    }
    lines.push(format!("channels   {}", listed(plan.channels.iter().map(|channel| channel.name()))));
    lines.push(format!("assistant  {}", plan.assistant.assistant.name()));
    lines.push(format!("journal    {}", plan.journal.directory.display()));
    lines
}
