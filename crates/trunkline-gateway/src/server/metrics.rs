//! How long requests take.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Groups of routes by the beginning of their paths. The number of series is bounded whatever callers ask for.
const GROUPS: [(&str, &str); 6] = [
    ("/webhooks/", "/webhooks"),
    ("/conversations/", "/conversations"),
    ("/api/events", "/api/events"),
    ("/api/", "/api"),
    ("/status", "/status"),
    ("/metrics", "/metrics"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: &'static str,
    status: u16,
}

/// The time from the head of a request to the head of its answer, by group of routes and status.
#[derive(Clone, Debug)]
pub(crate) struct RequestLatency(Family<Labels, Histogram, fn() -> Histogram>);

impl RequestLatency {
    pub(crate) fn register(registry: &Mutex<Registry>) -> Self {
        let family = Family::new_with_constructor(
            (|| Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]))
                as fn() -> Histogram,
        );
        let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("http_request_seconds", "Time from a request to its answer", family.clone());
        Self(family)
    }

    /// The group of a path.
    pub(super) fn group(path: &str) -> &'static str {
        GROUPS.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("other", |(_, group)| group)
    }

    pub(super) fn observe(&self, route: &'static str, status: u16, time: Duration) {
        self.0.get_or_create(&Labels { route, status }).observe(time.as_secs_f64());
    }
}
