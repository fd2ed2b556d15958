//! RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::contract_tests;
use trunkline_testkit::services::Private;

use crate::amqp_common::{Place, broker, eval, private};

struct Queue {
    place: Place,
    yaml: String,
}

impl Queue {
    fn new(more: &str) -> Self {
        Self::at(Place::new("contract"), more)
    }

    fn at(place: Place, more: &str) -> Self {
        let yaml = place.yaml(more);
        Self { place, yaml }
    }

    fn private(server: &Private) -> Self {
        // The suite has few conversations, with which the strict order takes minutes.
        Self::at(Place::at(server.port("rabbitmq"), "contract"), "strict_order: false")
    }
}

#[async_trait]
impl Subject for Queue {
    fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(broker(&self.yaml))
    }

    async fn arrived(&self) -> Vec<Arrived> {
        self.place.client().await.drain(&self.place.queue).await
    }

    fn is_exactly_once(&self) -> bool {
        false
    }
}

contract_tests!(Queue::new(""));

mod pipelined {
    use super::{Queue, contract_tests};

    contract_tests!(
        Queue::new("queue_type: quorum");
        real_events_arrive_in_order_and_byte_for_byte,
        a_batch_that_was_given_up_is_published_again
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_for_a_while() {
    let server = private().await;
    contract::outage(&Queue::private(&server), server.kill(), server.start_again()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_for_a_while() {
    let server = private().await;
    contract::outage(&Queue::private(&server), server.hang(), server.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_under_load() {
    let server = private().await;
    let again_and_again = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.kill().await;
            server.start_again().await;
        }
    };
    contract::fault_under_load(&Queue::private(&server), again_and_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_short_of_disk() {
    let server = private().await;
    let alarm = |what: &str| format!("rabbit_alarm:{what}.");
    let (set, clear) =
        (alarm("set_alarm({{resource_limit, disk, node()}, []})"), alarm("clear_alarm({resource_limit, disk, node()})"));
    contract::full(&Queue::private(&server), eval(&server, &set), eval(&server, &clear)).await;
}

#[tokio::test]
async fn a_queue_that_is_full() {
    let queue = Queue::new("");
    let (client, other) = (queue.place.client().await, format!("{}-full", queue.place.queue));
    contract::full(&queue, client.small_queue(&other, &queue.place.exchange, 0), client.delete_queue(&other)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_over_the_limit_of_the_server() {
    let server = private().await;
    eval(&server, "application:set_env(rabbit, max_message_size, 50000).").await;
    contract::poison(&Queue::private(&server), "x".repeat(60_000)).await;
}

#[tokio::test]
async fn a_wrong_password() {
    let place = Place::new("contract");
    let yaml = place.yaml("").replace("password: a secret", "password: not the secret");
    contract::refused(&broker(&yaml), &["RabbitMQ", "`trunkline`", "password"], &["not the secret"]).await;
}
