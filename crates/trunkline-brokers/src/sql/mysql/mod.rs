//! MySQL and MariaDB, through sqlx.

mod error;
mod history;
mod rows;
mod schema;
mod session;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Error, query_scalar, raw_sql};

pub(super) use self::error::explain;
pub(super) use self::history::History;
pub(super) use self::rows::MySqlRows;
pub(super) use self::session::MySqlSession;

use super::connect::within;
use super::server::{Server, TlsMode};
use super::session::{Failure, LOCK_SECONDS, STATEMENT_SECONDS};

/// After so many seconds the server lets go of a session, and of its locks, whose client has vanished from the network. The
/// default is eight hours.
const IDLE_SECONDS: u32 = 300;

/// Every size of batch is a statement of its own; those of full batches stay.
const STATEMENTS_KEPT: usize = 32;

/// Connects, and makes the session strict and its transactions as they are expected, and wait for nothing without an end.
/// A statement takes `statement_seconds` at the most, or as long as it takes.
pub(super) async fn connect(server: &Server, statement_seconds: Option<u32>) -> Result<MySqlConnection, Failure> {
    let options = options(server).await?;
    within(server, server.options.connect_timeout, async {
        let mut connection = options.connect().await.map_err(|error| explain(server, &error))?;
        prepare(&mut connection, statement_seconds).await.map_err(|error| explain(server, &error))?;
        Ok(connection)
    })
    .await
}

async fn options(server: &Server) -> Result<MySqlConnectOptions, Failure> {
    let tls = &server.options.tls;
    let files = tls.read().await.map_err(Failure::new)?;
    let mut options = MySqlConnectOptions::new()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .statement_cache_capacity(STATEMENTS_KEPT)
        .disable_statement_logging()
        .ssl_mode(match tls.mode {
            Some(TlsMode::Never) => MySqlSslMode::Disabled,
            Some(TlsMode::IfOffered) | None => MySqlSslMode::Preferred,
            Some(TlsMode::Always) => MySqlSslMode::Required,
            Some(TlsMode::VerifyCa) => MySqlSslMode::VerifyCa,
            Some(TlsMode::VerifyFull) => MySqlSslMode::VerifyIdentity,
        });
    if let Some(username) = &server.username {
        options = options.username(username);
    }
    if let Some(password) = &server.password {
        options = options.password(password.expose());
    }
    if let Some(ca) = files.ca {
        options = options.ssl_ca_from_pem(ca);
    }
    if let Some((certificate, key)) = files.identity {
        options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
    }
    Ok(options)
}

async fn prepare(connection: &mut MySqlConnection, statement_seconds: Option<u32>) -> Result<(), Error> {
    let version: Vec<String> = query_scalar("SELECT version()").fetch_all(&mut *connection).await?;
    let mut settings = vec![
        // A server that is not strict would cut a long text off and say nothing.
        "sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')".to_owned(),
        // Without it a question begins a transaction, which sees nothing new and keeps what it stores to itself.
        "autocommit = 1".to_owned(),
        "completion_type = 'NO_CHAIN'".to_owned(),
        format!("innodb_lock_wait_timeout = {LOCK_SECONDS}"),
        // For the locks of whole tables, as of an `ALTER TABLE`. The default is a year.
        format!("lock_wait_timeout = {LOCK_SECONDS}"),
        format!("wait_timeout = {IDLE_SECONDS}"),
    ];
    if version.iter().any(|version| version.contains("MariaDB")) {
        settings.push(format!("max_statement_time = {}", statement_seconds.unwrap_or(0)));
        settings.push(format!("idle_transaction_timeout = {STATEMENT_SECONDS}"));
    }
    // `READ COMMITTED` would do, but not where the server logs statements for its replicas.
    let sql = format!("SET {}; SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", settings.join(", "));
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
}
