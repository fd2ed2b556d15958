//! The section `type: pika`.

use std::path::Path;
use std::sync::Arc;

use lapin::ExchangeKind;
use lapin::types::MAX_SHORT_STRING_LENGTH;
use trunkline_adapter::ReadBy;
use trunkline_config::{Section, Value};
use trunkline_core::{Broker, Source, Template};

use super::broker::AmqpBroker;
use super::order::Order;
use super::server::{Environment, Server};
use super::source::AmqpSource;
use super::topology::Topology;

/// Rasa's default.
const DEFAULT_QUEUE: &str = "rasa_core_events";

/// Rasa's default.
const DEFAULT_EXCHANGE: &str = "rasa-exchange";

/// What only the broker reads, and what only the source.
const BROKER_KEYS: [&str; 9] = [
    "exchange_name",
    "exchange_type",
    "exchange_durable",
    "queue_type",
    "routing_key",
    "content_type",
    "strict_order",
    "should_keep_unpublished_messages",
    "raise_on_failure",
];
const SOURCE_KEYS: [&str; 1] = ["prefetch"];

/// What a broker is made of.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: Server,
    pub(super) topology: Topology,
    pub(super) routing_key: Template,
    pub(super) app_id: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) order: Order,
}

/// Builds the broker from its section, as [`AmqpBroker::from_section`] does with the environment of the process.
pub fn pika_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    Some(Arc::new(AmqpBroker::from_section(section, directory, &|name| std::env::var(name).ok())?))
}

/// Builds the source from its section, as [`AmqpSource::from_section`] does with the environment of the process.
pub fn pika_source_from_section(section: &Section<'_>, directory: &Path, _by: ReadBy) -> Option<Arc<dyn Source>> {
    Some(Arc::new(AmqpSource::from_section(section, directory, &|name| std::env::var(name).ok())?))
}

impl AmqpBroker {
    /// Builds the broker from its section. Paths in it begin at `directory`; `environment` is asked for `RASA_ENVIRONMENT` and
    /// the original's variables for TLS.
    ///
    /// A key that is unknown is a warning, because the original ignores it. `None` after an error.
    pub fn from_section(section: &Section<'_>, directory: &Path, environment: Environment<'_>) -> Option<Self> {
        let server = Server::from_section(section, directory, environment);
        pass_over(section, &SOURCE_KEYS);
        for key in ["should_keep_unpublished_messages", "raise_on_failure"] {
            section.boolean(key);
        }
        let topology = topology(section);
        let routing_key = routing_key(section);
        let app_id = environment("RASA_ENVIRONMENT").filter(|name| !name.is_empty());
        if app_id.as_deref().is_some_and(|name| name.len() > MAX_SHORT_STRING_LENGTH) {
            section.error("url", "the variable RASA_ENVIRONMENT is longer than the 255 bytes of an AMQP `app_id`", None);
        }
        let content_type = section.string("content_type").filter(|name| fits(section, "content_type", name));
        let is_strict = section.boolean("strict_order");
        let (mut topology, routing_key) = (topology?, routing_key?);
        // The log of a quorum queue has no holes; whatever a crash leaves of it is its beginning.
        let is_quorum = topology.queue_type == Some("quorum");
        let order = match is_strict {
            Some(true) => Order::Strict,
            None if !is_quorum => Order::Strict,
            Some(false) if !is_quorum => Order::ByPlace,
            Some(false) | None => Order::Free,
        };
        if topology.kind == ExchangeKind::Direct {
            if let Some(key) = routing_key.constant() {
                key.clone_into(&mut topology.binding);
            } else {
                let hint = "with placeholders in it, set `exchange_type: topic`";
                section.error("routing_key", "a direct exchange needs a routing key that is always the same", Some(hint));
            }
        }
        Some(Self::new(Settings { server: server?, topology, routing_key, app_id, content_type, order }))
    }
}

impl AmqpSource {
    /// Builds the source from its section, under the same rules as [`AmqpBroker::from_section`].
    pub fn from_section(section: &Section<'_>, directory: &Path, environment: Environment<'_>) -> Option<Self> {
        let server = Server::from_section(section, directory, environment);
        pass_over(section, &BROKER_KEYS);
        let queues = queues(section);
        let prefetch = section.integer("prefetch", 1..=u16::MAX).unwrap_or(512);
        Some(Self::new(server?, queues?, prefetch))
    }
}

/// Asks for keys that mean nothing here: one section may serve as a broker and as the source that reads its queues.
fn pass_over(section: &Section<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| section.has(key)) {
        section.node(key);
    }
}

fn topology(section: &Section<'_>) -> Option<Topology> {
    let queues = queues(section);
    let exchange = section.string("exchange_name");
    let exchange = exchange.filter(|name| fits(section, "exchange_name", name)).unwrap_or_else(|| DEFAULT_EXCHANGE.to_owned());
    let kinds = [("fanout", ExchangeKind::Fanout), ("topic", ExchangeKind::Topic), ("direct", ExchangeKind::Direct)];
    let kind = section.enumeration("exchange_type", &kinds).unwrap_or(ExchangeKind::Fanout);
    let queue_type = section.enumeration("queue_type", &[("classic", "classic"), ("quorum", "quorum")]);
    let is_durable = section.boolean("exchange_durable").unwrap_or(false);
    let binding = if kind == ExchangeKind::Topic { "#" } else { "" }.to_owned();
    Some(Topology { exchange, kind, is_durable, queues: queues?, queue_type, binding })
}

/// One queue or several. What names none, whatever it is, means the default, as in the original.
fn queues(section: &Section<'_>) -> Option<Vec<String>> {
    let names = match section.node("queues").map(|node| &node.value) {
        Some(Value::Sequence(items)) if !items.is_empty() => section.strings("queues")?,
        Some(Value::String(name)) if !name.is_empty() => section.strings("queues")?,
        _ => {
            let hint = format!("name one, as in `queues: {DEFAULT_QUEUE}`");
            section.warning("queues", format!("no queue is named, so that it is `{DEFAULT_QUEUE}`"), Some(&hint));
            vec![DEFAULT_QUEUE.to_owned()]
        }
    };
    let mut queues: Vec<String> = Vec::new();
    for name in names {
        if name.starts_with("amq.") {
            section.error("queues", format!("the queue `{name}` is reserved for the server by the `amq.` before it"), None);
        } else if fits(section, "queues", &name) && !queues.contains(&name) {
            queues.push(name);
        }
    }
    (!queues.is_empty()).then_some(queues)
}

/// Whether AMQP has room for a name; reports it if not.
fn fits(section: &Section<'_>, key: &str, name: &str) -> bool {
    let fits = (1..=MAX_SHORT_STRING_LENGTH).contains(&name.len());
    if !fits {
        section.error(key, format!("a name has 1 to {MAX_SHORT_STRING_LENGTH} bytes here, this one has {}", name.len()), None);
    }
    fits
}

fn routing_key(section: &Section<'_>) -> Option<Template> {
    let text = section.string("routing_key").unwrap_or_default();
    match Template::for_events(&text) {
        Ok(template) if template.constant().is_some_and(|key| key.len() > MAX_SHORT_STRING_LENGTH) => {
            section.error("routing_key", format!("a routing key has {MAX_SHORT_STRING_LENGTH} bytes at the most"), None);
            None
        }
        Ok(template) => Some(template),
        Err(error) => {
            section.error("routing_key", error.to_string(), None);
            None
        }
    }
}
