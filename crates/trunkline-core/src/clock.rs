//! The time of day, from outside, so that tests can choose it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// This point moved back by `duration`, at the least 1970.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(millis).max(0))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Unix seconds, as Rasa writes them.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// Where the time comes from: the system, or a test.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self::from_fn(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    /// A clock that answers what `since_epoch` answers.
    pub fn from_fn(since_epoch: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(since_epoch))
    }

    /// Now, to the millisecond.
    pub fn now(&self) -> Timestamp {
        Timestamp(i64::try_from((self.0)().as_millis()).unwrap_or(i64::MAX))
    }

    /// Now as Unix seconds to the microsecond, the resolution of the timestamps in Rasa's events.
    pub fn seconds(&self) -> f64 {
        let now = (self.0)();
        now.as_secs() as f64 + f64::from(now.subsec_micros()) / 1e6
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now().0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_in_milliseconds_and_in_seconds_with_their_fraction() {
        let clock = Clock::from_fn(|| Duration::from_micros(1_796_000_000_250_999));
        assert_eq!(clock.now(), Timestamp(1_796_000_000_250));
        assert!((clock.seconds() - 1_796_000_000.250_999).abs() < 1e-6);
    }
}
