//! The command line.
//!
//! Exit codes: 0 done; 1 it failed, the reason is on standard error; 2 the command line was wrong; 3 it was stopped before everything
//! was finished.

mod check;
mod client;
mod connect;
mod consume;
mod conversations;
mod dead_letters;
mod export;
mod format;
mod gist;
mod init;
mod journal;
mod output;
mod serve;
mod shell;
mod since;
mod tail;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use trunkline_config::Diagnostics;
use trunkline_gateway::{Adapters, JournalPlan, Overrides, Plan, Project};

use output::{Failure, Outcome};

/// The event gateway for conversational assistants.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Serve(serve::Serve),
    /// Read the files of a project and say what is wrong.
    Check(check::Check),
    Init(init::Init),
    Shell(shell::Shell),
    Tail(tail::Tail),
    Conversations(conversations::List),
    DeadLetters(dead_letters::DeadLetters),
    Export(export::ExportCommand),
    Consume(consume::Consume),
    Journal(journal::JournalCommand),
    /// Print a script that completes commands in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// The project, for every command that works on one.
#[derive(Args, Clone, Debug)]
struct ProjectArgs {
    /// The directory of the project.
    #[arg(default_value = ".")]
    directory: PathBuf,
    #[command(flatten)]
    files: FileArgs,
}

/// The files to read in place of the project's own.
#[derive(Args, Clone, Debug)]
struct FileArgs {
    /// The file with the event brokers, in place of endpoints.yml in the project.
    #[arg(long, value_name = "FILE")]
    endpoints: Option<PathBuf>,
    /// The file with the channels, in place of credentials.yml in the project.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

impl ProjectArgs {
    fn overrides(&self) -> Overrides {
        let FileArgs { endpoints, credentials } = self.files.clone();
        Overrides { endpoints, credentials, ..Overrides::default() }
    }
}

/// For commands that read the journal of a project, whether a gateway runs on it or not.
#[derive(Args, Clone, Debug)]
struct JournalArgs {
    /// The directory of the project.
    #[arg(long, short = 'C', value_name = "DIR", default_value = ".", global = true)]
    project: PathBuf,
}

impl JournalArgs {
    /// The directory of the project's journal.
    fn directory(&self, adapters: &Adapters) -> Result<PathBuf, Failure> {
        Ok(self.plan(adapters)?.directory)
    }

    /// Where the project's journal lies, and how it is kept.
    fn plan(&self, adapters: &Adapters) -> Result<JournalPlan, Failure> {
        Ok(plan(&self.project, Overrides::default(), adapters)?.journal)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Runs the command line of this process with what this build has.
pub fn main() -> ExitCode {
    main_with(&crate::adapters())
}

/// Runs the command line of this process with `adapters`: those of [`adapters`](crate::adapters), and your own beside them.
pub fn main_with(adapters: &Adapters) -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(command) => command.run(adapters),
        Command::Check(command) => command.run(adapters),
        Command::Init(command) => command.run(),
        Command::Shell(command) => command.run(adapters),
        Command::Tail(command) => command.run(adapters),
        Command::Consume(command) => command.run(adapters),
        Command::Conversations(command) => command.run(adapters),
        Command::DeadLetters(command) => command.run(adapters),
        Command::Export(command) => command.run(adapters),
        Command::Journal(command) => command.run(adapters),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trunkline", &mut script);
            output::print_exactly(String::from_utf8_lossy(&script)).map(|()| Outcome::Done)
        }
    };
    output::exit_code(result)
}

/// Reads the files of a project; what is wrong goes to standard error.
fn plan(directory: &std::path::Path, overrides: Overrides, adapters: &Adapters) -> Result<Plan, Failure> {
    let diagnostics = Diagnostics::new();
    let plan = Project::new(directory, overrides, adapters.clone()).plan(&diagnostics);
    output::diagnostics(&diagnostics);
    plan.ok_or_else(|| Failure::reported(&diagnostics))
}
