//! The adapter: from calls to lines, and the care for the child.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::Instant;
use trunkline_core::{Batch, Broker, Outcome};

use super::process::{Fault, Process};
use super::program::Program;
use super::turns::Turns;

/// The distance between the starts of a child that keeps failing: it doubles from the first to the second.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Publishes to a child process that speaks JSON lines.
pub struct ExecBroker {
    program: Program,
    state: Mutex<ChildState>,
}

#[derive(Default)]
struct ChildState {
    process: Option<Process>,
    /// When a child was last started.
    started: Option<Instant>,
    /// How many children in a row failed before they answered anything.
    failures: u32,
    /// What was wrong with the last of them.
    reason: String,
}

impl fmt::Debug for ExecBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecBroker").field("program", &self.program).finish_non_exhaustive()
    }
}

impl ExecBroker {
    pub(super) fn new(program: Program) -> Self {
        Self { program, state: Mutex::default() }
    }

    /// A child that said hello. It is taken out of the state, so that a call that is given up takes it along.
    async fn take(&self, state: &mut ChildState) -> Result<Process, (String, Option<Duration>)> {
        if let Some(process) = state.process.take() {
            if process.is_running() {
                return Ok(process);
            }
            let reason = process.end(Fault::Ended).await;
            self.failed(state, reason);
        }
        if let Some(wait) = state.wait(Instant::now()) {
            return Err((format!("{}; it is started again in {:.1} s", state.reason, wait.as_secs_f64()), Some(wait)));
        }
        state.started = Some(Instant::now());
        match Process::start(&self.program).await {
            Ok(process) => Ok(process),
            Err(reason) => {
                self.failed(state, reason.clone());
                Err((reason, state.wait(Instant::now())))
            }
        }
    }

    fn failed(&self, state: &mut ChildState, reason: String) {
        tracing::warn!(broker = self.program.broker, reason, "Child process failed");
        state.failures = state.failures.saturating_add(1);
        state.reason = reason;
    }
}

impl ChildState {
    /// How long no child may be started.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let doublings = self.failures.checked_sub(1)?.min(16);
        let distance = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        let wait = (self.started? + distance).saturating_duration_since(now);
        (!wait.is_zero()).then_some(wait)
    }
}

#[async_trait]
impl Broker for ExecBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        // What is under way when half of the time is over takes no longer than that again, for it was no more than what was answered
        // so far.
        let half = batch.time_left() / 2;
        let until = Instant::now() + half;
        let mut state = self.state.lock().await;
        let mut process = match self.take(&mut state).await {
            Ok(process) => process,
            Err((reason, after)) => return Outcome::Retry { after, reason }.all(batch.events.len()),
        };
        let mut turns = Turns::new(&batch.events);
        let result = process.publish(batch, &mut turns, until).await;
        if turns.answered() > 0 {
            state.failures = 0;
        }
        let cut_short = match result {
            Ok(()) => {
                state.process = Some(process);
                Outcome::retry(format!(
                    "`{}` is slow: it answered {} events in {:.0} s; the others follow in the next call",
                    self.program.title,
                    turns.answered(),
                    half.as_secs_f32()
                ))
            }
            Err(fault) => {
                let reason = process.end(fault).await;
                self.failed(&mut state, reason.clone());
                Outcome::Retry { after: state.wait(Instant::now()), reason }
            }
        };
        turns.into_outcomes(&cut_short)
    }

    async fn is_ready(&self) -> Result<(), String> {
        let mut state = self.state.lock().await;
        let mut process = self.take(&mut state).await.map_err(|(reason, _)| reason)?;
        match process.is_ready().await {
            Ok(answer) => {
                state.failures = 0;
                state.process = Some(process);
                answer
            }
            Err(fault) => {
                let reason = process.end(fault).await;
                self.failed(&mut state, reason.clone());
                Err(reason)
            }
        }
    }

    async fn close(&self) {
        if let Some(process) = self.state.lock().await.process.take() {
            process.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_keeps_failing_is_started_at_growing_distances() {
        let started = Instant::now();
        let wait = |failures, seconds| {
            let state = ChildState { started: Some(started), failures, ..ChildState::default() };
            state.wait(started + Duration::from_secs(seconds)).map(|wait| wait.as_secs())
        };
        assert_eq!(
            [0, 1, 2, 3, 5, 6, 1_000].map(|failures| wait(failures, 0)),
            [None, Some(1), Some(2), Some(4), Some(16), Some(30), Some(30)]
        );
        assert_eq!([wait(1, 1), wait(3, 3), wait(1_000, 30)], [None, Some(1), None]);
    }
}
