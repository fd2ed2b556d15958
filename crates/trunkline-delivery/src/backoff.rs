//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with jitter that grows with the wait: before attempt `n` it waits between half and all of
/// `initial · 2ⁿ⁻¹`, at the most `most`. The jitter keeps lanes that failed together from coming back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure. Default: 200 ms.
    pub initial: Duration,
    /// The longest wait. Default: 30 s.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Duration::from_millis(200), most: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The wait after `failures` failures in a row, 1 or more; `jitter` lies between 0 and 1.
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.initial.saturating_mul(1 << doublings).min(self.most);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_the_most_and_jitters_in_proportion() {
        let backoff = Backoff { initial: Duration::from_millis(100), most: Duration::from_secs(1) };
        let millis = |failures, jitter| backoff.wait(failures, jitter).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 1000].map(|failures| millis(failures, 1.0)), [100, 200, 400, 800, 1000, 1000]);
        assert_eq!([1, 4, 5].map(|failures| millis(failures, 0.0)), [50, 400, 500]);
    }
}
