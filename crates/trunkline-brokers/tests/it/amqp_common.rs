//! A RabbitMQ server, names of our own on it, and a client that reads what arrived.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPAuthority, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::time::timeout;
use trunkline_brokers::{AmqpBroker, AmqpSource};
use trunkline_config::{Diagnostics, Document, Section, Severity, UnknownKeys};
use trunkline_core::Event;
use trunkline_testkit::contract::Arrived;
use trunkline_testkit::rabbitmq::keep_queues;
pub(crate) use trunkline_testkit::rabbitmq::{eval, eval_shared};
use trunkline_testkit::services::{self, PASSWORD, Private, USER};

use crate::servers::until;

/// No message takes longer than this, however busy the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// An exchange and a queue of a test's own.
pub(crate) struct Place {
    pub(crate) port: u16,
    pub(crate) vhost: &'static str,
    pub(crate) exchange: String,
    pub(crate) queue: String,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        Self::at(services::port("rabbitmq"), name)
    }

    pub(crate) fn at(port: u16, name: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let id = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Self { port, vhost: "/", exchange: format!("exchange-{id}"), queue: format!("queue-{id}") }
    }

    /// The section for this place, with further lines.
    pub(crate) fn yaml(&self, more: &str) -> String {
        let Self { port, exchange, queue, .. } = self;
        format!(
            "url: amqp://127.0.0.1:{port}/{}\nusername: {USER}\npassword: {PASSWORD}\nexchange_name: {exchange}\nqueues: {queue}\n{more}",
            self.vhost.replace('/', "%2F")
        )
    }

    pub(crate) fn broker(&self, more: &str) -> AmqpBroker {
        broker(&self.yaml(more))
    }

    pub(crate) fn source(&self, more: &str) -> AmqpSource {
        let Self { port, queue, .. } = self;
        source(&format!("url: amqp://127.0.0.1:{port}\nusername: {USER}\npassword: {PASSWORD}\nqueues: {queue}\n{more}"))
    }

    /// Creates the queue, on a server of a test's own that is going to be killed.
    pub(crate) async fn create_for_good(&self, server: &Private) {
        self.client().await.count(&self.queue).await;
        keep_queues(server).await;
    }

    pub(crate) async fn client(&self) -> Client {
        let uri = AMQPUri {
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: USER.to_owned(), password: PASSWORD.to_owned() },
                host: "127.0.0.1".to_owned(),
                port: self.port,
            },
            vhost: self.vhost.to_owned(),
            ..AMQPUri::default()
        };
        let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Client { _connection: connection, channel }
    }

    /// Waits until the queue holds `count` messages that nobody has taken: the server notices a while later that a reader has gone,
    /// and until then gives the next one what is behind that reader's.
    pub(crate) async fn until_it_holds(&self, count: usize) {
        let client = self.client().await;
        until("the queue has got its messages back", async || client.count(&self.queue).await == count).await;
    }

    /// Takes `count` messages from the queue.
    pub(crate) async fn take(&self, count: usize) -> Vec<Delivery> {
        self.client().await.take(&self.queue, count).await
    }
}

/// A client of a test.
pub(crate) struct Client {
    _connection: Connection,
    pub(crate) channel: Channel,
}

impl Client {
    /// Takes `count` messages from a queue, which may not exist yet.
    pub(crate) async fn take(&self, queue: &str, count: usize) -> Vec<Delivery> {
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
        let taken = timeout(PATIENCE, consumer.by_ref().take(count).map(Result::unwrap).collect::<Vec<_>>()).await;
        // What is published from now on is for others.
        self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await.unwrap();
        taken.expect("all messages arrive in time")
    }

    /// Takes what there is, down to the last: a message that the test itself puts behind all others.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Arrived> {
        const LAST: &[u8] = b"last";
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        self.channel.basic_publish("".into(), queue.into(), options, LAST, properties).await.unwrap();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = self.channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await.unwrap();
        let mut arrived = Vec::new();
        loop {
            let delivery = timeout(PATIENCE, consumer.next()).await.expect("in time").unwrap().unwrap();
            if delivery.data == LAST {
                return arrived;
            }
            let id = delivery.properties.message_id().as_ref().map(ToString::to_string);
            arrived.push(Arrived { body: delivery.data, id });
        }
    }

    /// A durable queue that takes `most` messages and refuses more, bound to `exchange`.
    pub(crate) async fn small_queue(&self, queue: &str, exchange: &str, most: i32) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(most));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        self.channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await.unwrap();
        let options = QueueBindOptions::default();
        self.channel.queue_bind(queue.into(), exchange.into(), "".into(), options, FieldTable::default()).await.unwrap();
    }

    /// How many messages the queue holds that nobody has taken; it is created if need be.
    pub(crate) async fn count(&self, queue: &str) -> usize {
        let durable = QueueDeclareOptions::durable();
        self.channel.queue_declare(queue.into(), durable, FieldTable::default()).await.unwrap().message_count() as usize
    }

    pub(crate) async fn delete_queue(&self, queue: &str) {
        self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.unwrap();
    }

    pub(crate) async fn delete_exchange(&self, exchange: &str) {
        self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }
}

/// Reads `yaml` as the section `event_broker` in `directory`, with what was said about it, as `severity: path: message (hint)`.
pub(crate) fn read<T>(yaml: &str, build: impl FnOnce(&Section<'_>) -> Option<T>) -> (Option<T>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("event_broker:\n  type: pika\n  {}\n", yaml.trim().replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let plan = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.section("event_broker", |section| {
            section.node("type");
            build(section)
        })
    });
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    (plan.flatten(), said.collect())
}

/// The broker of a section about which nothing is said.
pub(crate) fn broker(yaml: &str) -> AmqpBroker {
    broker_in(yaml, &|_| None)
}

pub(crate) fn broker_in(yaml: &str, environment: &dyn Fn(&str) -> Option<String>) -> AmqpBroker {
    let (broker, said) = read(yaml, |section| AmqpBroker::from_section(section, Path::new("/nowhere"), environment));
    assert_eq!(said, [""; 0], "{yaml}");
    broker.unwrap()
}

pub(crate) fn source(yaml: &str) -> AmqpSource {
    let (source, said) = read(yaml, |section| AmqpSource::from_section(section, Path::new("/nowhere"), &|_| None));
    assert_eq!(said, [""; 0], "{yaml}");
    source.unwrap()
}

/// Makes the server say that it is short of disk, so that it takes no messages.
pub(crate) async fn set_alarm(server: &Private) {
    eval(server, "rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []}).").await;
}

pub(crate) async fn clear_alarm(server: &Private) {
    eval(server, "rabbit_alarm:clear_alarm({resource_limit, disk, node()}).").await;
}

/// The bodies of `events`.
pub(crate) fn bodies(events: &[Arc<Event>]) -> Vec<Vec<u8>> {
    events.iter().map(|event| event.body.to_vec()).collect()
}

pub(crate) fn data(deliveries: &[Delivery]) -> Vec<Vec<u8>> {
    deliveries.iter().map(|delivery| delivery.data.clone()).collect()
}

/// Demands that all `events` arrived and nothing else, and that within each conversation each was first seen in the order of
/// `events`.
pub(crate) fn assert_complete_and_in_order(events: &[Arc<Event>], arrived: &[Arrived]) {
    let places: HashMap<&[u8], usize> = events.iter().enumerate().map(|(place, event)| (&event.body[..], place)).collect();
    assert_eq!(places.len(), events.len(), "the events differ");
    let mut seen = vec![false; events.len()];
    let mut newest: HashMap<&str, usize> = HashMap::new();
    for message in arrived {
        let place = places.get(&message.body[..]);
        let &place = place.unwrap_or_else(|| panic!("nobody published {}", String::from_utf8_lossy(&message.body)));
        if !std::mem::replace(&mut seen[place], true)
            && let Some(before) = newest.insert(&events[place].conversation, place)
        {
            let (first, second) = (&events[before], &events[place]);
            assert!(before < place, "{} comes before {}", first.body_str(), second.body_str());
        }
    }
    let lost: Vec<_> = events.iter().zip(seen).filter(|(_, seen)| !seen).map(|(event, _)| event.offset).collect();
    assert!(lost.is_empty(), "{} of {} events did not arrive, the first at {}", lost.len(), events.len(), lost[0]);
}
