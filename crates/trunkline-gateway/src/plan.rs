//! The plan that a gateway runs on: read from the files of a project, or made in code.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use trunkline_adapter::Concurrency;
use trunkline_assistants::AssistantPlan;
use trunkline_channels::{BodyLimits, Channel, Rest};
use trunkline_config::Secret;
use trunkline_core::{Broker, Source};
use trunkline_delivery::{Filter, LaneMode, Start, Subscription};

/// What a gateway runs on.
#[derive(Clone)]
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
    pub channels: Vec<Arc<dyn Channel>>,
    /// Where tracker events are read from, beside what comes over HTTP.
    pub sources: Vec<SourcePlan>,
}

impl Plan {
    /// What a project without any file means: the channel `rest`, an echo that answers, and a journal in `.trunkline` below
    /// `directory`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self {
            journal: JournalPlan {
                directory: directory.join(JournalPlan::DIRECTORY),
                options: trunkline_journal::Options::default(),
            },
            directory,
            server: ServerPlan::default(),
            api: ApiPlan::default(),
            assistant: AssistantPlan::default(),
            session_expiration: Self::SESSION_EXPIRATION,
            brokers: Vec::new(),
            left_out: Vec::new(),
            channels: vec![Arc::new(Rest)],
            sources: Vec::new(),
        }
    }

    /// How long after the last user message a session ends when nothing is said about it: an hour, as in Rasa.
    pub const SESSION_EXPIRATION: Duration = Duration::from_hours(1);

    /// The same with one broker more.
    #[must_use]
    pub fn with_broker(mut self, broker: BrokerPlan) -> Self {
        self.brokers.push(broker);
        self
    }
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

impl Default for ServerPlan {
    fn default() -> Self {
        Self {
            interface: "0.0.0.0".to_owned(),
            port: 5005,
            body: BodyLimits::default(),
            max_connections: 4_096,
            grace: Duration::from_secs(30),
        }
    }
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

impl JournalPlan {
    /// The directory of the journal in that of the project.
    pub(crate) const DIRECTORY: &str = ".trunkline";
}

/// One broker.
#[derive(Clone)]
pub struct BrokerPlan {
    /// Its type, for a person.
    pub kind: &'static str,
    /// Which events it gets, and how. Its name is that of the broker.
    pub subscription: Subscription,
    /// The broker.
    pub broker: Arc<dyn Broker>,
}

impl BrokerPlan {
    /// A broker that gets all tracker events from now on. Its cursor is stored under `name`.
    pub fn new(name: impl Into<String>, kind: &'static str, concurrency: Concurrency, broker: Arc<dyn Broker>) -> Self {
        let subscription = Subscription { start: Start::Now, ..Subscription::new(name, Filter::published()) };
        Self { kind, subscription: with_concurrency(subscription, concurrency), broker }
    }

    /// Whether it writes where `source` reads, without the ids by which its events would be known.
    pub(crate) fn feeds(&self, source: &dyn Source) -> bool {
        self.broker.writes_without_ids_to().is_some_and(|place| place == source.place())
    }
}

/// The same subscription, for a broker that takes so many batches side by side.
pub(crate) fn with_concurrency(subscription: Subscription, concurrency: Concurrency) -> Subscription {
    let lanes = match concurrency {
        Concurrency::StoresCursor => return Subscription { lanes: LaneMode::One, concurrency: 1, ..subscription },
        Concurrency::OneAtATime => 1,
        Concurrency::Lanes(lanes) => lanes,
    };
    Subscription { lanes: LaneMode::Conversations, concurrency: lanes as usize, ..subscription }
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
    /// Its type, for a person.
    pub kind: &'static str,
    /// The source.
    pub source: Arc<dyn Source>,
}

impl fmt::Debug for SourcePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourcePlan").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
