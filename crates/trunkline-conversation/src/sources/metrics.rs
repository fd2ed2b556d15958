//! What sources count.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    source: String,
}

/// What all sources count, by name of the source.
#[derive(Debug, Default)]
pub struct Metrics {
    received: Family<Labels, Counter>,
    appended: Family<Labels, Counter>,
    duplicates: Family<Labels, Counter>,
    rejected: Family<Labels, Counter>,
    connected: Family<Labels, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    /// Makes the figures visible in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("source");
        registry.register("received_events", "Messages received, those that come again included", self.received.clone());
        registry.register("appended_events", "Events appended to the journal", self.appended.clone());
        registry.register("duplicate_events", "Events that the journal had already", self.duplicates.clone());
        registry.register("rejected_events", "Messages that are no events, kept in a file", self.rejected.clone());
        registry.register("connected", "1 while the source is connected", self.connected.clone());
    }

    pub(super) fn of(&self, source: &str) -> Counts {
        let labels = Labels { source: source.to_owned() };
        Counts {
            received: self.received.get_or_create_owned(&labels),
            appended: self.appended.get_or_create_owned(&labels),
            duplicates: self.duplicates.get_or_create_owned(&labels),
            rejected: self.rejected.get_or_create_owned(&labels),
            connected: self.connected.get_or_create_owned(&labels),
        }
    }
}

/// What one source counts.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) received: Counter,
    pub(super) appended: Counter,
    pub(super) duplicates: Counter,
    pub(super) rejected: Counter,
    pub(super) connected: Gauge<u64, AtomicU64>,
}
