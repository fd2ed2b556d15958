//! A running Rasa with its RabbitMQ broker, put in front of a gateway: messages as the original sends them, without an id.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::uri::{AMQPAuthority, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use trunkline_testkit::services::{self, PASSWORD, USER};
use trunkline_testkit::{Program, Project, file_events, journal_bodies};

use super::{FIXTURE, until};

/// A queue of the test's own.
struct Queue {
    _connection: Connection,
    channel: Channel,
    name: String,
}

impl Queue {
    async fn new() -> Self {
        let userinfo = AMQPUserInfo { username: USER.to_owned(), password: PASSWORD.to_owned() };
        let authority = AMQPAuthority { userinfo, host: "127.0.0.1".to_owned(), port: services::port("rabbitmq") };
        let uri = AMQPUri { authority, vhost: "/".to_owned(), ..AMQPUri::default() };
        let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let name = format!("gateway-{}", fastrand::u64(..));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), durable, FieldTable::default()).await.unwrap();
        Self { _connection: connection, channel, name }
    }

    async fn publish(&self, events: &[&str]) {
        let mut confirms = Vec::new();
        for event in events {
            let properties = BasicProperties::default().with_delivery_mode(2).with_app_id("rasa".into());
            let options = BasicPublishOptions::default();
            let confirm =
                self.channel.basic_publish("".into(), self.name.as_str().into(), options, event.as_bytes(), properties).await;
            confirms.push(confirm.unwrap());
        }
        for confirm in confirms {
            assert!(confirm.await.unwrap().is_ack());
        }
    }

    async fn left(&self) -> u32 {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        self.channel.queue_declare(self.name.as_str().into(), passive, FieldTable::default()).await.unwrap().message_count()
    }

    async fn delete(self) {
        self.channel.queue_delete(self.name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rasa_publishes_goes_through_kills_to_every_broker_once() {
    let queue = Queue::new().await;
    let settings = format!(
        "sources:\n  type: pika\n  url: 127.0.0.1\n  port: {}\n  username: {USER}\n  password: {PASSWORD}\n  queues: {}\n",
        services::port("rabbitmq"),
        queue.name
    );
    let project = Project::with_brokers().file("trunkline.yml", &settings);
    let events: Vec<_> = FIXTURE.lines().collect();
    let start = async || Program::start(env!("CARGO_BIN_EXE_trunkline"), project.directory()).await;
    for chunk in events.chunks(150) {
        queue.publish(chunk).await;
        let program = start().await;
        let before = program.head().await;
        // Some are appended by now, and perhaps not acknowledged.
        until("it reads", async || program.head().await > before || queue.left().await == 0).await;
        program.kill().await;
    }
    let program = start().await;
    until("everything is read", async || program.head().await >= events.len() as u64 && queue.left().await == 0).await;
    program.settled().await;
    drop(program.stop().await);
    assert_eq!(queue.left().await, 0);
    queue.delete().await;
    assert_eq!(journal_bodies(&project.path(".trunkline")), events);
    assert_eq!(file_events(&project.path("events.log")), events);
}
