//! Whether the receiver is down as a whole.

use std::time::Duration;

use tokio::time::Instant;

use crate::Backoff;

/// So many batches in a row that fail altogether mean that the receiver is down, and not this or that event bad.
const FAILURES: u32 = 5;

/// Counts batches that failed altogether. Open, it lets nothing through but one probe at a time, at growing distances.
#[derive(Debug)]
pub(crate) struct Breaker {
    backoff: Backoff,
    failures: u32,
    /// The lane that the last of them was confined to.
    last: Option<u64>,
    /// When the next probe may go; `None` while closed.
    probe_at: Option<Instant>,
    probing: bool,
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    /// Anything.
    All,
    /// One event, to find out.
    Probe,
    /// Nothing before this time; `None` while a probe is under way.
    Nothing(Option<Instant>),
}

impl Breaker {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self { backoff, failures: 0, last: None, probe_at: None, probing: false }
    }

    pub(crate) fn permission(&self, now: Instant) -> Permission {
        match self.probe_at {
            None => Permission::All,
            Some(_) if self.probing => Permission::Nothing(None),
            Some(at) if at <= now => Permission::Probe,
            Some(at) => Permission::Nothing(Some(at)),
        }
    }

    /// A probe is sent.
    pub(crate) fn probe(&mut self) {
        self.probing = true;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.probe_at.is_some()
    }

    /// A batch came back with an answer to at least one event. Whether that closed an open breaker.
    pub(crate) fn succeeded(&mut self) -> bool {
        self.failures = 0;
        self.last = None;
        self.probing = false;
        self.probe_at.take().is_some()
    }

    /// A batch was never shown to the receiver, so nothing was found out.
    pub(crate) fn untried(&mut self, was_probe: bool) {
        self.probing &= !was_probe;
    }

    /// A batch failed altogether. Whether that opened the breaker. `lane` is the one lane that it came from, if there are
    /// others: one that fails over and over says nothing about the receiver. Nor does, once open, what was sent before.
    pub(crate) fn failed(
        &mut self,
        now: Instant,
        after: Option<Duration>,
        jitter: f64,
        lane: Option<u64>,
        was_probe: bool,
    ) -> bool {
        let was_open = self.is_open();
        let is_news = if was_open { was_probe } else { lane.is_none() || lane != self.last };
        if !is_news {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = lane;
        self.probing = false;
        if self.failures >= FAILURES {
            let wait = self.backoff.wait(self.failures - FAILURES + 1, jitter).max(after.unwrap_or_default());
            self.probe_at = Some(now + wait);
        }
        !was_open && self.is_open()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_probes_once_at_a_time_and_closes_on_success() {
        let backoff = Backoff { initial: Duration::from_secs(1), most: Duration::from_secs(4) };
        let (mut breaker, start) = (Breaker::new(backoff), Instant::now());
        for _ in 0..4 {
            assert!(!breaker.failed(start, None, 1.0, None, false));
        }
        assert!(!breaker.succeeded());
        for _ in 0..4 {
            assert!(!breaker.failed(start, None, 1.0, None, false));
        }
        assert_eq!(breaker.permission(start), Permission::All);
        assert!(breaker.failed(start, None, 1.0, None, false));
        let second = start + Duration::from_secs(1);
        assert_eq!(breaker.permission(start), Permission::Nothing(Some(second)));
        assert_eq!(breaker.permission(second), Permission::Probe);
        breaker.probe();
        assert_eq!(breaker.permission(second), Permission::Nothing(None));
        assert!(!breaker.failed(second, Some(Duration::from_secs(20)), 1.0, None, false));
        assert_eq!(breaker.permission(second), Permission::Nothing(None));
        assert!(!breaker.failed(second, Some(Duration::from_secs(9)), 1.0, None, true));
        assert_eq!(breaker.permission(second), Permission::Nothing(Some(second + Duration::from_secs(9))));
        assert!(breaker.succeeded());
        assert_eq!(breaker.permission(start), Permission::All);
    }

    #[test]
    fn one_lane_that_fails_over_and_over_does_not_open_it() {
        let (mut breaker, now) = (Breaker::new(Backoff::default()), Instant::now());
        for _ in 0..20 {
            assert!(!breaker.failed(now, None, 1.0, Some(1), false));
        }
        let opened: Vec<_> = [2, 1, 2, 3].map(|lane| breaker.failed(now, None, 1.0, Some(lane), false)).into();
        assert_eq!(opened, [false, false, false, true]);
    }
}
