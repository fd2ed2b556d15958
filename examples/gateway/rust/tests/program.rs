//! The example against a real RabbitMQ.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lapin::options::{BasicGetOptions, ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::uri::{AMQPAuthority, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties};
use rustix::process::Signal;
use trunkline_testkit::Program;
use trunkline_testkit::services::{self, PASSWORD, USER};

const BINARY: &str = env!("CARGO_BIN_EXE_example-gateway");

async fn connect() -> Connection {
    let userinfo = AMQPUserInfo { username: USER.to_owned(), password: PASSWORD.to_owned() };
    let authority = AMQPAuthority { userinfo, host: "127.0.0.1".to_owned(), port: services::port("rabbitmq") };
    let uri = AMQPUri { authority, vhost: "/".to_owned(), ..AMQPUri::default() };
    Connection::connect_uri(uri, ConnectionProperties::default()).await.unwrap()
}

/// Everything that is in the queue.
async fn messages(channel: &Channel, queue: &str) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        messages.push(String::from_utf8(message.delivery.data.clone()).unwrap());
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_a_conversation_is_in_the_queue() {
    let directory = tempfile::tempdir().unwrap();
    let (queue, port) = (format!("example-gateway-{}", fastrand::u64(..)), services::port("rabbitmq").to_string());
    let mut command = tokio::process::Command::new(BINARY);
    command.arg(directory.path()).args(["127.0.0.1", &port, USER, PASSWORD, &queue]);
    let program = Program::run(command, directory.path()).await;
    program.say("ann", "hello").await;
    program.settled_by("rabbit").await;
    program.signal(Signal::INT);
    assert_eq!(program.ended().await.status.code(), Some(0));

    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let events = messages(&channel, &queue).await;
    let types = ["action", "session_started", "action", "user", "bot", "action"];
    assert_eq!(events.len(), types.len(), "{events:?}");
    assert!(events.iter().zip(types).all(|(event, name)| event.contains(&format!("\"event\": \"{name}\""))), "{events:?}");
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    channel.exchange_delete(queue.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut command = tokio::process::Command::new(BINARY);
    let output = command.arg(directory.path()).args(["127.0.0.1", &nobody, USER, "pass w0rd", "q"]).output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("cannot reach RabbitMQ at 127.0.0.1:") && !said.contains("pass w0rd"),
        "{said}"
    );
}
