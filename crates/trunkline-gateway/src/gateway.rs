//! The whole: partitions, deliveries, sources, channels and server, from start to stop.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trunkline_assistants::AssistantPlan;
use trunkline_channels::{Bodies, Channel};
use trunkline_config::Secret;
use trunkline_conversation::sources::{self, RunningSource};
use trunkline_conversation::{Answering, Partition, Partitions};
use trunkline_core::Receiver;
use trunkline_delivery::{BatchLimits, Filter, LaneMode, Metrics, Retry, Shutdown, Start, Subscription};
use trunkline_journal::{Appender, Journal, OpenError};

use crate::config::ASSISTANT;
use crate::control::Control;
use crate::server::{self, Context, Listener, RequestLatency};
use crate::{BrokerPlan, Contradiction, Plan, SourcePlan, contradiction};

/// How many batches of replies a channel carries at the same time, each of other conversations.
const CARRIED_AT_ONCE: usize = 8;

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    partitions: Partitions,
    /// The file by which commands find it.
    control_path: Option<PathBuf>,
    sources: Arc<[RunningSource]>,
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
    /// What delivers events.
    #[error(transparent)]
    Delivery(#[from] trunkline_conversation::StartError),
    /// The plan.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
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
    /// Opens the journal of `plan`, starts what delivers its events, and listens.
    pub async fn start(plan: Plan) -> Result<Self, StartError> {
        contradiction::check(&plan)?;
        let listener = listen(&plan).await?;
        let (directory, options) = (plan.journal.directory.clone(), plan.journal.options.clone());
        // Opening reads and writes files, and may make the index anew.
        let opened = tokio::task::spawn_blocking(move || Journal::open(&directory, options)).await;
        let (_, appender) = opened.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let control_path = Some(Control::path(&plan.journal.directory));
        Self::run(plan, listener, appender, control_path).await
    }

    /// The same on a journal that is open already. The commands of this machine do not find it.
    pub async fn start_on(plan: Plan, appender: Appender) -> Result<Self, StartError> {
        contradiction::check(&plan)?;
        let listener = listen(&plan).await?;
        Self::run(plan, listener, appender, None).await
    }

    async fn run(plan: Plan, listener: Listener, appender: Appender, control_path: Option<PathBuf>) -> Result<Self, StartError> {
        let Plan { server, assistant, brokers, left_out, channels, api, session_expiration, sources, .. } = plan;
        let address = listener.address().map_err(|source| listen_error(&server, source))?;
        let mut registry = Registry::with_prefix("trunkline");
        appender.journal().register_metrics(&mut registry);
        let (metrics, source_metrics) = (Metrics::default(), sources::Metrics::default());
        metrics.register(&mut registry);
        source_metrics.register(&mut registry);

        // Deliveries are not to run on when this fails.
        let control = Control::new(address);
        if let Some(path) = &control_path {
            control.write(path).map_err(|source| StartError::File { path: path.clone(), source })?;
        }

        let partition = Partition::new(appender, assistant.assistant.recording(), session_expiration);
        let receivers = receivers(&partition, &assistant, brokers, &channels);
        let shutdown = Shutdown::default();
        partition.start(receivers, left_out, &metrics, &shutdown).await?;
        let partitions = Partitions::one(partition);

        let stop_serving = CancellationToken::new();
        let sources = sources.into_iter().map(|SourcePlan { name, source, .. }| {
            sources::start(name, source, partitions.clone(), &source_metrics, stop_serving.clone())
        });
        let sources: Arc<[_]> = sources.collect();
        let context = Arc::new(Context {
            partitions: partitions.clone(),
            sources: Arc::clone(&sources),
            api,
            control_token: Secret::new(control.token),
            bodies: Bodies::new(server.body),
            registry: Mutex::new(registry),
            draining: stop_serving.clone(),
        });
        let routes = server::routes(&context, &channels);
        let latency = RequestLatency::register(&context.registry);
        let grace = server.grace;
        let server = tokio::spawn(listener.serve(routes, latency, stop_serving.clone()));
        Ok(Self { address, partitions, control_path, sources, server, grace, stop_serving, shutdown })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its partitions, with their journals.
    pub fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Stops: no new requests and no more from sources, what is under way is answered and settled, the subscriptions finish what they
    /// have begun, the journal is closed. When `force` resolves, or the time of grace is over, it ends at once; what is acknowledged is
    /// safe all the same.
    pub async fn stop(self, force: impl Future<Output = ()>) -> Stopped {
        let Self { partitions, control_path, sources, server, grace, stop_serving, shutdown, .. } = self;
        stop_serving.cancel();
        let drained = async {
            let _ = server.await;
            for source in sources.iter() {
                source.ended().await;
            }
            shutdown.drain.cancel();
            for delivery in partitions.all().flat_map(|partition| partition.deliveries()) {
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
        for partition in partitions.all() {
            partition.journal().close().await;
        }
        if let Some(path) = control_path {
            let _ = fs::remove_file(path);
        }
        stopped
    }
}

async fn listen(plan: &Plan) -> Result<Listener, StartError> {
    Listener::bind(&plan.server).await.map_err(|source| listen_error(&plan.server, source))
}

fn listen_error(plan: &crate::ServerPlan, source: io::Error) -> StartError {
    StartError::Listen { interface: plan.interface.clone(), port: plan.port, source }
}

/// Who gets the events of a partition: the assistant its messages, the brokers all tracker events, the channels what they carry.
fn receivers(
    partition: &Arc<Partition>,
    assistant: &AssistantPlan,
    brokers: Vec<BrokerPlan>,
    channels: &[Arc<dyn Channel>],
) -> Vec<(Subscription, Arc<dyn Receiver>)> {
    let AssistantPlan { timeout, apology, .. } = assistant;
    let answering = Answering::new(Arc::clone(partition), Arc::clone(&assistant.assistant), *timeout, apology.clone());
    let mut receivers: Vec<(Subscription, Arc<dyn Receiver>)> = vec![(answering_subscription(assistant), Arc::new(answering))];
    for BrokerPlan { subscription, broker, .. } in brokers {
        receivers.push((subscription, Arc::new(broker)));
    }
    for channel in channels {
        receivers.extend(channel.outgoing().map(|receiver| (carrying_subscription(channel.name()), receiver)));
    }
    receivers
}

/// Every conversation in a lane of its own, so that a slow answer holds up nobody else.
fn answering_subscription(plan: &AssistantPlan) -> Subscription {
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

/// What a channel carries to people itself. Its name is none that a broker can have.
fn carrying_subscription(channel: &str) -> Subscription {
    Subscription {
        lanes: LaneMode::Conversations,
        // A request that takes long holds up its conversation, and not the next to be said something to.
        concurrency: CARRIED_AT_ONCE,
        // A reply can be several requests, one after another.
        retry: Retry { timeout: Duration::from_mins(2), ..Retry::default() },
        start: Start::Now,
        ..Subscription::new(format!("channel:{channel}"), Filter::answers_through(channel))
    }
}
