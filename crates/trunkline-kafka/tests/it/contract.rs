//! What every broker owes to the delivery, on topics with and without a key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::services::{self, Private};

use crate::common::{LONG, broker, deliver, deliver_somehow, journal, plain, seen, topic};
use crate::security::listeners;
use crate::source::read_on;

pub(crate) struct Topic {
    server: String,
    name: String,
    options: &'static str,
    patience: Duration,
}

impl Topic {
    /// A topic of one's own with three partitions.
    pub(crate) async fn new(server: &str, options: &'static str) -> Self {
        Self { server: server.to_owned(), name: topic(server, 3, &[]).await, options, patience: LONG }
    }

    /// The same on a server that will not answer: a call waits for half the time that it has.
    pub(crate) async fn on_a_dying(server: &str) -> Self {
        Self { patience: Duration::from_secs(10), ..Self::new(server, "").await }
    }
}

#[async_trait]
impl Subject for Topic {
    fn broker(&self) -> Arc<dyn Broker> {
        let Self { server, name, options, .. } = self;
        Arc::new(broker(&format!("url: {server}\nsecurity_protocol: PLAINTEXT\ntopic: {name}\n{options}")))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let arrived = seen(&self.server, &self.name).await.into_iter();
        arrived.map(|seen| Arrived { id: seen.headers.get("trunkline-event-id").cloned(), body: seen.value }).collect()
    }

    fn is_exactly_once(&self) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        self.patience
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
async fn a_server_that_dies_loses_and_inverts_nothing_and_is_read_on() {
    let server = Private::start("kafka").await;
    let address = format!("localhost:{}", server.port("kafka"));
    let death = async {
        server.kill().await;
        server.start_again().await;
    };
    contract::fault_under_load(&Topic::on_a_dying(&address).await, death).await;

    let section = format!("url: {address}\nsecurity_protocol: PLAINTEXT\ntopic: {}\n", topic(&address, 1, &[]).await);
    let events = journal(40, 1);
    deliver(&broker(&section), &events[..20]).await;
    let read = watch::Sender::new(0);
    let outage = async {
        read.subscribe().wait_for(|read| *read == 20).await.unwrap();
        let returning = async {
            server.start_again().await;
            deliver_somehow(&broker(&section), &events[20..], LONG, &watch::Sender::new(0)).await;
        };
        contract::outage(&Topic::on_a_dying(&address).await, server.kill(), returning).await;
    };
    let reading = timeout(
        LONG * 3,
        read_on(&section, &events, |count| {
            read.send_replace(count);
        }),
    );
    let ((), reading) = tokio::join!(outage, reading);
    reading.expect("it is read on");
}
