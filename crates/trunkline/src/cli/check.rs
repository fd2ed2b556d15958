//! `trunkline check`: what is wrong with the files of a project.

use clap::Args;
use trunkline_brokers::Brokers;
use trunkline_config::Diagnostics;

use super::ProjectArgs;
use super::output::{self, Failure, Outcome};
use crate::config::Project;

/// Exits with 1 when there is an error; warnings alone are 0.
#[derive(Args, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    project: ProjectArgs,
    /// Print the problems as a JSON list.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self, brokers: &Brokers) -> Result<Outcome, Failure> {
        let diagnostics = Diagnostics::new();
        let plan = Project::new(&self.project.directory, self.project.overrides(), brokers.clone()).plan(&diagnostics);
        if self.json {
            output::print_line(serde_json::to_string_pretty(&diagnostics.sorted())?)?;
        } else {
            output::diagnostics(&diagnostics);
            if let Some(plan) = &plan {
                let brokers: Vec<_> =
                    plan.brokers.iter().map(|broker| format!("{} ({})", broker.subscription.name, broker.kind)).collect();
                let channels: Vec<_> = plan.channels.iter().map(|channel| channel.name()).collect();
                output::print_line(format!("brokers    {}", listed(&brokers)))?;
                output::print_line(format!("channels   {}", listed(&channels)))?;
                output::print_line(format!("assistant  {}", plan.assistant.assistant.name()))?;
                output::print_line(format!("journal    {}", plan.journal.directory.display()))?;
            }
            output::print_line(output::counted(&diagnostics))?;
        }
        Ok(if plan.is_some() { Outcome::Done } else { Outcome::Unsound })
    }
}

fn listed(names: &[impl AsRef<str>]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ") }
}
