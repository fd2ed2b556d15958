//! PostgreSQL and MariaDB.

use std::sync::Arc;

use async_trait::async_trait;
use trunkline_core::Broker;
use trunkline_testkit::contract::{Arrived, Subject};

use crate::servers::Database;

#[async_trait]
impl Subject for Database {
    fn broker(&self) -> Arc<dyn Broker> {
        Database::broker(self)
    }

    async fn arrived(&self) -> Vec<Arrived> {
        self.texts().await.into_iter().map(Arrived::body).collect()
    }

    fn is_exactly_once(&self) -> bool {
        true
    }
}

/// The suite on one of the two.
macro_rules! suite {
    ($name:ident, $kind:expr) => {
        mod $name {
            use trunkline_testkit::{contract, contract_tests};

            use crate::servers::{Database, Kind, Private};

            contract_tests!(
                Database::create($kind).await;
                real_events_arrive_in_order_and_byte_for_byte,
                a_large_batch_arrives,
                a_fresh_broker_goes_on,
                a_replay_arrives_again,
                an_export_moves_no_cursor,
                a_batch_that_was_given_up_is_published_again,
                what_is_delivered_survives_closing
            );

            #[tokio::test]
            async fn awkward_conversations_and_long_texts_arrive() {
                let database = Database::create($kind).await;
                // What the manual says to do where TEXT, as the original has it, ends at 64 KiB.
                let (id, data) = ($kind.pick("SERIAL", "INTEGER AUTO_INCREMENT"), $kind.pick("TEXT", "LONGTEXT"));
                let charset = $kind.pick("", "CHARACTER SET utf8mb4");
                let columns = format!("id {id} PRIMARY KEY, sender_id VARCHAR(255), data {data}");
                database.execute(&format!("CREATE TABLE events ({columns}) {charset}")).await;
                contract::awkward_conversations_and_long_texts_arrive(&database).await;
                database.drop().await;
            }

            #[tokio::test]
            async fn a_server_that_is_killed_under_load() {
                let server = Private::start($kind, "server").await;
                let database = Database::create_at($kind, server.port()).await;
                contract::fault_under_load(&database, async {
                    server.kill().await;
                    server.start_again().await;
                })
                .await;
            }

            #[tokio::test]
            async fn a_server_that_is_down_for_a_while() {
                let server = Private::start($kind, "server").await;
                let database = Database::create_at($kind, server.port()).await;
                contract::outage(&database, server.kill(), server.start_again()).await;
            }

            #[tokio::test]
            async fn a_row_that_the_table_refuses() {
                let database = Database::create($kind).await;
                let id = $kind.pick("SERIAL", "INTEGER AUTO_INCREMENT");
                database
                    .execute(&format!(
                        "CREATE TABLE events (id {id} PRIMARY KEY, sender_id VARCHAR(255), data TEXT CHECK (data <> 'poison'))"
                    ))
                    .await;
                contract::poison(&database, "poison").await;
                database.drop().await;
            }
        }
    };
}

suite!(postgresql, Kind::Postgres);
suite!(mariadb, Kind::MariaDb);
