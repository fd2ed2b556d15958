//! What is run.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// A program, and what it is told.
pub(super) struct Program {
    /// The broker's name, for the log and for the child.
    pub(super) broker: String,
    /// What runs, as a person would name it: `python3 broker.py`.
    pub(super) title: String,
    /// The program and its arguments, never empty.
    pub(super) command: Vec<OsString>,
    pub(super) directory: PathBuf,
    /// Variables beside those that the child inherits.
    pub(super) environment: Vec<(String, String)>,
    /// A JSON object. It may hold secrets.
    pub(super) settings: serde_json::Value,
    /// What to do when there is no such program.
    pub(super) remedy: &'static str,
    pub(super) times: Times,
}

/// How long we are patient with a child.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From its start to its hello; a large Python package is imported in that time.
    pub(super) hello: Duration,
    /// To say whether it is ready.
    pub(super) ready: Duration,
    /// To flush after `close`.
    pub(super) close: Duration,
    /// To end after SIGTERM.
    pub(super) terminate: Duration,
    /// For the status and the last words of a child that seems to have ended.
    pub(super) last_words: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let [hello, ready, close, terminate, last_words] = [20, 10, 5, 2, 1].map(Duration::from_secs);
        Self { hello, ready, close, terminate, last_words }
    }
}

/// Without the environment and the settings, which may hold secrets.
impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("broker", &self.broker).field("title", &self.title).finish_non_exhaustive()
    }
}

impl Program {
    /// Starts it in a process group of its own, so that a Ctrl-C at the terminal does not end it before we are done with it.
    pub(super) fn spawn(&self) -> Result<Child, String> {
        let mut words = self.command.iter();
        let program = words.next().map(PathBuf::from).unwrap_or_default();
        let mut command = Command::new(self.resolved(&program));
        command.args(words).current_dir(&self.directory).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|error| {
            if self.directory.is_dir() {
                format!("cannot start `{}`: {error}; {}", program.display(), self.remedy)
            } else {
                format!("cannot start `{}`: the directory `{}` does not exist", program.display(), self.directory.display())
            }
        })
    }

    /// A program that is named with a directory lies where a shell would look for it, in the directory that it runs in.
    fn resolved(&self, program: &Path) -> PathBuf {
        if program.components().count() > 1 { self.directory.join(program) } else { program.to_owned() }
    }
}
