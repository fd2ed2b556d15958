//! A database server: where it is, who we are to it, and how the way there is secured.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline_config::Secret;

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
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
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

/// The files of TLS, read.
#[derive(Default)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<Vec<u8>>,
    pub(super) certificate: Option<Vec<u8>>,
    pub(super) key: Option<Vec<u8>>,
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
    pub(super) async fn read(&self) -> Result<TlsFiles, String> {
        Ok(TlsFiles {
            ca: read(self.ca.as_deref(), "CERTIFICATE").await?,
            certificate: read(self.certificate.as_deref(), "CERTIFICATE").await?,
            key: read(self.key.as_deref(), "PRIVATE KEY").await?,
        })
    }
}

/// Reads a file that is to hold a PEM block whose label ends in `label`.
async fn read(path: Option<&Path>, label: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(path) = path else { return Ok(None) };
    let path = path.to_owned();
    let (path, read) = tokio::task::spawn_blocking(move || (path.clone(), std::fs::read(&path)))
        .await
        .map_err(|error| format!("the work was cut short: {error}"))?;
    let bytes = read.map_err(|error| format!("cannot read the file `{}` for TLS: {error}", path.display()))?;
    if String::from_utf8_lossy(&bytes).contains(&format!("{label}-----")) {
        Ok(Some(bytes))
    } else {
        let path = path.display();
        Err(format!("the file `{path}` for TLS holds no `-----BEGIN … {label}-----`; it must be in the PEM format"))
    }
}
