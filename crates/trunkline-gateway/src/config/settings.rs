//! `trunkline.yml`: what Rasa's files have no place for.

use std::path::Path;

use axum::http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey};
use trunkline_channels::BodyLimits;
use trunkline_config::{Secret, Section, TimeUnit};
use trunkline_journal::{Options, Retention};

use super::endpoints::EventBrokers;
use super::{Overrides, sources};
use crate::{Adapters, ApiPlan, JournalPlan, JwtPlan, Plan, ServerPlan};

const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
];

/// The plan but for its channels.
pub(super) fn plan(
    root: &Section<'_>,
    directory: &Path,
    overrides: &Overrides,
    adapters: &Adapters,
    event_brokers: EventBrokers,
) -> Option<Plan> {
    let server = root.section_or_empty("server", |section| server(section, overrides));
    let api = root.section_or_empty("api", |section| api(section, overrides));
    let journal = root.section_or_empty("journal", |section| journal(section, directory));
    let assistant = root
        .section_or_empty("assistant", |section| trunkline_assistants::from_section(section, directory, &adapters.assistants));
    let session_expiration = root.duration("session_expiration_time", TimeUnit::Minutes);
    let EventBrokers { plans, left_out } = event_brokers;
    let sources = sources::sources(root, directory, adapters, &plans);
    Some(Plan {
        directory: directory.to_owned(),
        server,
        api,
        journal,
        assistant: assistant?,
        session_expiration: session_expiration.unwrap_or(Plan::SESSION_EXPIRATION),
        brokers: plans,
        left_out,
        channels: Vec::new(),
        sources,
    })
}

fn server(section: &Section<'_>, overrides: &Overrides) -> ServerPlan {
    let (interface, port) = (section.string("interface"), section.port("port"));
    let ServerPlan { interface: any, port: usual, body, max_connections, grace } = ServerPlan::default();
    ServerPlan {
        interface: overrides.interface.clone().or(interface).unwrap_or(any),
        port: overrides.port.or(port).unwrap_or(usual),
        body: BodyLimits {
            bytes: section.bytes("max_body").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(body.bytes),
            time: section.duration("body_timeout", TimeUnit::Seconds).unwrap_or(body.time),
        },
        max_connections: section.integer("max_connections", 1..=1_000_000).unwrap_or(max_connections),
        grace: section.duration("shutdown_grace", TimeUnit::Seconds).unwrap_or(grace),
    }
}

fn api(section: &Section<'_>, overrides: &Overrides) -> ApiPlan {
    let (enabled, token) = (section.boolean("enabled"), section.secret("auth_token"));
    let (secret, method) = (section.secret("jwt_secret"), section.string("jwt_method"));
    let cors = section.strings("cors").unwrap_or_default();
    let secret = overrides.jwt_secret.clone().map(Secret::new).or(secret);
    let method = overrides.jwt_method.clone().or(method).unwrap_or_else(|| "HS256".to_owned());
    let origins = if overrides.cors.is_empty() { &cors } else { &overrides.cors };
    ApiPlan {
        enabled: overrides.enable_api || enabled.unwrap_or(false),
        token: overrides.token().or(token),
        jwt: secret.and_then(|secret| jwt(section, &secret, &method)),
        cors: origins.iter().filter_map(|origin| origin_header(section, origin)).collect(),
    }
}

fn jwt(section: &Section<'_>, secret: &Secret, method: &str) -> Option<JwtPlan> {
    let names: Vec<_> = ALGORITHMS.iter().map(|(name, _)| *name).collect();
    let Some((_, algorithm)) = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(method)) else {
        section.error("jwt_method", format!("`{method}` is no known algorithm; known: {}", names.join(", ")), None);
        return None;
    };
    let text = secret.expose().as_bytes();
    let key = match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => Ok(DecodingKey::from_secret(text)),
        Algorithm::ES256 | Algorithm::ES384 => DecodingKey::from_ec_pem(text),
        _ => DecodingKey::from_rsa_pem(text),
    };
    match key {
        Ok(key) => Some(JwtPlan { algorithm: *algorithm, key }),
        Err(error) => {
            section.error("jwt_secret", format!("with {method} it must be a public key in PEM: {error}"), None);
            None
        }
    }
}

fn origin_header(section: &Section<'_>, origin: &str) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(origin).ok();
    if value.is_none() {
        section.error("cors", format!("`{origin}` is no origin"), Some("an origin looks like https://example.com"));
    }
    value
}

fn journal(section: &Section<'_>, directory: &Path) -> JournalPlan {
    let (options, retention) = (Options::default(), Retention::default());
    let bytes = |key, default: usize| section.bytes(key).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default);
    let place = section.string("directory").unwrap_or_else(|| JournalPlan::DIRECTORY.to_owned());
    JournalPlan {
        directory: directory.join(place),
        options: Options {
            deduplication_window: section
                .duration("deduplication_window", TimeUnit::Seconds)
                .unwrap_or(options.deduplication_window),
            deduplication_events: section
                .integer("deduplication_events", 1..=1_000_000_000_u64)
                .unwrap_or(options.deduplication_events),
            recent_bytes: bytes("recent_memory", options.recent_bytes),
            queue_bytes: bytes("queue_memory", options.queue_bytes),
            retention: Retention {
                max_age: section.duration("max_age", TimeUnit::Seconds),
                max_bytes: section.bytes("max_size").unwrap_or(retention.max_bytes),
                past_subscriptions: section.boolean("past_subscriptions").unwrap_or(false),
            },
            clock: options.clock,
        },
    }
}
