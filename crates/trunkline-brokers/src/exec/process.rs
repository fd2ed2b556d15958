//! A running child process, and how it ends.

use std::fmt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use trunkline_core::Batch;

use super::lines::{Line, Lines};
use super::program::Program;
use super::protocol::{self, Answer, LONGEST_ANSWER, VERSION, shortened};
use super::turns::Turns;

/// How long a child may take from its start to its hello; a large Python package is imported in that time.
const HELLO: Duration = Duration::from_secs(20);
/// How long a child may take to say whether it is ready.
const READY: Duration = Duration::from_secs(10);
/// How long a child may flush after `close`, and then, after SIGTERM, how long it may take to end.
const CLOSE: Duration = Duration::from_secs(5);
const TERMINATE: Duration = Duration::from_secs(2);
/// How long we wait for the status and the last words of a child that seems to have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The longest line of standard error that goes to our log in one piece, in bytes.
const LONGEST_LOG_LINE: usize = 4 << 10;

/// Why a child is not used any more.
#[derive(Debug)]
pub(super) enum Fault {
    /// It ended, or closed its side.
    Ended,
    /// It wrote something that is no answer.
    Garbage(String),
    /// It wrote an answer that does not belong here.
    Unexpected(String),
    /// It speaks another version.
    Version(u32),
    /// It did not answer in time.
    Silent(&'static str, Duration),
}

/// A child that said hello.
pub(super) struct Process {
    child: Child,
    /// `None` once it does not read any more.
    input: Option<ChildStdin>,
    /// What is still to be written to it.
    pending: Vec<u8>,
    written: usize,
    answers: Lines<BufReader<ChildStdout>>,
    errors: Errors,
    title: String,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("title", &self.title).field("child", &self.child).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a child and waits for its hello.
    pub(super) async fn start(program: &Program) -> Result<Self, String> {
        let mut child = program.spawn()?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(format!("`{}` was started without its pipes", program.title));
        };
        let mut process = Self {
            child,
            input: Some(input),
            pending: protocol::hello(program),
            written: 0,
            answers: Lines::new(output, LONGEST_ANSWER),
            errors: Errors::follow(errors, program.broker.clone()),
            title: program.title.clone(),
        };
        match process.hello().await {
            Ok(name) => {
                let (broker, pid) = (&program.broker, process.child.id().unwrap_or_default());
                tracing::info!(broker, pid, name, "Child process of the broker was started");
                Ok(process)
            }
            Err(fault) => Err(process.end(fault).await),
        }
    }

    async fn hello(&mut self) -> Result<String, Fault> {
        match timeout(HELLO, self.answer()).await.map_err(|_| Fault::Silent("hello", HELLO))?? {
            Answer::Hello { version: VERSION, name } => Ok(name.unwrap_or_else(|| self.title.clone())),
            Answer::Hello { version, .. } => Err(Fault::Version(version)),
            Answer::Outcome(_) | Answer::Ready { .. } => Err(Fault::Unexpected("an answer before its hello".to_owned())),
        }
    }

    /// Whether it still runs, as far as the system knows.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Hands over a batch until everything is answered; what is not yet handed over at `until` stays here.
    pub(super) async fn publish(&mut self, batch: &Batch, turns: &mut Turns, until: Instant) -> Result<(), Fault> {
        loop {
            // The first is always tried, or a child that starts slowly would never get one.
            while turns.answered() == 0 || Instant::now() < until {
                let Some((index, id)) = turns.take(|index| batch.events[index].id.to_string()) else { break };
                protocol::push_publish(&mut self.pending, &batch.events[index], &id, batch.export.as_deref());
            }
            if !turns.are_under_way() {
                return Ok(());
            }
            match self.answer().await? {
                Answer::Outcome(answered) => {
                    let id = answered.id.clone();
                    if !turns.answer(&id, answered.outcome()) {
                        let id = shortened(&id);
                        return Err(Fault::Unexpected(format!(
                            "an outcome for `{id}`, an event that it has not or answered before"
                        )));
                    }
                }
                Answer::Hello { .. } | Answer::Ready { .. } => return Err(Fault::Unexpected("what it was not asked".to_owned())),
            }
        }
    }

    /// Asks whether it is ready; the inner error is what it says.
    pub(super) async fn is_ready(&mut self) -> Result<Result<(), String>, Fault> {
        self.pending.extend(protocol::ready());
        match timeout(READY, self.answer()).await.map_err(|_| Fault::Silent("answer to `ready`", READY))?? {
            Answer::Ready { ready: true, .. } => Ok(Ok(())),
            Answer::Ready { ready: false, reason } => {
                let reason = reason.map_or_else(|| "it gave no reason".to_owned(), |reason| shortened(&reason));
                Ok(Err(format!("`{}` is not ready: {reason}", self.title)))
            }
            Answer::Hello { .. } | Answer::Outcome(_) => Err(Fault::Unexpected("what it was not asked".to_owned())),
        }
    }

    /// Waits for the next answer, and writes meanwhile, so that neither pipe can block the other.
    async fn answer(&mut self) -> Result<Answer, Fault> {
        loop {
            let line = match &mut self.input {
                Some(input) => tokio::select! {
                    biased;
                    line = self.answers.next() => line,
                    result = input.write(self.pending.get(self.written..).unwrap_or_default()), if self.written < self.pending.len() => {
                        match result {
                            Ok(length) => self.written += length,
                            // What it answered before it closed its side still counts.
                            Err(_) => self.input = None,
                        }
                        if self.written == self.pending.len() {
                            self.pending.clear();
                            self.written = 0;
                        }
                        continue;
                    }
                },
                None => timeout(LAST_WORDS, self.answers.next()).await.map_err(|_| Fault::Ended)?,
            };
            return match line {
                Ok(Some(Line::Whole(line))) => {
                    serde_json::from_slice(&line).map_err(|_| Fault::Garbage(String::from_utf8_lossy(&line).into_owned()))
                }
                Ok(Some(Line::Part(line))) => Err(Fault::Garbage(String::from_utf8_lossy(&line).into_owned())),
                Ok(None) | Err(_) => Err(Fault::Ended),
            };
        }
    }

    /// Ends it because of a fault, and says for a person what happened.
    pub(super) async fn end(mut self, fault: Fault) -> String {
        let status = match fault {
            Fault::Ended => self.wait(LAST_WORDS).await,
            _ => None,
        };
        if status.is_none() {
            self.signal(Signal::KILL);
            self.wait(LAST_WORDS).await;
        }
        let what = match fault {
            Fault::Ended => match status {
                Some(status) => format!("ended ({status})"),
                None => "closed its standard input or output, and was killed".to_owned(),
            },
            Fault::Garbage(line) => format!(
                "wrote a line that is no answer of the protocol, and was killed: `{}`; standard output is for answers alone, \
                 everything else belongs on standard error",
                line.chars().take(80).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
            ),
            Fault::Unexpected(what) => format!("gave {what}, and was killed"),
            Fault::Version(version) => {
                format!("speaks version {version} of the protocol, and was killed; this Trunkline speaks version {VERSION}")
            }
            Fault::Silent(what, limit) => format!("gave no {what} within {} s, and was killed", limit.as_secs()),
        };
        let last = self.errors.last_line().await.map(|line| format!("; the last line of its standard error: {line}"));
        format!("`{}` {what}{}", self.title, last.unwrap_or_default())
    }

    /// Lets it flush and end by itself, and sees to it that it ends.
    pub(super) async fn close(mut self) {
        self.pending.extend(protocol::close());
        let gone = timeout(CLOSE, async {
            if let Some(mut input) = self.input.take() {
                let _ = input.write_all(self.pending.get(self.written..).unwrap_or_default()).await;
            }
            // Its end of file is the second way to say it. Whatever it still writes must not block it.
            while let Ok(Some(_)) = self.answers.next().await {}
            self.child.wait().await.ok()
        });
        let mut status = gone.await.ok().flatten();
        if status.is_none() {
            tracing::warn!(
                child = self.title,
                "Child process did not end within {} s of `close` and is terminated",
                CLOSE.as_secs()
            );
            self.signal(Signal::TERM);
            status = self.wait(TERMINATE).await;
        }
        match status {
            Some(status) if status.success() => {}
            Some(status) => tracing::warn!(child = self.title, %status, "Child process failed to close"),
            None => self.signal(Signal::KILL),
        }
    }

    async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        timeout(limit, self.child.wait()).await.ok()?.ok()
    }

    /// Sends a signal to it and to what it started, unless it has ended.
    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // An error means that there is nobody left.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// The standard error of a child: it goes to our log, and the last line is kept.
#[derive(Debug)]
struct Errors {
    last: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Errors {
    fn follow(stream: ChildStderr, broker: String) -> Self {
        let last = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&last);
        let task = tokio::spawn(async move {
            let mut lines = Lines::new(stream, LONGEST_LOG_LINE);
            while let Ok(Some(Line::Whole(line) | Line::Part(line))) = lines.next().await {
                let text: String =
                    String::from_utf8_lossy(&line).trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                tracing::info!(broker, "{text}");
                if !text.is_empty() {
                    *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
                }
            }
        });
        Self { last, task }
    }

    /// The last line, once there will be no more; a child of the child may keep the stream open, and is not waited for.
    async fn last_line(&mut self) -> Option<String> {
        let _ = timeout(LAST_WORDS, &mut self.task).await;
        self.last.lock().unwrap_or_else(PoisonError::into_inner).as_deref().map(shortened)
    }
}
