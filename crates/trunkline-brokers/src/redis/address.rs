//! Where the servers are, and how a connection is made.

use std::fmt;
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionInfo, Pipeline, RedisFuture, RedisResult, TlsCertificates,
    Value,
};
use tokio::time::timeout;
use trunkline_tls::{Pem, TlsFiles};

use super::error::explain;

/// The longest that connecting to a node may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that connecting may take in all: a cluster's client asks its nodes for each other.
const CONNECT_TIMEOUT_IN_ALL: Duration = Duration::from_secs(10);

/// The longest that an answer may take. The client's own default of half a second is too short for a server that forks.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be silent before the system asks the other side whether it is still there. Without an answer within
/// [`RESPONSE_TIMEOUT`] the connection ends.
const SILENCE: Duration = Duration::from_secs(10);

/// How often a cluster's client follows a slot that has moved, or waits for one, before it gives up. In ms.
const REDIRECTIONS: u32 = 3;
const LEAST_WAIT: u64 = 50;
const MOST_WAIT: u64 = 500;

/// Where the servers are.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// With credentials; `Debug` does not show the password.
    pub(super) nodes: Vec<ConnectionInfo>,
    pub(super) is_cluster: bool,
    pub(super) tls: TlsFiles,
    /// For a person, without secrets.
    pub(super) place: String,
}

impl Address {
    /// Connects. An answer that takes longer than `limit` is an error.
    pub(super) async fn connect(&self, limit: Duration) -> Result<Connection, String> {
        let certificates = certificates(&self.tls).await?;
        match timeout(CONNECT_TIMEOUT_IN_ALL, self.open(certificates, limit)).await {
            Ok(result) => result.map_err(|error| self.explain(&error)),
            Err(_) => Err(format!("{} gave no answer within {} s", self.place, CONNECT_TIMEOUT_IN_ALL.as_secs())),
        }
    }

    /// What an error means, for a person.
    pub(super) fn explain(&self, error: &redis::RedisError) -> String {
        explain(&self.place, self.is_cluster, error)
    }

    async fn open(&self, certificates: Option<TlsCertificates>, limit: Duration) -> RedisResult<Connection> {
        if self.is_cluster {
            let mut builder = ClusterClientBuilder::new(self.nodes.clone())
                .connection_timeout(CONNECT_TIMEOUT)
                .response_timeout(limit)
                .retries(REDIRECTIONS)
                .min_retry_wait(LEAST_WAIT)
                .max_retry_wait(MOST_WAIT)
                .tcp_settings(tcp_settings());
            if let Some(certificates) = certificates {
                builder = builder.certs(certificates);
            }
            return Ok(Connection::Cluster(builder.build()?.get_async_connection().await?));
        }
        let Some(node) = self.nodes.first() else {
            return Err((redis::ErrorKind::InvalidClientConfig, "no server is named").into());
        };
        let node = node.clone().set_tcp_settings(tcp_settings());
        let client = match certificates {
            Some(certificates) => Client::build_with_tls(node, certificates)?,
            None => Client::open(node)?,
        };
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_TIMEOUT)).set_response_timeout(Some(limit));
        Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
    }
}

/// The end of a command is not kept back until more comes, and a server that is gone is noticed also while nothing is sent.
fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(RESPONSE_TIMEOUT)
}

/// What the files hold; `None` when none is named.
async fn certificates(files: &TlsFiles) -> Result<Option<TlsCertificates>, String> {
    if files.is_empty() {
        return Ok(None);
    }
    let files = files.clone();
    let read = tokio::task::spawn_blocking(move || files.read()).await;
    let Pem { ca, identity } = read.map_err(|error| error.to_string()).flatten()?;
    let client_tls = identity.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
    Ok(Some(TlsCertificates { client_tls, root_cert: ca }))
}

/// A connection that many commands may be on at a time, which the server works off in order.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(&'a mut self, pipeline: &'a Pipeline, offset: usize, count: usize) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
