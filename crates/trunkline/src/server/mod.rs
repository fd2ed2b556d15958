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
use trunkline_channels::{Bodies, Inbox, InputChannel, Problem};
use trunkline_config::Secret;
use trunkline_delivery::Delivery;
use trunkline_journal::Journal;

pub(crate) use listen::Listener;
pub(crate) use metrics::RequestLatency;

use crate::config::ApiPlan;
use crate::conversation::{Channels, Conversations};
use crate::sources::Running;

/// What the routes work with, in one piece, because every request takes a copy.
pub(crate) type Shared = Arc<Context>;

pub(crate) struct Context {
    pub(crate) journal: Journal,
    pub(crate) conversations: Arc<Conversations>,
    pub(crate) channels: Arc<Channels>,
    pub(crate) deliveries: Arc<Vec<Delivery>>,
    pub(crate) sources: Arc<Vec<Running>>,
    pub(crate) api: ApiPlan,
    /// Lets the commands of the same user on the same machine in.
    pub(crate) control_token: Secret,
    pub(crate) bodies: Bodies,
    pub(crate) registry: Mutex<Registry>,
    /// Cancelled when the gateway is about to stop.
    pub(crate) draining: CancellationToken,
}

/// All routes.
pub(crate) fn routes(context: &Shared, channels: &[Box<dyn InputChannel>]) -> Router {
    let mut router = Router::new().merge(probes::routes()).merge(rasa::root()).nest("/api", admin::routes());
    if context.api.enabled {
        router = router.merge(rasa::api()).merge(events::routes());
    }
    let mut router = router.with_state(Arc::clone(context));
    let inbox = Arc::clone(&context.conversations) as Arc<dyn Inbox>;
    for channel in channels {
        let mount = format!("/webhooks/{}", channel.name());
        router = router.merge(channel.routes(&mount, Arc::clone(&inbox), context.bodies.clone()));
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
