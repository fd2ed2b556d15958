//! The table of Rasa's tracker store on a server.

use std::fmt;
use std::time::Duration;

use sqlx::Error;
use sqlx::mysql::MySqlConnection;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tracing::debug;

use super::dialect::Dialect;
use super::server::Server;
use super::session::Failure;
use super::tracker_store::StoredEvent;
use super::{mysql, postgres};

/// The longest that a call waits. To find the conversations of a large table it is read from end to end.
const CALL_TIMEOUT: Duration = Duration::from_mins(30);

/// The database of a tracker store, connected to when it is first needed.
#[derive(Debug)]
pub(super) struct ServerHistory {
    server: Server,
    connection: Mutex<Option<Connection>>,
}

enum Connection {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}

impl ServerHistory {
    pub(super) fn new(server: Server) -> Self {
        Self { server, connection: Mutex::default() }
    }

    pub(super) async fn columns(&self) -> Result<Vec<String>, String> {
        self.ask(async |connection| match connection {
            Connection::Postgres(connection) => postgres::History(connection).columns().await,
            Connection::MySql(connection) => mysql::History(connection).columns().await,
        })
        .await
    }

    pub(super) async fn conversations(&self) -> Result<Vec<String>, String> {
        self.ask(async |connection| match connection {
            Connection::Postgres(connection) => postgres::History(connection).conversations().await,
            Connection::MySql(connection) => mysql::History(connection).conversations().await,
        })
        .await
    }

    pub(super) async fn ids(&self, sender_id: &str) -> Result<Vec<i64>, String> {
        self.ask(async |connection| match connection {
            Connection::Postgres(connection) => postgres::History(connection).ids(sender_id).await,
            Connection::MySql(connection) => mysql::History(connection).ids(sender_id).await,
        })
        .await
    }

    pub(super) async fn rows(&self, ids: &[i64]) -> Result<Vec<StoredEvent>, String> {
        self.ask(async |connection| match connection {
            Connection::Postgres(connection) => postgres::History(connection).rows(ids).await,
            Connection::MySql(connection) => mysql::History(connection).rows(ids).await,
        })
        .await
    }

    /// Asks the server, over the connection that there is or a new one. After a failure the next call makes a new one.
    async fn ask<T>(&self, question: impl AsyncFn(&mut Connection) -> Result<T, Error>) -> Result<T, String> {
        let call = async {
            let mut held = self.connection.lock().await;
            loop {
                let (mut connection, is_old) = match held.take() {
                    Some(connection) => (connection, true),
                    None => (self.connect().await?, false),
                };
                match question(&mut connection).await.map_err(|error| self.explain(&error)) {
                    Ok(answer) => {
                        *held = Some(connection);
                        return Ok(answer);
                    }
                    // What was read is being published in between, which takes its time.
                    Err(failure) if failure.is_lost && is_old => debug!(reason = failure.reason, "Connection was lost"),
                    Err(failure) => return Err(failure.reason),
                }
            }
        };
        let late = |_| Err(format!("{} did not answer within {} min", self.server, CALL_TIMEOUT.as_secs() / 60));
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
    }

    async fn connect(&self) -> Result<Connection, String> {
        let connection = match self.server.dialect {
            Dialect::MySql => mysql::connect(&self.server, None).await.map(Connection::MySql),
            Dialect::Postgres | Dialect::Sqlite => postgres::connect(&self.server, None).await.map(Connection::Postgres),
        };
        connection.map_err(|failure| failure.reason)
    }

    fn explain(&self, error: &Error) -> Failure {
        match self.server.dialect {
            Dialect::MySql => mysql::explain(&self.server, error),
            Dialect::Postgres | Dialect::Sqlite => postgres::explain(&self.server, error),
        }
    }
}
