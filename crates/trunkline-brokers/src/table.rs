//! The brokers and sources of this crate by name, and those that are only known.

use trunkline_adapter::{BrokerSpec, Concurrency, SourceSpec, Spec as _, Table, Unknown};

use crate::exec::python::{OURS, is_class_path, name_of_class};
use crate::file::file_source_from_section;
use crate::{
    exec_from_section, file_from_section, pika_from_section, pika_source_from_section, python_from_section, redis_from_section,
    redis_source_from_section, sql_from_section, sql_source_from_section, webhook_from_section,
};

/// What an `event_broker` section without a `type` means, as in Rasa.
pub const DEFAULT_KIND: &str = "pika";

/// The kind of every broker whose `type` is the path of a Python class.
const PYTHON: &str = "python";

/// What a row of either table is called. A source goes by the type of the broker that publishes there.
const NOUN: &str = "broker type";

const FILE: (&str, &str) = ("file", "a file with one JSON document per line");
const FILE_CLASS: Option<&str> = Some("rasa.core.brokers.file.FileEventBroker");
const KAFKA: (&str, &str) = ("kafka", "a topic of Apache Kafka");
const KAFKA_CLASS: Option<&str> = Some("rasa.core.brokers.kafka.KafkaEventBroker");
const PIKA: (&str, &str) = (DEFAULT_KIND, "queues of RabbitMQ (AMQP 0-9-1)");
const PIKA_CLASS: Option<&str> = Some("rasa.core.brokers.pika.PikaEventBroker");
const REDIS: (&str, &str) = ("redis", "a list or stream of Redis");
const SQL: (&str, &str) = ("sql", "a table of a database (SQLite, PostgreSQL, MySQL, MariaDB)");
const SQL_CLASS: Option<&str> = Some("rasa.core.brokers.sql.SQLEventBroker");

/// Every broker that is known.
pub fn brokers() -> Table<BrokerSpec> {
    let rows = [
        BrokerSpec {
            concurrency: Concurrency::OneAtATime,
            ..BrokerSpec::new("exec", "a child process that reads JSON lines", exec_from_section)
        },
        BrokerSpec {
            class: FILE_CLASS,
            concurrency: Concurrency::StoresCursor,
            ..BrokerSpec::new(FILE.0, FILE.1, file_from_section)
        },
        BrokerSpec { class: KAFKA_CLASS, feature: Some("kafka"), ..BrokerSpec::known(KAFKA.0, KAFKA.1) },
        BrokerSpec {
            class: PIKA_CLASS,
            // Each waits for the confirms of its conversations; together they keep the server busy.
            concurrency: Concurrency::Lanes(4),
            ..BrokerSpec::new(PIKA.0, PIKA.1, pika_from_section)
        },
        BrokerSpec {
            concurrency: Concurrency::OneAtATime,
            shared_under: Some(OURS),
            ..BrokerSpec::new(PYTHON, "a Python class as Rasa loads it, by its path in `type`", python_from_section)
        },
        BrokerSpec { concurrency: Concurrency::StoresCursor, ..BrokerSpec::new(REDIS.0, REDIS.1, redis_from_section) },
        BrokerSpec {
            class: SQL_CLASS,
            concurrency: Concurrency::StoresCursor,
            ..BrokerSpec::new(SQL.0, SQL.1, sql_from_section)
        },
        BrokerSpec::new("webhook", "HTTP requests to an address of yours", webhook_from_section),
    ];
    Table::new(NOUN, rows)
}

/// Every source that is known.
pub fn sources() -> Table<SourceSpec> {
    let rows = [
        SourceSpec { class: FILE_CLASS, ..SourceSpec::new(FILE.0, FILE.1, file_source_from_section) },
        SourceSpec { class: KAFKA_CLASS, feature: Some("kafka"), ..SourceSpec::known(KAFKA.0, KAFKA.1) },
        SourceSpec { class: PIKA_CLASS, ..SourceSpec::new(PIKA.0, PIKA.1, pika_source_from_section) },
        SourceSpec::new(REDIS.0, REDIS.1, redis_source_from_section),
        SourceSpec { class: SQL_CLASS, ..SourceSpec::new(SQL.0, SQL.1, sql_source_from_section) },
    ];
    Table::new(NOUN, rows)
}

/// The row for what stands under `type`: as in [`Table::find`], and the path of a Python class that is none of Rasa's own is of
/// kind `python`.
pub fn find<'t>(brokers: &'t Table<BrokerSpec>, written: &str) -> Result<&'t BrokerSpec, UnknownType> {
    brokers.find(written).or_else(|unknown| {
        if !written.contains('.') {
            return Err(UnknownType::Word(unknown));
        }
        let python = brokers.find_exactly(PYTHON).ok().filter(|_| is_class_path(written));
        python.ok_or_else(|| UnknownType::Class(written.to_owned()))
    })
}

/// What a broker is called that is given no name, when `written` stands under `type`: its kind, or the last part of the path of
/// a class.
pub fn default_name<'n>(spec: &'n BrokerSpec, written: &'n str) -> &'n str {
    if spec.shared_under.is_some() { name_of_class(written) } else { spec.kind() }
}

/// A `type` that is no row of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownType {
    /// Text with a dot that is no path of a Python class.
    #[error("`{0}` is neither a broker type nor the path of a Python class, as `package.module.Class`")]
    Class(String),
    /// Neither a type nor a class.
    #[error(transparent)]
    Word(#[from] Unknown),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_and_have_a_summary() {
        for (kind, summary) in brokers()
            .rows()
            .iter()
            .map(|row| (row.kind, row.summary))
            .chain(sources().rows().iter().map(|row| (row.kind, row.summary)))
        {
            assert!(kind == kind.to_ascii_lowercase() && !summary.is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_source_goes_by_the_names_of_its_broker() {
        let brokers = brokers();
        for source in sources().rows() {
            let broker = brokers.find_exactly(source.kind).unwrap();
            assert_eq!((source.class, source.feature), (broker.class, broker.feature), "{}", source.kind);
        }
    }

    #[test]
    fn types_are_found_in_any_case_and_class_paths_exactly() {
        let brokers = brokers();
        for (written, kind) in [
            ("PIKA", "pika"),
            ("Sql", "sql"),
            ("FILE", "file"),
            ("rasa.core.brokers.file.FileEventBroker", "file"),
            ("rasa.core.brokers.sql.SQLEventBroker", "sql"),
            ("rasa.core.brokers.pika.PikaEventBroker", "pika"),
            ("rasa.core.brokers.kafka.KafkaEventBroker", "kafka"),
            ("my_package.brokers.MyBroker", "python"),
            ("RASA.core.brokers.file.FileEventBroker", "python"),
            (DEFAULT_KIND, "pika"),
        ] {
            assert_eq!(find(&brokers, written).unwrap().kind, kind, "{written}");
        }
        assert!(matches!(find(&brokers, "my-package.MyBroker"), Err(UnknownType::Class(_))));
    }

    #[test]
    fn a_class_is_called_after_the_last_part_of_its_path_and_others_after_their_kind() {
        let brokers = brokers();
        let name = |written: &'static str| default_name(find(&brokers, written).unwrap(), written).to_owned();
        assert_eq!(name("my_package.brokers.MyBroker"), "MyBroker");
        assert_eq!([name("FILE"), name("rasa.core.brokers.file.FileEventBroker")], ["file", "file"]);
    }

    #[test]
    fn a_type_that_nobody_knows_is_answered_by_name() {
        let brokers = brokers();
        let text = |kind: &str| find(&brokers, kind).unwrap_err().to_string();
        assert_eq!(text("kafak"), "unknown broker type `kafak`; did you mean `kafka`?");
        assert!(text("nope").starts_with("unknown broker type `nope`; built in: "));
    }
}
