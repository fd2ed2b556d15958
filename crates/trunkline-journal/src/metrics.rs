//! What the journal counts.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// What the journal counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) appended: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) refused: Counter,
    pub(crate) commit_events: Histogram,
    pub(crate) commit_seconds: Histogram,
    pub(crate) damaged: Counter,
    pub(crate) removed: Counter,
    pub(crate) removed_undelivered: Counter,
    pub(crate) head: Gauge<u64, AtomicU64>,
    pub(crate) bytes: Gauge<i64, AtomicI64>,
    pub(crate) available: Gauge<i64, AtomicI64>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            appended: Counter::default(),
            duplicates: Counter::default(),
            refused: Counter::default(),
            commit_events: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0]),
            commit_seconds: Histogram::new([
                0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            ]),
            damaged: Counter::default(),
            removed: Counter::default(),
            removed_undelivered: Counter::default(),
            head: Gauge::default(),
            bytes: Gauge::default(),
            available: Gauge::default(),
        }
    }

    /// Makes the figures visible in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("journal");
        registry.register("appended_events", "Events appended and synced", self.appended.clone());
        registry.register(
            "duplicate_appends",
            "Appends answered with an earlier one of the same identity",
            self.duplicates.clone(),
        );
        registry.register("refused_appends", "Appends answered that the journal is unavailable", self.refused.clone());
        registry.register("commit_events", "Events in one commit", self.commit_events.clone());
        registry.register("commit_seconds", "Time of one commit, its sync included", self.commit_seconds.clone());
        registry.register("damaged_records", "Records found damaged when they were read", self.damaged.clone());
        registry.register("removed_events", "Events removed by retention", self.removed.clone());
        registry.register(
            "removed_undelivered_events",
            "Events removed by retention before every subscription had passed them",
            self.removed_undelivered.clone(),
        );
        registry.register("head_offset", "Offset of the newest event", self.head.clone());
        registry.register("used_bytes", "Bytes of the database in use", self.bytes.clone());
        registry.register("available", "1 when appends are taken, 0 when they are refused", self.available.clone());
    }
}
