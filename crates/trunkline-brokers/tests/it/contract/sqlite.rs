//! SQLite.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Notify;
use trunkline_brokers::SqlBroker;
use trunkline_brokers::sql::Location;
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome};
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::{contract_tests, sql_events};

struct Database {
    directory: TempDir,
    /// Somebody who keeps others from writing.
    holder: Mutex<Option<Connection>>,
    /// Told of every batch that is to be tried again.
    retried: Arc<Notify>,
}

/// A broker that tells when a batch is to be tried again.
struct Telling {
    broker: SqlBroker,
    retried: Arc<Notify>,
}

#[async_trait]
impl Broker for Telling {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let outcomes = self.broker.publish(batch).await;
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry { .. })) {
            self.retried.notify_one();
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.broker.is_ready().await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        self.broker.position(cursor).await
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

impl Database {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), holder: Mutex::new(None), retried: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("events.db")
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn lock(&self) {
        let connection = self.connection();
        connection.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        *self.holder.lock().unwrap() = Some(connection);
    }

    fn unlock(&self) {
        *self.holder.lock().unwrap() = None;
    }
}

#[async_trait]
impl Subject for Database {
    fn broker(&self) -> Arc<dyn Broker> {
        let broker = SqlBroker::sqlite(Location::File(self.path()));
        Arc::new(Telling { broker, retried: Arc::clone(&self.retried) })
    }

    async fn arrived(&self) -> Vec<Arrived> {
        sql_events(&self.path()).into_iter().map(Arrived::body).collect()
    }

    fn is_exactly_once(&self) -> bool {
        true
    }
}

contract_tests!(Database::new());

#[tokio::test]
async fn a_database_that_others_lock_for_a_while() {
    let database = Database::new();
    contract::outage(&database, async { database.lock() }, async { database.unlock() }).await;
}

#[tokio::test]
async fn a_database_that_others_lock_under_load() {
    let database = Database::new();
    let again_and_again = async {
        for _ in 0..2 {
            database.lock();
            database.retried.notified().await;
            database.unlock();
        }
    };
    contract::fault_under_load(&database, again_and_again).await;
}

#[tokio::test]
async fn a_row_that_the_table_refuses() {
    let database = Database::new();
    database
        .connection()
        .execute_batch(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT);
             CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.data = 'poison'
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    contract::poison(&database, "poison").await;
}
