//! The `endpoints.yml` of Rasa's documentation, with hosts, names and files adapted and nothing else.

use trunkline_testkit::{Program, Project, services, sql_events};

use super::receivers::{Receiver, assert_complete_and_in_order, unique};
use super::{BINARY, arrived, fixture};

#[tokio::test(flavor = "multi_thread")]
async fn pika_as_documented() {
    let queue = unique("documented");
    let receiver = Receiver::new("rabbitmq", services::port("rabbitmq"), &queue);
    publish(
        &receiver,
        "event_broker:
  type: pika
  url: localhost
  username: USER
  password: PASSWORD
  queues:
    - PLACE
#   you may supply more than one queue to publish to
#   - queue-2
#   - queue-3
  exchange_name: PLACE
  port: PORT
",
    )
    .await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_over_sasl_plaintext_as_documented() {
    kafka(
        51,
        "event_broker:
  type: kafka
  security_protocol: SASL_PLAINTEXT
  topic: PLACE
  url: localhost:PORT
  partition_by_sender: True
  sasl_username: USER
  sasl_password: PASSWORD
  sasl_mechanism: PLAIN
",
    )
    .await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_over_plaintext_as_documented() {
    kafka(
        50,
        "event_broker:
  type: kafka
  security_protocol: PLAINTEXT
  topic: PLACE
  url: localhost:PORT
  client_id: kafka-python-rasa
",
    )
    .await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_over_ssl_as_documented() {
    kafka(
        52,
        "event_broker:
  type: kafka
  security_protocol: SSL
  topic: PLACE
  url: localhost:PORT
  ssl_cafile: TLS/ca.pem
  ssl_certfile: TLS/client.pem
  ssl_keyfile: TLS/client.key
  ssl_check_hostname: True
",
    )
    .await;
}

#[cfg(feature = "kafka")]
#[tokio::test(flavor = "multi_thread")]
async fn kafka_over_sasl_ssl_as_documented() {
    kafka(
        53,
        "event_broker:
  type: kafka
  security_protocol: SASL_SSL
  topic: PLACE
  url: localhost:PORT
  sasl_username: USER
  sasl_password: PASSWORD
  sasl_mechanism: PLAIN
  ssl_cafile: TLS/ca.pem
  ssl_certfile: TLS/client.pem
  ssl_keyfile: TLS/client.key
  ssl_check_hostname: True
",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_as_documented() {
    let project = Project::new().file(
        "endpoints.yml",
        "event_broker:
  type: SQL
  dialect: sqlite
  db: events.db
",
    );
    let lines = replay(&project).await;
    arrived::assert_same("the rows", &sql_events(&project.path("events.db")), &lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_as_documented() {
    let receiver = Receiver::new("postgresql", services::port("postgresql"), &unique("documented"));
    publish(
        &receiver,
        "event_broker:
  type: SQL
  url: 127.0.0.1
  port: PORT
  dialect: postgresql
  username: USER
  password: PASSWORD
  db: PLACE
",
    )
    .await;
}

/// Rasa's documentation names other dialects of SQLAlchemy without an example; this is the one in use.
#[tokio::test(flavor = "multi_thread")]
async fn mariadb_as_documented() {
    let receiver = Receiver::new("mariadb", services::port("mariadb"), &unique("documented"));
    publish(
        &receiver,
        "event_broker:
  type: SQL
  url: 127.0.0.1
  port: PORT
  dialect: mysql+pymysql
  username: USER
  password: PASSWORD
  db: PLACE
",
    )
    .await;
}

/// Read back over the listener without TLS, whatever was written over.
#[cfg(feature = "kafka")]
async fn kafka(offset: u16, endpoints: &str) {
    let plain = services::port("kafka");
    let receiver = Receiver::new("kafka", plain, &unique("documented"));
    publish(&receiver, &endpoints.replace("PORT", &(plain - 50 + offset).to_string())).await;
}

/// What a real Rasa published comes out equal, and each conversation in order.
async fn publish(receiver: &Receiver, endpoints: &str) {
    receiver.prepare().await;
    let endpoints = endpoints
        .replace("TLS", services::dir().join("tls").to_str().unwrap())
        .replace("USER", services::USER)
        .replace("PASSWORD", &format!("\"{}\"", services::PASSWORD))
        .replace("PLACE", receiver.place())
        .replace("PORT", &receiver.port().to_string());
    let lines = replay(&Project::new().file("endpoints.yml", &endpoints)).await;
    let arrived = receiver.arrived().await;
    let duplicates = assert_complete_and_in_order(receiver.name, &arrived, &lines);
    assert_eq!((arrived.len(), duplicates), (1_106, 0));
}

/// Posts the recorded events to the program, and waits until they are published.
async fn replay(project: &Project) -> Vec<String> {
    let program = Program::start(BINARY, project.directory()).await;
    let lines = fixture::post(&program).await;
    program.settled().await;
    arrived::assert_ended_well(&program.stop().await);
    lines
}
