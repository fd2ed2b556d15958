//! A running child process, and how it ends.

use std::fmt;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::{Instant, timeout};
use trunkline_core::Batch;

use super::errors::Errors;
use super::group::Group;
use super::lines::{Line, Lines};
use super::program::{Program, Times};
use super::protocol::{self, ChildAnswer, LONGEST_ANSWER, VERSION, plain, shortened};
use super::turns::Turns;

/// How much of a line that is no answer is shown, in characters.
const LONGEST_SHOWN: usize = 80;

/// Why a child is not used any more.
#[derive(Debug)]
pub(super) enum Fault {
    /// It ended, or closed its side.
    Ended,
    /// It wrote something that is no answer.
    Garbage(String),
    /// It wrote a JSON object that is no answer, for this reason.
    Malformed(String, serde_json::Error),
    /// It wrote an answer that does not belong here.
    Unexpected(String),
    /// It speaks another version.
    Version(u32),
    /// It did not answer in time.
    Silent(&'static str, Duration),
}

/// A child that said hello.
pub(super) struct Process {
    group: Group,
    /// `None` once it does not read any more.
    input: Option<ChildStdin>,
    /// What is still to be written to it.
    pending: Vec<u8>,
    written: usize,
    answers: Lines<BufReader<ChildStdout>>,
    errors: Errors,
    times: Times,
    title: String,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("title", &self.title).field("group", &self.group).finish_non_exhaustive()
    }
}

impl Process {
    /// Starts a child and waits for its hello.
    pub(super) async fn start(program: &Program) -> Result<Self, String> {
        let mut child = program.spawn()?;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(format!("`{}` was started without its pipes", program.title));
        };
        let group = Group::new(child).map_err(|error| format!("`{}` cannot be watched: {error}", program.title))?;
        let mut process = Self {
            group,
            input: Some(input),
            pending: protocol::hello(program),
            written: 0,
            answers: Lines::new(output, LONGEST_ANSWER),
            errors: Errors::follow(errors, program.broker.clone()),
            times: program.times,
            title: program.title.clone(),
        };
        match process.hello().await {
            Ok(name) => {
                let (broker, pid) = (&program.broker, process.group.pid());
                tracing::info!(broker, pid, name, "Child process of the broker was started");
                Ok(process)
            }
            Err(fault) => Err(process.end(fault).await),
        }
    }

    async fn hello(&mut self) -> Result<String, Fault> {
        let limit = self.times.hello;
        match timeout(limit, self.answer()).await.map_err(|_| Fault::Silent("hello", limit))?? {
            ChildAnswer::Hello { version: VERSION, name } => Ok(name.unwrap_or_else(|| self.title.clone())),
            ChildAnswer::Hello { version, .. } => Err(Fault::Version(version)),
            ChildAnswer::Outcome(_) | ChildAnswer::Ready { .. } => {
                Err(Fault::Unexpected("an answer before its hello".to_owned()))
            }
        }
    }

    /// Whether it still runs, as far as the system knows.
    pub(super) fn is_running(&self) -> bool {
        !self.group.has_ended()
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
                ChildAnswer::Outcome(answered) => {
                    let id = answered.id.clone();
                    if !turns.answer(&id, answered.outcome()) {
                        let id = shortened(&id);
                        return Err(Fault::Unexpected(format!(
                            "an outcome for `{id}`, an event that it has not or answered before"
                        )));
                    }
                }
                ChildAnswer::Hello { .. } | ChildAnswer::Ready { .. } => {
                    return Err(Fault::Unexpected("what it was not asked".to_owned()));
                }
            }
        }
    }

    /// Asks whether it is ready; the inner error is what it says.
    pub(super) async fn is_ready(&mut self) -> Result<Result<(), String>, Fault> {
        self.pending.extend(protocol::ready());
        let limit = self.times.ready;
        match timeout(limit, self.answer()).await.map_err(|_| Fault::Silent("answer to `ready`", limit))?? {
            ChildAnswer::Ready { ready: true, .. } => Ok(Ok(())),
            ChildAnswer::Ready { ready: false, reason } => {
                let reason = reason.map_or_else(|| "it gave no reason".to_owned(), |reason| shortened(&reason));
                Ok(Err(format!("`{}` is not ready: {reason}", self.title)))
            }
            ChildAnswer::Hello { .. } | ChildAnswer::Outcome(_) => Err(Fault::Unexpected("what it was not asked".to_owned())),
        }
    }

    /// Waits for the next answer, and writes meanwhile, so that neither pipe can block the other.
    async fn answer(&mut self) -> Result<ChildAnswer, Fault> {
        loop {
            let line = match &mut self.input {
                Some(input) => tokio::select! {
                    biased;
                    line = self.answers.next() => line,
                    result = input.write(self.pending.get(self.written..).unwrap_or_default()), if self.written < self.pending.len() => {
                        match result {
                            Ok(length) => self.written += length,
                            // Answers from before it closed its side still count.
                            Err(_) => self.input = None,
                        }
                        if self.written == self.pending.len() {
                            self.pending.clear();
                            self.written = 0;
                        }
                        continue;
                    }
                    () = self.group.ended() => {
                        // Its own children may go on and keep the pipe open; but nobody answers for them any more.
                        self.group.signal(Signal::KILL);
                        self.input = None;
                        continue;
                    }
                },
                None => timeout(self.times.last_words, self.answers.next()).await.map_err(|_| Fault::Ended)?,
            };
            return match line {
                Ok(Some(Line::Whole(line))) => serde_json::from_slice(&line).map_err(|error| no_answer(&line, error)),
                Ok(Some(Line::Part(line))) => Err(Fault::Garbage(String::from_utf8_lossy(&line).into_owned())),
                Ok(None) | Err(_) => Err(Fault::Ended),
            };
        }
    }

    /// Ends it because of a fault, and says for a person what happened.
    pub(super) async fn end(mut self, fault: Fault) -> String {
        let limit = self.times.last_words;
        let ended_itself = matches!(fault, Fault::Ended) && timeout(limit, self.group.ended()).await.is_ok();
        let status = self.group.reap(limit).await;
        let what = match fault {
            Fault::Ended => match status.filter(|_| ended_itself) {
                Some(status) => format!("ended ({status})"),
                None => "closed its standard input or output, and was killed".to_owned(),
            },
            Fault::Garbage(line) => format!(
                "wrote a line that is no answer of the protocol, and was killed: `{}`; standard output is for answers alone, \
                 everything else belongs on standard error",
                plain(&line, LONGEST_SHOWN)
            ),
            Fault::Malformed(line, error) => {
                format!(
                    "gave an answer that is none of the protocol ({error}), and was killed: `{}`",
                    plain(&line, LONGEST_SHOWN)
                )
            }
            Fault::Unexpected(what) => format!("gave {what}, and was killed"),
            Fault::Version(version) => {
                format!("speaks version {version} of the protocol, and was killed; this Trunkline speaks version {VERSION}")
            }
            Fault::Silent(what, limit) => format!("gave no {what} within {} s, and was killed", limit.as_secs_f32()),
        };
        let last = self.errors.last_line(limit).await.map(|line| format!("; the last line of its standard error: {line}"));
        format!("`{}` {what}{}", self.title, last.unwrap_or_default())
    }

    /// Lets it flush and end by itself, and then ends it and its own children.
    pub(super) async fn close(mut self) {
        let Times { close, terminate, last_words, .. } = self.times;
        self.pending.extend(protocol::close());
        let (group, answers, pending) =
            (&mut self.group, &mut self.answers, self.pending.get(self.written..).unwrap_or_default());
        let input = self.input.take();
        let talk = async {
            if let Some(mut input) = input {
                let _ = input.write_all(pending).await;
                // Its end of file is the second way to say it.
            }
            // Whatever it still writes must not block it.
            while let Ok(Some(_)) = answers.next().await {}
            std::future::pending::<()>().await;
        };
        let ended = async {
            tokio::select! {
                () = group.ended() => {}
                () = talk => {}
            }
        };
        if timeout(close, ended).await.is_err() {
            let limit = close.as_secs_f32();
            tracing::warn!(child = self.title, "Child process did not end within {limit} s of `close` and is terminated");
            self.group.signal(Signal::TERM);
            let _ = timeout(terminate, self.group.ended()).await;
        }
        let status = self.group.reap(last_words).await;
        if let Some(status) = status.filter(|status| !status.success()) {
            tracing::warn!(child = self.title, %status, "Child process failed to close");
        }
        // Its last words are in the log then.
        self.errors.last_line(last_words).await;
    }
}

/// What is wrong with a line that is no answer.
fn no_answer(line: &[u8], error: serde_json::Error) -> Fault {
    let text = String::from_utf8_lossy(line).into_owned();
    match serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line) {
        Ok(_) => Fault::Malformed(text, error),
        Err(_) => Fault::Garbage(text),
    }
}
