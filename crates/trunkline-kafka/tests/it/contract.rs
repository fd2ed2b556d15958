//! What every broker owes to the delivery, on topics with and without a key.

use std::sync::Arc;

use async_trait::async_trait;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::services::{self, Private};

use crate::common::{broker, plain, seen, topic};
use crate::security::listeners;

pub(crate) struct Topic {
    server: String,
    name: String,
    options: &'static str,
}

impl Topic {
    /// A topic of one's own with three partitions.
    pub(crate) async fn new(server: &str, options: &'static str) -> Self {
        Self { server: server.to_owned(), name: topic(server, 3, &[]).await, options }
    }
}

#[async_trait]
impl Subject for Topic {
    fn broker(&self) -> Arc<dyn Broker> {
        let Self { server, name, options } = self;
        Arc::new(broker(&format!("url: {server}\nsecurity_protocol: PLAINTEXT\ntopic: {name}\n{options}")))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let arrived = seen(&self.server, &self.name).await.into_iter();
        arrived.map(|seen| Arrived { id: seen.headers.get("trunkline-event-id").cloned(), body: seen.value }).collect()
    }

    fn is_exactly_once(&self) -> bool {
        false
    }
}

mod without_a_key {
    trunkline_testkit::contract_tests!(super::Topic::new(&super::plain(), "").await);
}

mod with_a_key {
    trunkline_testkit::contract_tests!(super::Topic::new(&super::plain(), "partition_by_sender: true").await);
}

#[tokio::test]
async fn an_event_that_the_server_refuses_holds_up_no_other() {
    contract::poison(&Topic::new(&plain(), "").await, vec![b' '; 2_000_000]).await;
}

#[tokio::test]
async fn a_wrong_password_is_named_without_being_shown() {
    let sasl = listeners().sasl;
    let section = format!("url: localhost:{sasl}\nsasl_username: {}\nsasl_password: wrong/50%", services::USER);
    contract::refused(&broker(&section), &[&format!("localhost:{sasl}"), "sasl_password"], &["wrong/50%"]).await;
}

#[tokio::test]
async fn a_server_that_dies_loses_and_inverts_nothing() {
    let server = Private::start("kafka").await;
    let address = format!("localhost:{}", server.port("kafka"));
    let death = async {
        server.kill().await;
        server.start_again().await;
    };
    contract::fault_under_load(&Topic::new(&address, "").await, death).await;
    contract::outage(&Topic::new(&address, "").await, server.kill(), server.start_again()).await;
}
