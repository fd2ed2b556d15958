//! From the files of a project to the plan that the gateway runs on.
//!
//! Three files, all optional: Rasa's `endpoints.yml` and `credentials.yml` as they are, and `trunkline.yml` for what neither
//! has. Reading them opens nothing else and connects nowhere; every problem of every file is reported in one run.

mod credentials;
mod endpoints;
mod name;
mod project;
mod settings;
mod sources;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use trunkline_assistants::Plan as AssistantPlan;
use trunkline_channels::{BodyLimits, InputChannel};
use trunkline_config::Secret;
use trunkline_core::{Broker, Source};
use trunkline_delivery::Subscription;

pub(crate) use name::{ASSISTANT, listed, there_is_no};
pub use project::{Overrides, Project};
pub(crate) use sources::find_readable;

/// What the gateway runs on.
pub struct Plan {
    /// The directory of the project.
    pub directory: PathBuf,
    /// Where it listens, and how.
    pub server: ServerPlan,
    /// Rasa's HTTP API.
    pub api: ApiPlan,
    /// The journal.
    pub journal: JournalPlan,
    /// Who answers.
    pub assistant: AssistantPlan,
    /// A session ends so long after the last user message; zero: never.
    pub session_expiration: Duration,
    /// Where tracker events are published.
    pub brokers: Vec<BrokerPlan>,
    /// The names of brokers whose type nobody knows. As in Rasa the gateway runs without them; it removes nothing that they have
    /// not got yet.
    pub left_out: Vec<String>,
    /// Where people write.
    pub channels: Vec<Box<dyn InputChannel>>,
    /// Where tracker events are read from, beside what comes over HTTP.
    pub sources: Vec<SourcePlan>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("directory", &self.directory).field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// Where the gateway listens, and how.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    /// The address or host name. Default: `0.0.0.0`, as Rasa.
    pub interface: String,
    /// The port; 0 picks a free one. Default: 5005, as Rasa.
    pub port: u16,
    /// The bounds of request bodies.
    pub body: BodyLimits,
    /// Connections at the most; more wait to be accepted. Default: 4,096.
    pub max_connections: usize,
    /// How long a stop waits for what is under way. Default: 30 s.
    pub grace: Duration,
}

/// Rasa's HTTP API, and who may use it.
#[derive(Clone, Debug, Default)]
pub struct ApiPlan {
    /// Whether it is served at all.
    pub enabled: bool,
    /// Accepted as `?token=…`.
    pub token: Option<Secret>,
    /// Accepted as `Authorization: Bearer …`.
    pub jwt: Option<JwtPlan>,
    /// The origins that browsers may call from; `*` is any.
    pub cors: Vec<HeaderValue>,
}

/// How JSON Web Tokens are verified.
#[derive(Clone)]
pub struct JwtPlan {
    /// The algorithm, the only one accepted.
    pub algorithm: jsonwebtoken::Algorithm,
    /// The shared secret, or the public key in PEM.
    pub key: jsonwebtoken::DecodingKey,
}

impl fmt::Debug for JwtPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtPlan").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Where the journal lies, and how it is kept.
#[derive(Clone, Debug)]
pub struct JournalPlan {
    /// Its directory. Default: `.trunkline` in the project.
    pub directory: PathBuf,
    /// How it is kept.
    pub options: trunkline_journal::Options,
}

/// One broker.
#[derive(Clone)]
pub struct BrokerPlan {
    /// Its type.
    pub kind: &'static str,
    /// Which events it gets, and how. Its name is that of the broker: given, or its type.
    pub subscription: Subscription,
    /// The broker.
    pub broker: Arc<dyn Broker>,
}

impl BrokerPlan {
    /// Whether it writes where `source` reads, without the ids by which its events would be known.
    pub(crate) fn feeds(&self, source: &dyn Source) -> bool {
        self.broker.writes_without_ids_to().is_some_and(|place| place == source.place())
    }
}

impl fmt::Debug for BrokerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerPlan").field("kind", &self.kind).field("subscription", &self.subscription).finish_non_exhaustive()
    }
}

/// One source.
#[derive(Clone)]
pub struct SourcePlan {
    /// Its name: given, or its type. What was read is remembered under it.
    pub name: String,
    /// Its type.
    pub kind: &'static str,
    /// The source.
    pub source: Arc<dyn Source>,
}

impl fmt::Debug for SourcePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePlan").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
