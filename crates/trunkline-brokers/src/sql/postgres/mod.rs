//! PostgreSQL, through sqlx.

mod error;
mod history;
mod rows;
mod schema;
mod session;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, query, query_scalar};

pub(super) use self::error::explain;
pub(super) use self::history::History;
pub(super) use self::rows::PostgresRows;
pub(super) use self::session::PostgresSession;

use super::connect::within;
use super::server::{Server, TlsMode};
use super::session::{Failure, LOCK_SECONDS, STATEMENT_SECONDS};

/// Connects, and makes the session wait for nothing without an end. A statement takes `statement_seconds` at the most, or as long
/// as it takes.
pub(super) async fn connect(server: &Server, statement_seconds: Option<u32>) -> Result<PgConnection, Failure> {
    let options = options(server).await?;
    within(server, server.options.connect_timeout, async {
        let mut connection = options.connect().await.map_err(|error| explain(server, &error))?;
        prepare(server, &mut connection, statement_seconds).await?;
        Ok(connection)
    })
    .await
}

async fn options(server: &Server) -> Result<PgConnectOptions, Failure> {
    let tls = &server.options.tls;
    let files = tls.read().await.map_err(Failure::new)?;
    // What is not set here comes from libpq's variables, as with the original's driver.
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .database(&server.database)
        .application_name(&server.options.application_name)
        .disable_statement_logging();
    if let Some(username) = &server.username {
        options = options.username(username);
    }
    if let Some(password) = &server.password {
        options = options.password(password.expose());
    }
    if let Some(ca) = files.ca {
        options = options.ssl_root_cert_from_pem(ca);
    }
    if let Some((certificate, key)) = files.identity {
        options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
    }
    Ok(match tls.mode {
        // As the variable `PGSSLMODE` says.
        None => options,
        Some(TlsMode::Never) => options.ssl_mode(PgSslMode::Disable),
        Some(TlsMode::IfOffered) => options.ssl_mode(PgSslMode::Prefer),
        Some(TlsMode::Always) => options.ssl_mode(PgSslMode::Require),
        Some(TlsMode::VerifyCa) => options.ssl_mode(PgSslMode::VerifyCa),
        Some(TlsMode::VerifyFull) => options.ssl_mode(PgSslMode::VerifyFull),
    })
}

/// Bounds every wait, goes to the schema, and has a commit answered when it is on the disk.
async fn prepare(server: &Server, connection: &mut PgConnection, statement_seconds: Option<u32>) -> Result<(), Failure> {
    let sql = "SELECT set_config('statement_timeout', $1, false),
            set_config('lock_timeout', $2, false),
            set_config('idle_in_transaction_session_timeout', $4, false),
            set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                ELSE current_setting('synchronous_commit') END, false),
            set_config('search_path', coalesce($3, current_setting('search_path')), false)";
    query(sql)
        .bind(format!("{}s", statement_seconds.unwrap_or(0)))
        .bind(format!("{LOCK_SECONDS}s"))
        .bind(server.schema.as_deref())
        .bind(format!("{STATEMENT_SECONDS}s"))
        .fetch_all(&mut *connection)
        .await
        .map_err(|error| explain(server, &error))?;
    let schema: Vec<String> = query_scalar("SELECT coalesce(current_schema(), '')")
        .fetch_all(connection)
        .await
        .map_err(|error| explain(server, &error))?;
    match &server.schema {
        Some(wanted) if schema.iter().all(String::is_empty) => Err(Failure::new(format!(
            "{server} has no schema `{wanted}`, which POSTGRESQL_SCHEMA names; create it, or change the variable"
        ))),
        _ => Ok(()),
    }
}
