//! The whole: journal, subscriptions, channels and server, from start to stop.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trunkline_channels::Bodies;
use trunkline_config::Secret;
use trunkline_delivery::{
    BatchLimits, Delivery, Filter, LaneMode, Metrics, Receiver, RegisterError, Retry, Shutdown, Start, Subscription,
};
use trunkline_journal::{Journal, OpenError, Unavailable};

use crate::config::{ASSISTANT, BrokerPlan, Plan, SourcePlan};
use crate::conversation::{Answering, Channels, Conversations, Turns};
use crate::server::{self, Context, Listener, RequestLatency};
use crate::sources::{self, Running};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    journal: Journal,
    directory: PathBuf,
    deliveries: Arc<Vec<Delivery>>,
    sources: Arc<Vec<Running>>,
    server: JoinHandle<()>,
    grace: Duration,
    /// Stops accepting requests and reading sources.
    stop_serving: CancellationToken,
    shutdown: Shutdown,
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The journal could not be written.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A subscription could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A source and a broker make a circle.
    #[error("source `{source_name}` reads the file that broker `{broker}` writes; every event would be appended again, for ever")]
    Circle {
        /// The name of the source.
        source_name: String,
        /// The name of the broker.
        broker: String,
    },
    /// The port.
    #[error("cannot listen on {interface}:{port}: {source}{}", if source.kind() == io::ErrorKind::AddrInUse { "; another program has the port, choose one with --port" } else { "" })]
    Listen {
        /// The interface.
        interface: String,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The file by which commands find the gateway.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// How a gateway stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Everything under way was finished.
    Drained,
    /// It was forced, or the time of grace was over.
    Forced,
}

impl Gateway {
    /// Opens the journal, starts the subscriptions, and listens.
    pub async fn start(plan: Plan) -> Result<Self, StartError> {
        let Plan { server, journal, assistant, brokers, left_out, channels, api, session_expiration, sources, .. } = plan;
        refuse_circles(&brokers, &sources)?;
        let listen_error = |source| StartError::Listen { interface: server.interface.clone(), port: server.port, source };
        let listener = Listener::bind(&server).await.map_err(listen_error)?;
        let address = listener.address().map_err(listen_error)?;

        // Opening reads and writes files, and may make the index anew.
        let directory = journal.directory.clone();
        let opened = tokio::task::spawn_blocking(move || Journal::open(&journal.directory, journal.options)).await;
        let journal = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let mut registry = Registry::with_prefix("trunkline");
        journal.register_metrics(&mut registry);
        let metrics = Metrics::default();
        metrics.register(&mut registry);

        let (shutdown, turns) = (Shutdown::default(), Arc::new(Turns::default()));
        let recording = assistant.assistant.recording();
        let known_channels = Arc::new(Channels::new(journal.clone()));
        let conversations =
            Conversations::new(journal.clone(), Arc::clone(&known_channels), recording, Arc::clone(&turns), session_expiration);
        let names = brokers.iter().map(|broker| broker.subscription.name.clone()).chain([ASSISTANT.to_owned()]);
        journal.keep_active(names.chain(left_out).collect()).await?;
        let mut receivers: Vec<(Subscription, Arc<dyn Receiver>)> = Vec::with_capacity(brokers.len() + 1);
        let answering = Answering::new(journal.clone(), &assistant, Arc::clone(&turns));
        receivers.push((answering_subscription(&assistant), Arc::new(answering)));
        for BrokerPlan { subscription, broker, .. } in brokers {
            receivers.push((subscription, Arc::new(broker)));
        }
        // All before any: the first to start may append already, and a new one must not miss that.
        for (subscription, _) in &receivers {
            subscription.register(&journal).await?;
        }
        let deliveries = receivers.into_iter().map(|(subscription, receiver)| {
            trunkline_delivery::start(&journal, subscription, receiver, &metrics, shutdown.clone())
        });
        let deliveries: Arc<Vec<_>> = Arc::new(deliveries.collect());

        let control = Control::new(address);
        control.write(&directory)?;
        let stop_serving = CancellationToken::new();
        let source_metrics = sources::Metrics::default();
        source_metrics.register(&mut registry);
        let sources = sources
            .into_iter()
            .map(|plan| sources::start(plan, &journal, &known_channels, &source_metrics, stop_serving.clone()));
        let sources: Arc<Vec<_>> = Arc::new(sources.collect());
        let context = Arc::new(Context {
            journal: journal.clone(),
            conversations: Arc::new(conversations),
            channels: known_channels,
            deliveries: Arc::clone(&deliveries),
            sources: Arc::clone(&sources),
            api,
            control_token: Secret::new(control.token),
            bodies: Bodies::new(server.body),
            registry: Mutex::new(registry),
            draining: stop_serving.clone(),
        });
        let routes = server::routes(&context, &channels);
        let latency = RequestLatency::register(&context.registry);
        let server_task = tokio::spawn(listener.serve(routes, latency, stop_serving.clone()));
        Ok(Self {
            address,
            journal,
            directory,
            deliveries,
            sources,
            server: server_task,
            grace: server.grace,
            stop_serving,
            shutdown,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Stops: no new requests and no more from sources, what is under way is answered and settled, the subscriptions finish what they have begun, the journal is
    /// closed. When `force` resolves, or the time of grace is over, it ends at once; what is acknowledged is safe all the same.
    pub async fn stop(self, force: impl Future<Output = ()>) -> Stopped {
        let Self { journal, directory, deliveries, sources, server, grace, stop_serving, shutdown, .. } = self;
        stop_serving.cancel();
        let drained = async {
            let _ = server.await;
            for source in sources.iter() {
                source.ended().await;
            }
            shutdown.drain.cancel();
            for delivery in deliveries.iter() {
                delivery.ended().await;
            }
        };
        let stopped = tokio::select! {
            () = drained => Stopped::Drained,
            () = force => Stopped::Forced,
            () = tokio::time::sleep(grace) => {
                tracing::error!(seconds = grace.as_secs(), "Stopping took too long and is forced");
                Stopped::Forced
            }
        };
        shutdown.force.cancel();
        journal.close().await;
        Control::remove(&directory);
        stopped
    }
}

/// The plan has compared the places; two names of one file look different, and only the file itself tells.
fn refuse_circles(brokers: &[BrokerPlan], sources: &[SourcePlan]) -> Result<(), StartError> {
    for SourcePlan { name, source, .. } in sources {
        let Some(read) = file_at(&source.place()) else { continue };
        let written = |plan: &BrokerPlan| file_at(&plan.broker.writes_without_ids_to()?);
        if let Some(plan) = brokers.iter().find(|plan| written(plan) == Some(read)) {
            return Err(StartError::Circle { source_name: name.clone(), broker: plan.subscription.name.clone() });
        }
    }
    Ok(())
}

/// Device and inode of a place that is a file; `None` when it is none, or not there yet.
fn file_at(place: &str) -> Option<(u64, u64)> {
    let metadata = fs::metadata(place.strip_prefix("file ")?).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Every conversation in a lane of its own, so that a slow answer holds up nobody else.
fn answering_subscription(plan: &trunkline_assistants::Plan) -> Subscription {
    Subscription {
        lanes: LaneMode::Conversations,
        concurrency: plan.concurrency,
        batch: BatchLimits { events: 1, ..BatchLimits::default() },
        // The time limit of a turn is kept inside it; this one is for what comes around it.
        retry: Retry { timeout: plan.timeout + Duration::from_mins(1), ..Retry::default() },
        start: Start::Now,
        most_unsettled: 50_000,
        ..Subscription::new(ASSISTANT, Filter::wanting_answers())
    }
}

/// How the commands on the same machine reach a running gateway: `gateway.json` beside the journal, readable by its user only.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    pub(crate) pid: u32,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Control {
    const FILE: &str = "gateway.json";

    fn new(address: SocketAddr) -> Self {
        Self { pid: std::process::id(), address, token: uuid::Uuid::new_v4().simple().to_string() }
    }

    fn write(&self, directory: &Path) -> Result<(), StartError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;

        let path = directory.join(Self::FILE);
        let _ = fs::remove_file(&path);
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(serde_json::to_string(self)?.as_bytes()));
        written.map_err(|source| StartError::File { path, source })
    }

    fn remove(directory: &Path) {
        let _ = fs::remove_file(directory.join(Self::FILE));
    }

    /// The gateway that runs on the journal in `directory`, if one does.
    pub(crate) fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join(Self::FILE)).ok()?;
        serde_json::from_str(&text).ok()
    }
}
