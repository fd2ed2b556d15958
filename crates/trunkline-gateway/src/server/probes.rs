//! For orchestrators and Prometheus: is it alive, does it take messages, what does it count.

use std::sync::PoisonError;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use trunkline_channels::json_with;
use trunkline_delivery::Delivery;
use trunkline_journal::Status;

use super::{Context, Shared};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/status/live", get(live)).route("/status/ready", get(ready)).route("/metrics", get(metrics))
}

async fn live() -> Response {
    json_with(StatusCode::OK, json!({"status": "live"}).to_string())
}

/// 200 while messages are taken, 503 with the reason while they are not.
async fn ready(State(context): State<Shared>) -> Response {
    let subscriptions: Vec<Value> = context.deliveries().map(super::admin::subscription).collect();
    // A source that is down keeps nobody from writing: it is reported, and no more.
    let sources: Vec<Value> = context.sources.iter().map(|source| json!(source.status())).collect();
    match context.unavailable() {
        None => {
            let body = json!({"status": "ready", "subscriptions": subscriptions, "sources": sources});
            json_with(StatusCode::OK, body.to_string())
        }
        Some(reason) => {
            let body = json!({"status": "unavailable", "reason": reason, "subscriptions": subscriptions, "sources": sources});
            json_with(StatusCode::SERVICE_UNAVAILABLE, body.to_string())
        }
    }
}

impl Context {
    /// Why messages are not taken, if they are not.
    fn unavailable(&self) -> Option<String> {
        if self.draining.is_cancelled() {
            return Some("the gateway is stopping".to_owned());
        }
        if self.deliveries().any(Delivery::has_ended) {
            return Some("a subscription has died; see the log, and restart".to_owned());
        }
        self.partitions.all().find_map(|partition| match partition.journal().status() {
            Status::Available => None,
            Status::Unavailable(reason) => Some(reason),
        })
    }
}

async fn metrics(State(context): State<Shared>) -> Response {
    let mut text = String::new();
    let registry = context.registry.lock().unwrap_or_else(PoisonError::into_inner);
    match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
