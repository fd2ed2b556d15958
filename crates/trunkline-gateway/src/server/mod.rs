//! The HTTP face: one port for channels, Rasa's API, our own, and the probes.

mod admin;
mod auth;
mod cors;
mod error;
mod events;
mod listen;
mod metrics;
mod path;
mod probes;
mod rasa;
mod unread;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use trunkline_channels::{Bodies, Channel, Door, Problem};
use trunkline_config::Secret;
use trunkline_conversation::Partitions;
use trunkline_conversation::sources::RunningSource;
use trunkline_core::Inbox;
use trunkline_delivery::Delivery;

pub(crate) use listen::Listener;
pub(crate) use metrics::RequestLatency;

use crate::ApiPlan;

/// What the routes work with, in one piece, because every request takes a copy.
pub(crate) type Shared = Arc<Context>;

pub(crate) struct Context {
    pub(crate) partitions: Partitions,
    pub(crate) sources: Arc<[RunningSource]>,
    pub(crate) api: ApiPlan,
    /// Lets the commands of the same user on the same machine in.
    pub(crate) control_token: Secret,
    pub(crate) bodies: Bodies,
    pub(crate) registry: Mutex<Registry>,
    /// Cancelled when the gateway is about to stop.
    pub(crate) draining: CancellationToken,
}

impl Context {
    /// What delivers events, in all partitions.
    fn deliveries(&self) -> impl Iterator<Item = &Delivery> {
        self.partitions.all().flat_map(|partition| partition.deliveries())
    }
}

/// All routes.
pub(crate) fn routes(context: &Shared, channels: &[Arc<dyn Channel>]) -> Router {
    let mut router = Router::new().merge(probes::routes()).merge(rasa::root()).nest("/api", admin::routes());
    if context.api.enabled {
        router = router.merge(rasa::api()).merge(events::routes());
    }
    let mut router = router.with_state(Arc::clone(context));
    let carried = channels.iter().filter(|channel| channel.outgoing().is_some()).map(|channel| channel.name().to_owned());
    let door = Door {
        inbox: Arc::new(context.partitions.clone()) as Arc<dyn Inbox>,
        bodies: context.bodies.clone(),
        carried: carried.collect(),
    };
    for channel in channels {
        router = router.merge(channel.routes(&format!("/webhooks/{}", channel.name()), door.clone()));
    }
    let router = router.fallback(not_found).method_not_allowed_fallback(not_allowed);
    match cors::layer(&context.api.cors) {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

/// What the original's web server says.
async fn not_found(uri: Uri, headers: HeaderMap) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("Requested URL {} not found", uri.path()), &headers)
}

/// The same; the header `Allow` comes from the route.
async fn not_allowed(method: Method, uri: Uri, headers: HeaderMap) -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("Method {method} not allowed for URL {}", uri.path()), &headers)
}
