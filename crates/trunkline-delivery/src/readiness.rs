//! Whether the receiver is ready, before an event shows it.

use tokio::time::Instant;

use crate::Backoff;

/// When the receiver is asked. It is asked at the start, and again at growing distances while the answer is no.
#[derive(Debug)]
pub(crate) struct Readiness {
    backoff: Backoff,
    failures: u32,
    /// When it is asked next; `None` while it is being asked, and when there is nothing more to ask.
    ask_at: Option<Instant>,
    is_settled: bool,
}

impl Readiness {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, ask_at: Some(Instant::now()), is_settled: false }
    }

    /// Whether to ask now.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        self.ask_at.take_if(|at| *at <= now).is_some()
    }

    /// When to ask next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.ask_at
    }

    /// Takes the answer.
    pub(crate) fn answered(&mut self, now: Instant, jitter: f64, is_ready: bool) {
        if is_ready {
            return self.settle();
        }
        self.failures = self.failures.saturating_add(1);
        self.ask_at = Some(now + self.backoff.wait(self.failures, jitter));
    }

    /// An event has shown it: there is nothing more to ask.
    pub(crate) fn settle(&mut self) {
        self.is_settled = true;
        self.ask_at = None;
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }
}
