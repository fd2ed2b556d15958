//! Every broker by name, built in or not.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::{Section, closest};
use trunkline_core::{Broker, Source};

use crate::exec::python::{OURS, is_class_path, name_of_class};
use crate::file::file_source_from_section;
use crate::{
    exec_from_section, file_from_section, pika_from_section, pika_source_from_section, python_from_section, redis_from_section,
    redis_source_from_section, sql_from_section, sql_source_from_section, webhook_from_section,
};

/// What an `event_broker` section without a `type` means, as in Rasa.
pub const DEFAULT_KIND: &str = "pika";

/// Builds a broker from its section; paths in it are relative to the directory of the project.
///
/// The caller has asked the section before for all keys that brokers share (`type`, `name`, `filter`, …), so that the
/// section does not call them unknown. Every problem is reported through the section; `None` when no broker can be made,
/// which is never without an error. Nothing outside the process is touched.
pub type Build = fn(&Section<'_>, &Path) -> Option<Arc<dyn Broker>>;

/// Builds a source from its section, under the same rules as [`Build`].
pub type BuildSource = fn(&Section<'_>, &Path, ReadBy<'_>) -> Option<Arc<dyn Source>>;

/// Who reads a source. It decides about what the section leaves open.
#[derive(Clone, Copy, Debug)]
pub enum ReadBy<'a> {
    /// A gateway, which goes on where it was.
    Gateway {
        /// A file of its own for a source that can remember nowhere else how far it was read.
        position: &'a Path,
    },
    /// A person who looks. Unless the section says so, nothing is taken from a gateway that reads there too.
    Person,
}

impl ReadBy<'_> {
    /// The name under which a source remembers how far it was read, where the section gives none.
    pub fn group(self) -> &'static str {
        match self {
            Self::Gateway { .. } => "trunkline",
            Self::Person => "trunkline-consume",
        }
    }
}

/// A row of the table of brokers.
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
    /// How many lanes it has where the section does not say so. One where the cursor is stored with the data, or one batch is
    /// worked on at a time.
    pub lanes: u32,
    /// Whether it works on one batch at a time, so that with several lanes their batches would wait for each other.
    pub one_at_a_time: bool,
    /// The key under which stands what all brokers share, where every other key of the section belongs to a class that is not ours.
    pub shared_under: Option<&'static str>,
    /// Publishes events; `None` while it is not built in.
    pub build: Option<Build>,
    /// Reads events; `None` when it cannot, or is not built in.
    pub source: Option<BuildSource>,
    /// The feature of cargo that it comes with, when it is not always there.
    pub feature: Option<&'static str>,
}

impl BrokerSpec {
    /// A row of a broker of one's own, which publishes at least once.
    pub const fn new(kind: &'static str, summary: &'static str, build: Build) -> Self {
        Self {
            kind,
            summary,
            class: None,
            exactly_once: false,
            lanes: 1,
            one_at_a_time: false,
            shared_under: None,
            build: Some(build),
            source: None,
            feature: None,
        }
    }

    /// What a broker is called that is given no name, when `written` stands under `type`: its kind, or the last part of the path of
    /// a class.
    pub fn default_name<'n>(&self, written: &'n str) -> &'n str {
        if self.shared_under.is_some() { name_of_class(written) } else { self.kind }
    }
}

/// The kind of every broker whose `type` is the path of a Python class.
const PYTHON: &str = "python";

/// The row of Kafka without what the crate `trunkline-kafka` brings.
pub const KAFKA: BrokerSpec = BrokerSpec {
    kind: "kafka",
    summary: "a topic of Apache Kafka",
    class: Some("rasa.core.brokers.kafka.KafkaEventBroker"),
    exactly_once: false,
    lanes: 1,
    one_at_a_time: false,
    shared_under: None,
    build: None,
    source: None,
    feature: Some("kafka"),
};

/// The brokers of this crate, and those that other crates of ours bring; sorted.
const ROWS: &[BrokerSpec] = &[
    BrokerSpec { one_at_a_time: true, ..BrokerSpec::new("exec", "a child process that reads JSON lines", exec_from_section) },
    BrokerSpec {
        class: Some("rasa.core.brokers.file.FileEventBroker"),
        exactly_once: true,
        source: Some(file_source_from_section),
        ..BrokerSpec::new("file", "a file with one JSON document per line", file_from_section)
    },
    KAFKA,
    BrokerSpec {
        class: Some("rasa.core.brokers.pika.PikaEventBroker"),
        // Each waits for the confirms of its conversations; together they keep the server busy.
        lanes: 4,
        source: Some(pika_source_from_section),
        ..BrokerSpec::new("pika", "queues of RabbitMQ (AMQP 0-9-1)", pika_from_section)
    },
    BrokerSpec {
        one_at_a_time: true,
        shared_under: Some(OURS),
        ..BrokerSpec::new(PYTHON, "a Python class as Rasa loads it, by its path in `type`", python_from_section)
    },
    BrokerSpec {
        exactly_once: true,
        source: Some(redis_source_from_section),
        ..BrokerSpec::new("redis", "a list or stream of Redis", redis_from_section)
    },
    BrokerSpec {
        class: Some("rasa.core.brokers.sql.SQLEventBroker"),
        exactly_once: true,
        source: Some(sql_source_from_section),
        ..BrokerSpec::new("sql", "a table of a database (SQLite, PostgreSQL, MySQL, MariaDB)", sql_from_section)
    },
    BrokerSpec::new("webhook", "HTTP requests to an address of yours", webhook_from_section),
];

/// The brokers that a program knows: ours, and those that its author adds.
#[derive(Clone, Debug)]
pub struct Brokers {
    rows: Vec<BrokerSpec>,
}

impl Default for Brokers {
    fn default() -> Self {
        Self { rows: ROWS.to_vec() }
    }
}

impl Brokers {
    /// The same brokers and one more. It takes the place of one of the same kind.
    #[must_use]
    pub fn with(mut self, spec: BrokerSpec) -> Self {
        match self.rows.binary_search_by_key(&spec.kind, |row| row.kind) {
            Ok(at) => self.rows[at] = spec,
            Err(at) => self.rows.insert(at, spec),
        }
        self
    }

    /// The rows, sorted by kind.
    pub fn rows(&self) -> &[BrokerSpec] {
        &self.rows
    }

    /// The row for what stands under `type`: a kind in upper or lower case, the exact class path of one of Rasa's own brokers,
    /// or the path of any other Python class, which is of kind `python`.
    pub fn find(&self, kind: &str) -> Result<&BrokerSpec, UnknownKind> {
        let is_it = |spec: &&BrokerSpec| spec.kind.eq_ignore_ascii_case(kind) || spec.class == Some(kind);
        let of_a_class = || self.rows.iter().find(|spec| spec.kind == PYTHON).filter(|_| is_class_path(kind));
        self.rows.iter().find(is_it).or_else(of_a_class).ok_or_else(|| {
            if kind.contains('.') {
                UnknownKind::Class(kind.to_owned())
            } else {
                let nearest = closest(kind, self.rows.iter().map(|spec| spec.kind)).map(ToOwned::to_owned);
                UnknownKind::Word { kind: kind.to_owned(), nearest, built_in: self.built_in() }
            }
        })
    }

    /// What to tell a person who asks for a broker that is not built in.
    pub fn not_built_in(&self, spec: &BrokerSpec) -> String {
        let kind = spec.kind;
        match spec.feature {
            Some(feature) => format!(
                "broker type `{kind}` is not in this build of Trunkline; build it with `cargo build --release --features {feature}`"
            ),
            None => format!("broker type `{kind}` is not built in yet; built in: {}", self.built_in()),
        }
    }

    fn built_in(&self) -> String {
        let kinds: Vec<&str> = self.rows.iter().filter(|spec| spec.build.is_some()).map(|spec| spec.kind).collect();
        kinds.join(", ")
    }
}

/// A `type` that is no row of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// Text with a dot that is no path of a Python class.
    #[error("`{0}` is neither a broker type nor the path of a Python class, as `package.module.Class`")]
    Class(String),
    /// Neither a type nor a class.
    #[error("unknown broker type `{kind}`{}", suggestion(nearest.as_deref(), built_in))]
    Word {
        /// As it was written.
        kind: String,
        /// The type that was probably meant.
        nearest: Option<String>,
        /// The types there are, for a person.
        built_in: String,
    },
}

fn suggestion(nearest: Option<&str>, built_in: &str) -> String {
    nearest.map_or_else(|| format!("; built in: {built_in}"), |kind| format!("; did you mean `{kind}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_sorted_and_unique() {
        assert!(ROWS.windows(2).all(|pair| pair[0].kind < pair[1].kind));
        assert!(ROWS.iter().all(|spec| spec.kind == spec.kind.to_ascii_lowercase() && !spec.summary.is_empty()));
    }

    #[test]
    fn what_can_have_one_lane_only_has_one() {
        for spec in ROWS {
            assert!(spec.lanes == 1 || !spec.exactly_once && !spec.one_at_a_time, "{}", spec.kind);
        }
        assert_eq!(Brokers::default().find("pika").unwrap().lanes, 4);
    }

    #[test]
    fn types_are_found_in_any_case_and_class_paths_exactly() {
        let brokers = Brokers::default();
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
            assert_eq!(brokers.find(written).unwrap().kind, kind, "{written}");
        }
        assert!(matches!(brokers.find("my-package.MyBroker"), Err(UnknownKind::Class(_))));
    }

    #[test]
    fn a_class_is_called_after_the_last_part_of_its_path_and_others_after_their_kind() {
        let brokers = Brokers::default();
        let name = |written: &'static str| brokers.find(written).unwrap().default_name(written).to_owned();
        assert_eq!(name("my_package.brokers.MyBroker"), "MyBroker");
        assert_eq!([name("FILE"), name("rasa.core.brokers.file.FileEventBroker")], ["file", "file"]);
    }

    #[test]
    fn what_is_not_built_in_is_answered_by_name() {
        let brokers = Brokers::default();
        assert_eq!(
            brokers.not_built_in(brokers.find("Kafka").unwrap()),
            "broker type `kafka` is not in this build of Trunkline; build it with `cargo build --release --features kafka`"
        );
        let text = |kind: &str| brokers.find(kind).unwrap_err().to_string();
        assert_eq!(text("kafak"), "unknown broker type `kafak`; did you mean `kafka`?");
        assert!(text("nope").starts_with("unknown broker type `nope`; built in: "));
    }

    #[test]
    fn a_row_of_ones_own_is_found_and_may_replace_ours() {
        let own = BrokerSpec::new("kinesis", "a stream of ours", file_from_section);
        let brokers = Brokers::default()
            .with(own)
            .with(BrokerSpec { summary: "another", ..BrokerSpec::new("kafka", "", file_from_section) });
        assert_eq!(brokers.find("Kinesis").unwrap().summary, "a stream of ours");
        assert_eq!(brokers.find("kafka").unwrap().summary, "another");
        assert!(brokers.rows().windows(2).all(|pair| pair[0].kind < pair[1].kind));
    }
}
