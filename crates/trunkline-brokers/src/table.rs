//! Every broker by name, built in or not.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::{Section, closest};
use trunkline_core::Broker;

use crate::{file_from_section, sql_from_section};

/// What an `event_broker` section without a `type` means, as in Rasa.
pub const DEFAULT_KIND: &str = "pika";

/// Builds a broker from its section; paths in it are relative to the directory of the project.
///
/// The caller has asked the section before for all keys that brokers share (`type`, `name`, `filter`, …), so that the
/// section does not call them unknown. Every problem is reported through the section; `None` when no broker can be made,
/// which is never without an error. Nothing outside the process is touched.
pub type Build = fn(&Section<'_>, &Path) -> Option<Arc<dyn Broker>>;

/// A row of [`BROKERS`].
#[derive(Clone, Copy, Debug)]
pub struct BrokerSpec {
    /// The `type`, in lower case.
    pub kind: &'static str,
    /// What it publishes to, for a person.
    pub summary: &'static str,
    /// Rasa's class, which may stand in place of the type.
    pub class: Option<&'static str>,
    /// Whether it stores our cursor with its data, so that its effect is exactly once with a single lane.
    pub exactly_once: bool,
    /// `None` while it is not built in; then [`not_built_in`](Self::not_built_in) is the answer.
    pub build: Option<Build>,
}

impl BrokerSpec {
    /// What to tell a person who asks for a broker that is not built in.
    pub fn not_built_in(&self) -> String {
        format!("broker type `{}` is not built in yet; built in: {}", self.kind, built_in())
    }
}

/// Every type of broker, sorted.
pub const BROKERS: &[BrokerSpec] = &[
    BrokerSpec { kind: "exec", summary: "a child process that reads JSON lines", class: None, exactly_once: false, build: None },
    BrokerSpec {
        kind: "file",
        summary: "a file with one JSON document per line",
        class: Some("rasa.core.brokers.file.FileEventBroker"),
        exactly_once: true,
        build: Some(file_from_section),
    },
    BrokerSpec {
        kind: "kafka",
        summary: "a topic of Apache Kafka",
        class: Some("rasa.core.brokers.kafka.KafkaEventBroker"),
        exactly_once: true,
        build: None,
    },
    BrokerSpec {
        kind: "pika",
        summary: "queues of RabbitMQ (AMQP 0-9-1)",
        class: Some("rasa.core.brokers.pika.PikaEventBroker"),
        exactly_once: false,
        build: None,
    },
    BrokerSpec { kind: "redis", summary: "a list or stream of Redis", class: None, exactly_once: true, build: None },
    BrokerSpec {
        kind: "sql",
        summary: "a table of a database (SQLite)",
        class: Some("rasa.core.brokers.sql.SQLEventBroker"),
        exactly_once: true,
        build: Some(sql_from_section),
    },
    BrokerSpec {
        kind: "webhook",
        summary: "HTTP requests to an address of yours",
        class: None,
        exactly_once: false,
        build: None,
    },
];

/// The row for what stands under `type`: a kind in upper or lower case, or the exact class path of Rasa's own.
pub fn find(kind: &str) -> Result<&'static BrokerSpec, UnknownKind> {
    let is_it = |spec: &&BrokerSpec| spec.kind.eq_ignore_ascii_case(kind) || spec.class == Some(kind);
    BROKERS.iter().find(is_it).ok_or_else(|| {
        if kind.contains('.') {
            UnknownKind::Class(kind.to_owned())
        } else {
            let nearest = closest(kind, BROKERS.iter().map(|spec| spec.kind));
            UnknownKind::Word { kind: kind.to_owned(), nearest }
        }
    })
}

/// A `type` that is no row of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// A dotted path: to Rasa a Python class of the user.
    #[error("`{0}` is a Python class, and custom classes are not built in yet; built in: {list}", list = built_in())]
    Class(String),
    /// Neither a type nor a class.
    #[error("unknown broker type `{kind}`{}", suggestion(*nearest))]
    Word {
        /// As it was written.
        kind: String,
        /// The type that was probably meant.
        nearest: Option<&'static str>,
    },
}

fn built_in() -> String {
    let kinds: Vec<&str> = BROKERS.iter().filter(|spec| spec.build.is_some()).map(|spec| spec.kind).collect();
    kinds.join(", ")
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| format!("; built in: {}", built_in()), |kind| format!("; did you mean `{kind}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_sorted_and_unique() {
        assert!(BROKERS.windows(2).all(|pair| pair[0].kind < pair[1].kind));
        assert!(BROKERS.iter().all(|spec| spec.kind == spec.kind.to_ascii_lowercase() && !spec.summary.is_empty()));
    }

    #[test]
    fn types_are_found_in_any_case_and_class_paths_exactly() {
        for (written, kind) in [
            ("PIKA", "pika"),
            ("Sql", "sql"),
            ("FILE", "file"),
            ("rasa.core.brokers.file.FileEventBroker", "file"),
            ("rasa.core.brokers.sql.SQLEventBroker", "sql"),
            ("rasa.core.brokers.pika.PikaEventBroker", "pika"),
            ("rasa.core.brokers.kafka.KafkaEventBroker", "kafka"),
            (DEFAULT_KIND, "pika"),
        ] {
            assert_eq!(find(written).unwrap().kind, kind, "{written}");
        }
        assert!(matches!(find("RASA.core.brokers.file.FileEventBroker"), Err(UnknownKind::Class(_))));
    }

    #[test]
    fn what_is_not_built_in_is_answered_by_name() {
        assert_eq!(find("Kafka").unwrap().not_built_in(), "broker type `kafka` is not built in yet; built in: file, sql");
        let text = |kind: &str| find(kind).unwrap_err().to_string();
        assert_eq!(
            text("addons.MyBroker"),
            "`addons.MyBroker` is a Python class, and custom classes are not built in yet; built in: file, sql"
        );
        assert_eq!(text("kafak"), "unknown broker type `kafak`; did you mean `kafka`?");
        assert_eq!(text("nope"), "unknown broker type `nope`; built in: file, sql");
    }
}
