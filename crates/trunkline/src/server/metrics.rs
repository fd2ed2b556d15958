//! How long requests take.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    route: String,
    status: u16,
}

/// The time from the head of a request to the head of its answer, by route and status.
#[derive(Clone, Debug)]
pub(super) struct RequestLatency(Family<Labels, Histogram, fn() -> Histogram>);

impl RequestLatency {
    pub(super) fn register(registry: &Mutex<Registry>) -> Self {
        let family = Family::new_with_constructor((|| {
            Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0])
        }) as fn() -> Histogram);
        let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register("http_request_seconds", "Time from a request to its answer", family.clone());
        Self(family)
    }
}

/// Measures a request. Its route is the pattern that matched, so the number of series is bounded.
pub(super) async fn measure(State(latency): State<RequestLatency>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str).to_owned();
    let labels = Labels { route, status: response.status().as_u16() };
    latency.0.get_or_create(&labels).observe(started.elapsed().as_secs_f64());
    response
}
