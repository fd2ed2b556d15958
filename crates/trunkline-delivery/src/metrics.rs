//! What subscriptions count.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    subscription: String,
}

/// What all subscriptions count, by name of the subscription.
#[derive(Clone, Debug)]
pub struct Metrics {
    delivered: Family<Labels, Counter>,
    retried: Family<Labels, Counter>,
    dead: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
    lag: Family<Labels, Gauge<u64, AtomicU64>>,
    down: Family<Labels, Gauge<u64, AtomicU64>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            delivered: Family::default(),
            retried: Family::default(),
            dead: Family::default(),
            seconds: Family::new_with_constructor(|| {
                Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0])
            }),
            lag: Family::default(),
            down: Family::default(),
        }
    }
}

impl Metrics {
    /// Makes the figures visible in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("subscription");
        registry.register("delivered_events", "Events delivered", self.delivered.clone());
        registry.register("retried_events", "Attempts that failed and are repeated, by event", self.retried.clone());
        registry.register("dead_events", "Events that became dead letters", self.dead.clone());
        registry.register("delivery_seconds", "Time of one call of the receiver", self.seconds.clone());
        registry.register("lag_events", "Offsets between the newest event and the oldest one not settled", self.lag.clone());
        registry.register("receiver_down", "1 while the receiver is held to be down as a whole", self.down.clone());
    }

    pub(crate) fn of(&self, subscription: &str) -> Counts {
        let labels = Labels { subscription: subscription.to_owned() };
        Counts {
            delivered: self.delivered.get_or_create_owned(&labels),
            retried: self.retried.get_or_create_owned(&labels),
            dead: self.dead.get_or_create_owned(&labels),
            seconds: self.seconds.get_or_create_owned(&labels),
            lag: self.lag.get_or_create_owned(&labels),
            down: self.down.get_or_create_owned(&labels),
        }
    }
}

/// What one subscription counts.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) delivered: Counter,
    pub(crate) retried: Counter,
    pub(crate) dead: Counter,
    pub(crate) seconds: Histogram,
    pub(crate) lag: Gauge<u64, AtomicU64>,
    pub(crate) down: Gauge<u64, AtomicU64>,
}
