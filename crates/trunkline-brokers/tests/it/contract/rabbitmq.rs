//! RabbitMQ.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use trunkline_brokers::AmqpBroker;
use trunkline_core::Broker;
use trunkline_testkit::contract::{self, Arrived, Subject};
use trunkline_testkit::contract_tests;
use trunkline_testkit::services::Private;

use crate::amqp_common::{Place, broker, clear_alarm, eval, set_alarm};
use crate::amqp_failures::a_message_over_the_limit_is_rejected_alone;
use crate::amqp_waiting::attempts_in_vain_cost_no_threads_and_no_connections;

struct Queue {
    place: Place,
    yaml: String,
    newest: Mutex<Weak<AmqpBroker>>,
}

impl Queue {
    fn new(more: &str) -> Self {
        Self::at(Place::new("contract"), more)
    }

    fn at(place: Place, more: &str) -> Self {
        let yaml = place.yaml(more);
        Self { place, yaml, newest: Mutex::default() }
    }

    fn private(server: &Private) -> Self {
        // The suite has few conversations, with which the strict order takes minutes.
        Self::at(Place::at(server.port("rabbitmq"), "contract"), "strict_order: false")
    }

    /// One on a server that is going to be killed.
    async fn for_good(server: &Private) -> Self {
        let queue = Self::private(server);
        queue.place.create_for_good(server).await;
        queue
    }

    /// Demands that the broker at work says that it is not ready, and why.
    async fn is_not_ready(&self, why: &str) {
        let broker = self.newest.lock().unwrap().upgrade().unwrap();
        let said = broker.is_ready().await.unwrap_err();
        assert!(said.contains(why), "{said}");
    }
}

#[async_trait]
impl Subject for Queue {
    fn broker(&self) -> Arc<dyn Broker> {
        let broker = Arc::new(broker(&self.yaml));
        *self.newest.lock().unwrap() = Arc::downgrade(&broker);
        broker
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
async fn a_server_that_is_killed_for_a_while_and_again_under_load() {
    let server = Private::start("rabbitmq").await;
    contract::outage(&Queue::for_good(&server).await, server.kill(), server.start_again()).await;
    let again_and_again = async {
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            server.kill().await;
            server.start_again().await;
        }
    };
    contract::fault_under_load(&Queue::for_good(&server).await, again_and_again).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_for_a_while() {
    let server = Private::start("rabbitmq").await;
    let queue = Queue::private(&server);
    // It finds out sooner than by a confirm that does not come.
    let yaml = queue.yaml.replace("/%2F", "/%2F?heartbeat=2");
    contract::outage(&Queue { yaml, ..queue }, server.hang(), server.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_short_of_disk() {
    let server = Private::start("rabbitmq").await;
    attempts_in_vain_cost_no_threads_and_no_connections(&server).await;
    let queue = Queue::private(&server);
    let free = async {
        queue.is_not_ready("takes no events now: it is short of memory or disk").await;
        clear_alarm(&server).await;
    };
    contract::full(&queue, set_alarm(&server), free).await;
}

#[tokio::test]
async fn a_queue_that_is_full() {
    let queue = Queue::new("");
    let (client, other) = (queue.place.client().await, format!("{}-full", queue.place.queue));
    let free = async {
        queue.is_not_ready("refused the event: a queue behind the exchange").await;
        client.delete_queue(&other).await;
    };
    contract::full(&queue, client.small_queue(&other, &queue.place.exchange, 0), free).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_over_the_limit_of_the_server() {
    let server = Private::start("rabbitmq").await;
    eval(&server, "application:set_env(rabbit, max_message_size, 50000).").await;
    contract::poison(&Queue::private(&server), "x".repeat(60_000)).await;
    a_message_over_the_limit_is_rejected_alone(&server).await;
}

#[tokio::test]
async fn a_wrong_password() {
    let place = Place::new("contract");
    let yaml = place.yaml("").replace("password: a secret", "password: not the secret");
    contract::refused(&broker(&yaml), &["RabbitMQ", "`trunkline`", "password"], &["not the secret"]).await;
}
