//! A cluster, and the way into it: what every client of ours is made from.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::client::Context;
use crate::detached::Detached;
use crate::oauth::Token;
use crate::reasons::Report;
use crate::trust;

/// How long connecting and finding the topic may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server that creates topics gets for it, and how often it is asked meanwhile.
const CREATE: Duration = Duration::from_secs(5);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Where the brokers are and how to get in. Its `Debug` leaves the password out.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// `host:port` of each, with commas between them.
    pub(crate) servers: Arc<str>,
    pub(crate) config: ClientConfig,
    pub(crate) access: Access,
}

/// What is needed to get in besides properties of librdkafka.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// The files that are named, each with its option.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
    /// Where the token for OAUTHBEARER comes from.
    pub(crate) token: Option<Token>,
}

/// A client that can produce.
pub(crate) type Client = Detached<ThreadedProducer<Context>>;

/// What a server says about a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// It has so many partitions, at least one.
    Partitions(u32),
    Missing,
}

impl Cluster {
    /// Makes a client, which begins to connect. It can produce, and serves its own events.
    pub(crate) async fn client(&self) -> Result<Arc<Client>, String> {
        Ok(Arc::new(Detached::new(self.create(|_| Ok(())).await?)))
    }

    /// Makes a client of any kind, and does with it what may block.
    pub(crate) async fn create<T>(&self, prepare: impl FnOnce(&T) -> KafkaResult<()> + Send + 'static) -> Result<T, String>
    where
        T: FromClientConfigAndContext<Context> + Send + 'static,
    {
        let (cluster, runtime) = (self.clone(), Handle::current());
        let made = tokio::task::spawn_blocking(move || {
            cluster.check_files()?;
            let context = Context::new(Arc::clone(&cluster.servers), cluster.access.token.clone());
            // A consumer starts a task of its own.
            let _runtime = runtime.enter();
            let client = cluster.config.create_with_context(context);
            client.and_then(|client| prepare(&client).map(|()| client)).map_err(|error| cluster.refused(&error))
        });
        made.await.map_err(|error| format!("the work was cut short: {error}")).flatten()
    }

    /// Opens every file that is named: librdkafka's own message would not say which option is at fault.
    fn check_files(&self) -> Result<(), String> {
        self.access.files.iter().try_for_each(|(option, path)| {
            File::open(path).map(drop).map_err(|error| format!("cannot read the `{option}` `{}`: {error}", path.display()))
        })
    }

    /// Why librdkafka makes no client of the configuration. It may quote a value, which may be a password.
    fn refused(&self, error: &KafkaError) -> String {
        match error {
            KafkaError::ClientConfig(_, reason, property, _) => format!("librdkafka refuses its property `{property}`: {reason}"),
            KafkaError::ClientCreation(reason) => Report::new(reason).sentence(&self.servers),
            error => Report::new(&error.to_string()).sentence(&self.servers),
        }
    }

    /// Connects, and asks for a topic. With `may_create` a server that creates topics on demand creates it.
    pub(crate) async fn find_topic(&self, client: &Arc<Client>, topic: &str, may_create: bool) -> Result<Topic, String> {
        let begin = Instant::now();
        loop {
            let left = CONNECT.saturating_sub(begin.elapsed());
            let (connected, name) = (Arc::clone(client), topic.to_owned());
            let answer = tokio::select! {
                answer = on_a_thread(move || partitions(&connected, &name, left)) => answer?,
                refusal = client.context().refused() => return Err(self.refusal(&refusal).await),
            };
            match answer {
                Ok(count) => return Ok(Topic::Partitions(count)),
                Err(code) if is_missing(code) && may_create && begin.elapsed() < CREATE => tokio::time::sleep(ASK_AGAIN).await,
                Err(code) if is_missing(code) => return Ok(Topic::Missing),
                Err(code) => {
                    let report = client.context().last_report(begin);
                    return Err(self.explain(topic, code, report.as_deref()));
                }
            }
        }
    }

    /// Why no broker lets us in.
    async fn refusal(&self, report: &str) -> String {
        let report = Report::new(report);
        if let Some(address) = report.broker.filter(|_| report.is_about_trust()) {
            let (address, config) = (address.to_owned(), self.config.clone());
            if let Ok(Some(reason)) = tokio::task::spawn_blocking(move || trust::why_not(&address, &config)).await {
                return reason;
            }
        }
        report.sentence(&self.servers)
    }

    /// Whether the brokers let us in and have the topic, or would create it. Creates nothing.
    pub(crate) async fn probe(&self, topic: &str) -> Result<(), String> {
        let mut cluster = self.clone();
        // Otherwise the question itself would create it.
        cluster.config.set("allow.auto.create.topics", "false");
        let client = cluster.client().await?;
        match cluster.find_topic(&client, topic, false).await? {
            Topic::Missing if cluster.creates_topics(&client).await == Some(false) => Err(self.missing_topic(topic)),
            Topic::Missing | Topic::Partitions(_) => Ok(()),
        }
    }

    /// Whether the server creates topics on demand; `None` when it does not tell us.
    async fn creates_topics(&self, client: &Arc<Client>) -> Option<bool> {
        // The client for such questions does not serve the event that asks for a token.
        if self.access.token.is_some() {
            return None;
        }
        let asker = Arc::clone(client);
        let metadata = on_a_thread(move || asker.client().fetch_metadata(Some("-"), CREATE)).await.ok()?.ok()?;
        let broker = ResourceSpecifier::Broker(metadata.brokers().first()?.id());
        let admin: Detached<AdminClient<Context>> = Detached::new(self.create(|_| Ok(())).await.ok()?);
        let options = AdminOptions::new().request_timeout(Some(CREATE));
        let answers = admin.describe_configs([&broker], &options).await.ok()?;
        let answer = answers.into_iter().next()?.ok()?;
        answer.get("auto.create.topics.enable")?.value.as_deref()?.parse().ok()
    }

    /// A sentence for an error with `topic`; for errors that only say that time ran out, from the latest report.
    pub(crate) fn explain(&self, topic: &str, code: RDKafkaErrorCode, report: Option<&str>) -> String {
        let servers = &self.servers;
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed => {
                format!("Kafka at {servers} does not let this user use the topic `{topic}`; give the user rights to it (ACL)")
            }
            RDKafkaErrorCode::GroupAuthorizationFailed => {
                format!(
                    "Kafka at {servers} does not let this user read as a member of the group; give the user `Read` on the group (ACL)"
                )
            }
            RDKafkaErrorCode::ClusterAuthorizationFailed => format!(
                "Kafka at {servers} does not let this user produce idempotently; give the user `Write` on the topic `{topic}` (ACL), \
                 and before Kafka 2.8 `IdempotentWrite` on the cluster"
            ),
            RDKafkaErrorCode::InvalidRecord => format!(
                "Kafka at {servers} found a message for the topic `{topic}` invalid; a topic that is compacted needs `partition_by_sender: true`"
            ),
            code if is_missing(code) => self.missing_topic(topic),
            code => Report::new(report.unwrap_or(&code.to_string())).sentence(servers),
        }
    }

    pub(crate) fn missing_topic(&self, topic: &str) -> String {
        format!(
            "Kafka at {} has no topic `{topic}` and does not create it by itself; create it, as with `kafka-topics.sh --create --topic {topic}`",
            self.servers
        )
    }
}

/// Asks a question that blocks until it is answered or its time is up. Not one of the threads of the runtime, which waits for
/// those before it ends.
async fn on_a_thread<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let (sender, answer) = oneshot::channel();
    let thread = std::thread::Builder::new().name("kafka".to_owned()).spawn(move || drop(sender.send(ask())));
    thread.map_err(|error| format!("a thread could not be started: {error}"))?;
    answer.await.map_err(|_| "a thread of the Kafka client panicked".to_owned())
}

/// How many partitions a topic has, at least one.
fn partitions(client: &Client, topic: &str, within: Duration) -> Result<u32, RDKafkaErrorCode> {
    let metadata = client.client().fetch_metadata(Some(topic), within);
    let metadata = metadata.map_err(|error| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic).ok_or(RDKafkaErrorCode::UnknownTopic)?;
    match (found.error(), u32::try_from(found.partitions().len())) {
        (Some(error), _) => Err(error.into()),
        (None, Ok(count @ 1..)) => Ok(count),
        (None, _) => Err(RDKafkaErrorCode::UnknownTopic),
    }
}

/// Whether a topic is not there, or not there yet.
pub(crate) fn is_missing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, UnknownPartition, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, UnknownTopicOrPartition | UnknownTopic | UnknownPartition | LeaderNotAvailable)
}
