//! What `check --connect` finds out: whether brokers and sources can be reached as the files say.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::timeout;

use super::gist::shortened;
use crate::config::Plan;

/// The longest that one of them may take.
const LIMIT: Duration = Duration::from_secs(15);

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
    let brokers = plan.brokers.iter().map(|plan| async {
        let reason = within_limit(plan.broker.is_ready()).await;
        let _ = timeout(LIMIT, plan.broker.close()).await;
        connection("broker", plan.subscription.name.clone(), plan.kind, reason)
    });
    let sources = plan.sources.iter().map(|plan| async {
        let reason = within_limit(plan.source.is_ready()).await;
        connection("source", plan.name.clone(), plan.kind, reason)
    });
    let (mut connections, sources) = tokio::join!(join_all(brokers), join_all(sources));
    connections.extend(sources);
    connections
}

async fn within_limit(attempt: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(LIMIT, attempt).await.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

fn connection(role: &'static str, name: String, kind: &'static str, result: Result<(), String>) -> Connection {
    Connection { role, name, kind, ok: result.is_ok(), reason: result.err() }
}
