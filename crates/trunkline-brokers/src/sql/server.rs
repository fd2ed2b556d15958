//! A database server: where it is, who we are to it, and how the way there is secured.

use std::fmt;
use std::time::Duration;

use trunkline_config::Secret;
use trunkline_tls::{Keys, Pem, TlsFiles};

use super::dialect::Dialect;

/// How long connecting takes at the most, unless the options say otherwise.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database on a server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) dialect: Dialect,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    /// The search path of PostgreSQL, when it is not that of the user.
    pub(super) schema: Option<String>,
    pub(super) options: Options,
}

/// What stands behind the `?` of a URL, or under `query`.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) tls: Tls,
    pub(super) connect_timeout: Duration,
    pub(super) application_name: String,
}

/// How the connection is secured.
#[derive(Clone, Debug, Default)]
pub(super) struct Tls {
    /// `None` when nothing is said about it: then it is [`TlsMode::IfOffered`], or what the environment says.
    pub(super) mode: Option<TlsMode>,
    pub(super) files: TlsFiles,
}

/// Whether TLS is used, and what is verified; each mode is stricter than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TlsMode {
    Never,
    /// When the server offers it; nothing is verified. What the clients of both products do without options.
    IfOffered,
    /// Nothing is verified.
    Always,
    /// The certificate is verified, and the name in it is not.
    VerifyCa,
    VerifyFull,
}

impl fmt::Display for Server {
    /// `the PostgreSQL database `db` at host:5432`, without any secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dialect, host, port, database, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        write!(f, "the {} database `{database}` at {host}:{port}", dialect.product())
    }
}

impl Server {
    /// A table in it, for a person.
    pub(super) fn table(&self, name: &str) -> String {
        format!("table {name} in {self}")
    }
}

impl Tls {
    /// Reads the files; a sentence names the one that cannot be read.
    pub(super) async fn read(&self) -> Result<Pem, String> {
        let files = self.files.clone();
        let read = tokio::task::spawn_blocking(move || files.read()).await;
        read.map_err(|error| format!("the work was cut short: {error}")).flatten()
    }
}

impl Dialect {
    /// The options that name the files, as the client of the product calls them.
    pub(super) fn tls_keys(self) -> Keys {
        match self {
            Self::MySql => Keys { ca: "`ssl_ca`", identity: "`ssl_cert` and `ssl_key`" },
            Self::Postgres | Self::Sqlite => Keys { ca: "`sslrootcert`", identity: "`sslcert` and `sslkey`" },
        }
    }
}
