//! From a server to a connection with tables.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::Error;
use trunkline_tls::Fault;

use super::dialect::Dialect;
use super::server::Server;
use super::session::{Failure, Session};
use super::{mysql, postgres};

/// What the connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Tables that are missing are created.
    Write,
    /// Nothing is created.
    Check,
}

/// Connects for publishing, and looks at the tables.
pub(super) async fn connect(server: &Server, purpose: Purpose) -> Result<Box<dyn Session>, Failure> {
    Ok(match server.dialect {
        Dialect::MySql => Box::new(mysql::MySqlSession::connect(server, purpose).await?),
        Dialect::Postgres | Dialect::Sqlite => Box::new(postgres::PostgresSession::connect(server, purpose).await?),
    })
}

/// Waits for a connection no longer than the options say.
pub(super) async fn within<T>(
    server: &Server,
    limit: Duration,
    connecting: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| Err(Failure::new(format!("{server} did not answer within {} s", limit.as_secs())));
    tokio::time::timeout(limit, connecting).await.unwrap_or_else(late)
}

/// What went wrong, for a person, where the dialect makes no difference.
pub(super) fn explain(server: &Server, error: &Error) -> Failure {
    let (reason, is_lost) = match error {
        Error::Database(error) => (format!("{server} failed: {}", error.message()), false),
        Error::Io(error) => (explain_io(server, error), true),
        Error::Tls(error) => (explain_tls(server, &**error), true),
        Error::Configuration(error) if error.to_string().contains("RSA") => {
            let user = server.username.as_deref().unwrap_or_default();
            let hint = "enable TLS on the server, or let the user log in with `mysql_native_password`";
            (
                format!(
                    "{server} wants the password of `{user}` encrypted, which we only do by TLS (caching_sha2_password); {hint}"
                ),
                false,
            )
        }
        other => (format!("{server} failed: {other}"), true),
    };
    Failure { is_lost, ..Failure::new(reason) }
}

fn explain_io(server: &Server, error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => {
            format!("{server} cannot be reached: the connection was refused; does the server run, and is the port right?")
        }
        ErrorKind::InvalidData => explain_tls(server, error),
        _ if text.contains("lookup") => format!("{server} cannot be reached: there is no host `{}` ({text})", server.host),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            format!("{server} closed the connection; was it restarted?")
        }
        _ => format!("{server} cannot be reached: {text}"),
    }
}

fn explain_tls(server: &Server, error: &(dyn std::error::Error + 'static)) -> String {
    let problem = match (Fault::of(error), error.to_string()) {
        (Some(fault), _) => fault.sentence(server.dialect.tls_keys()),
        // The library has no type for it.
        (None, text) if text.contains("does not support TLS") => {
            "it does not offer TLS; enable it there, or allow connections without (`sslmode`, `ssl_mode`)".to_owned()
        }
        (None, text) => text,
    };
    format!("{server} cannot be reached by TLS: {problem}")
}
