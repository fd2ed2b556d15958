//! What is said to a user who may not do what is needed.

use tokio::sync::watch;
use tokio::time::timeout;
use trunkline_core::{Broker as _, Outcome};
use trunkline_testkit::services::{Private, USER};

use crate::common::{LONG, ask, batch, broker, deliver_somehow, journal, seen, text, topic};
use crate::security::password;
use crate::source::source;

/// What makes a server ask; a connection without a password may do anything.
pub(crate) const SETTINGS: &str =
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:ANONYMOUS";

const TOPIC: u8 = 2;
const GROUP: u8 = 3;
const READ: u8 = 3;
const WRITE: u8 = 4;
const DESCRIBE: u8 = 8;

/// Allows our user an operation, as the superuser that a connection without a password has: `CreateAcls`, version 1.
fn allow(server: &Private, resource: u8, name: &str, operation: u8) {
    // A list of one.
    let mut request = vec![0, 0, 0, 1, resource];
    request.extend(text(name));
    // Exactly this name.
    request.push(3);
    request.extend(text(&format!("User:{USER}")));
    request.extend(text("*"));
    // The last byte allows.
    request.extend([operation, 3]);
    // No delay, one result without an error.
    assert_eq!(ask(server.port("kafka"), 30, 1, &request)[..10], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
}

/// A user without rights is told which are missing, on a server with [`SETTINGS`].
pub(crate) async fn are_named(server: &Private) {
    let plain = format!("localhost:{}", server.port("kafka"));
    let (name, other) = (topic(&plain, 1, &[]).await, topic(&plain, 1, &[]).await);
    let address = format!("localhost:{}", server.port("kafka-sasl"));
    let section = format!("url: {address}\n{}\ntopic: {name}\n", password());
    let (broker, newcomer, source) = (broker(&section), broker(&section), source(&format!("{section}group_id: readers")));
    let events = journal(3, 1);
    // What was allowed holds a little later.
    let ready = async || timeout(LONG, async { while newcomer.is_ready().await.is_err() {} }).await.unwrap();
    let refused = async |expected: &str| {
        let published = async {
            loop {
                let outcomes = broker.publish(&batch(&events)).await;
                if outcomes == Outcome::retry(expected).all(3) {
                    break;
                }
                assert_ne!(outcomes[0], Outcome::Delivered);
            }
        };
        timeout(LONG, published).await.expect(expected);
    };

    let no_topic = format!("Kafka at {address} does not let this user use the topic `{name}`; give the user rights to it (ACL)");
    assert_eq!(broker.is_ready().await, Err(no_topic.clone()));
    assert_eq!(source.is_ready().await, Err(no_topic.clone()));
    refused(&no_topic).await;

    allow(server, TOPIC, &name, DESCRIBE);
    // Nothing has shown it more yet.
    ready().await;
    let no_write = format!(
        "Kafka at {address} does not let this user produce idempotently; give the user `Write` on the topic `{name}` (ACL), and \
         before Kafka 2.8 `IdempotentWrite` on the cluster"
    );
    refused(&no_write).await;
    assert_eq!(broker.is_ready().await, Err(no_write), "no event is at fault");

    allow(server, TOPIC, &other, WRITE);
    refused(&no_topic).await;

    allow(server, TOPIC, &name, WRITE);
    deliver_somehow(&broker, &events, LONG, &watch::Sender::new(0)).await;
    assert_eq!(seen(&plain, &name).await.len(), 3);

    let mut reader = source.open().await.unwrap();
    let said = timeout(LONG, reader.receive()).await.expect("the group is refused").unwrap_err();
    assert_eq!(
        said,
        format!(
            "Kafka at {address} does not let this user read as a member of the group; give the user `Read` on the group (ACL)"
        )
    );
    allow(server, GROUP, "readers", READ);
    let denied = async {
        loop {
            let said = source.open().await.unwrap().receive().await.unwrap_err();
            if said == no_topic {
                break;
            }
        }
    };
    timeout(LONG, denied).await.expect("the topic is refused");
    allow(server, TOPIC, &name, READ);
    let read = async {
        loop {
            if let Ok(Some(received)) = source.open().await.unwrap().receive().await {
                break received.len();
            }
        }
    };
    assert_eq!(timeout(LONG, read).await.expect("it may be read"), 3);
}
