//! Latencies, counted in buckets that grow with the value.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Buckets in each doubling, which bounds the error of a reading to 1/128 of it.
const STEPS: u64 = 1 << STEP_BITS;
/// `STEPS` as a power of two.
const STEP_BITS: u32 = 6;
/// One row of buckets for each doubling above `STEPS`, and one for what lies below.
const BUCKETS: usize = (64 - STEP_BITS as usize + 1) << STEP_BITS;

/// Durations by how long they took, with every client counting into the same one.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: Box<[AtomicU64]>,
}

impl Histogram {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Counts one duration.
    pub(crate) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanoseconds)].fetch_add(1, Ordering::Relaxed);
    }

    /// How many durations were counted.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The microseconds below which `share` of the durations lie; 0 when there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let wanted = self.count() as f64 * share;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            let count = count.load(Ordering::Relaxed);
            seen += count;
            if count > 0 && seen as f64 >= wanted {
                return middle(index) / 1_000.0;
            }
        }
        0.0
    }
}

fn bucket(value: u64) -> usize {
    let shift = value.max(1).ilog2().saturating_sub(STEP_BITS);
    let row = if value < STEPS { 0 } else { u64::from(shift) + 1 };
    let step = (value >> shift) % STEPS;
    usize::try_from(row * STEPS + step).unwrap_or(BUCKETS - 1)
}

fn middle(index: usize) -> f64 {
    let index = index as u64;
    let (row, step) = (index / STEPS, index % STEPS);
    match row.checked_sub(1) {
        None => step as f64,
        Some(shift) => ((STEPS + step) << shift) as f64 + (1_u64 << shift) as f64 / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_within_a_hundredth_of_what_was_recorded() {
        for nanoseconds in [1, 63, 64, 65, 127, 128, 1_000, 123_456, 7_000_000_000, u64::MAX / 3] {
            let histogram = Histogram::new();
            histogram.record(Duration::from_nanos(nanoseconds));
            let expected = nanoseconds as f64 / 1_000.0;
            let found = histogram.quantile(0.5);
            assert!((found - expected).abs() <= expected / 100.0, "{nanoseconds} ns was read as {found} µs");
        }
    }

    #[test]
    fn the_extremes_have_a_bucket() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_count_from_the_fast_end() {
        let histogram = Histogram::new();
        for milliseconds in 1..=100 {
            histogram.record(Duration::from_millis(milliseconds));
        }
        assert_eq!(histogram.count(), 100);
        assert!((histogram.quantile(0.5) - 50_000.0).abs() < 500.0);
        assert!((histogram.quantile(0.99) - 99_000.0).abs() < 990.0);
    }
}
