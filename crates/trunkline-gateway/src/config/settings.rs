//! `trunkline.yml`: what Rasa's files have no place for.

use std::path::Path;

use axum::http::HeaderValue;
use trunkline_channels::BodyLimits;
use trunkline_config::{Section, TimeUnit};
use trunkline_journal::{Options, Retention};

use super::endpoints::EventBrokers;
use super::{Overrides, access, sources};
use crate::{Adapters, ApiPlan, JournalPlan, Plan, ServerPlan};

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
    let enabled = section.boolean("enabled");
    let cors = section.strings("cors").unwrap_or_default();
    let origins = if overrides.cors.is_empty() { &cors } else { &overrides.cors };
    ApiPlan {
        enabled: overrides.enable_api || enabled.unwrap_or(false),
        token: access::token(section, overrides),
        jwt: access::jwt(section, overrides),
        cors: origins.iter().filter_map(|origin| origin_header(section, origin)).collect(),
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
