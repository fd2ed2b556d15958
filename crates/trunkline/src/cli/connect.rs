//! Whether brokers and sources can be reached as the files say: all of them for `check --connect`, one for `export`.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use trunkline_core::Broker;
use trunkline_gateway::Plan;

use super::gist::shortened;

/// The longest that one of them may take: a child process has 20 s to say hello, and 10 s to answer.
const LIMIT: Duration = Duration::from_secs(35);

/// What became of one connection.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Connection {
    /// `broker` or `source`.
    role: &'static str,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    ok: bool,
    /// Why it failed.
    reason: Option<String>,
}

impl Connection {
    pub(super) fn is_ok(&self) -> bool {
        self.ok
    }

    /// `broker kitchen (file)  ok`
    pub(super) fn line(&self) -> String {
        let Self { role, name, kind, reason, .. } = self;
        format!("{role:<9}  {name} ({kind}): {}", shortened(reason.as_deref().unwrap_or("ok"), usize::MAX))
    }
}

/// Connects to every broker and every source, all at the same time.
pub(super) async fn connect(plan: &Plan) -> Vec<Connection> {
    let end = Instant::now() + LIMIT;
    let brokers = plan.brokers.iter().map(|plan| async move {
        let result = answer(end, plan.broker.is_ready()).await;
        let _ = timeout_at(end, plan.broker.close()).await;
        connection("broker", plan.subscription.name.clone(), plan.kind, result)
    });
    let sources = plan.sources.iter().map(|plan| async move {
        let result = answer(end, plan.source.is_ready()).await;
        connection("source", plan.name.clone(), plan.kind, result)
    });
    let (mut connections, sources) = tokio::join!(join_all(brokers), join_all(sources));
    connections.extend(sources);
    connections
}

/// Whether a broker would take events.
pub(super) async fn is_ready(broker: &dyn Broker) -> Result<(), String> {
    answer(Instant::now() + LIMIT, broker.is_ready()).await
}

async fn answer(end: Instant, question: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout_at(end, question).await.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

fn connection(role: &'static str, name: String, kind: &'static str, result: Result<(), String>) -> Connection {
    Connection { role, name, kind, ok: result.is_ok(), reason: result.err() }
}
