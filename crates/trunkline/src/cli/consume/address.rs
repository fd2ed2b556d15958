//! From an address on the command line to the source that reads it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use trunkline_adapter::ReadBy;
use trunkline_config::{Diagnostics, Document, Severity, UnknownKeys};
use trunkline_core::Source;
use trunkline_gateway::{Adapters, find_readable};

use crate::cli::output::{self, Failure};

/// What an address leaves open.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct PlaceArgs {
    /// For RabbitMQ: the queue.
    #[arg(long, value_name = "NAME")]
    pub(super) queue: Option<String>,
    /// For Kafka: the topic.
    #[arg(long, value_name = "NAME")]
    pub(super) topic: Option<String>,
    /// For Redis: the key of the stream or list.
    #[arg(long, value_name = "NAME")]
    pub(super) key: Option<String>,
    /// For databases: the table.
    #[arg(long, value_name = "NAME")]
    pub(super) table: Option<String>,
    /// Any other option of the section, as in --option structure=list; may be given more than once.
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = option)]
    pub(super) options: Vec<(String, String)>,
}

/// A kind of broker as it is addressed.
struct Addressed {
    kind: &'static str,
    schemes: &'static [&'static str],
    /// The option of the command line that says where in the broker, and the key that it is in the section.
    place: Option<(&'static str, &'static str)>,
}

const KINDS: [Addressed; 5] = [
    Addressed { kind: "pika", schemes: &["amqp", "amqps"], place: Some(("queue", "queues")) },
    Addressed { kind: "kafka", schemes: &["kafka"], place: Some(("topic", "topic")) },
    Addressed { kind: "redis", schemes: &["redis", "rediss"], place: Some(("key", "key")) },
    Addressed {
        kind: "sql",
        schemes: &["postgresql", "postgres", "mysql", "mariadb", "sqlite"],
        place: Some(("table", "table")),
    },
    Addressed { kind: "file", schemes: &["file"], place: None },
];

impl PlaceArgs {
    /// The source at `address`.
    pub(super) fn source(&self, address: &str, adapters: &Adapters) -> Result<Arc<dyn Source>, Failure> {
        let (kind, section) = self.section(address).map_err(Failure::new)?;
        let (_, build) = find_readable(kind, adapters).map_err(Failure::new)?;
        let diagnostics = Diagnostics::new();
        let source = Document::parse("command line", &section, &|_| None, &diagnostics).and_then(|document| {
            document.read(UnknownKeys::Refuse, &diagnostics, |section| {
                section.node("type");
                build(section, Path::new(""), ReadBy::Person)
            })
        });
        for problem in diagnostics.sorted() {
            let hint = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            let line = format!("{}: {}{hint}", problem.path, problem.message);
            if problem.severity == Severity::Error {
                return Err(Failure::new(line));
            }
            output::note(line);
        }
        source.ok_or_else(|| Failure::new(format!("`{address}` cannot be read")))
    }

    /// The kind of broker, and its section in YAML.
    fn section(&self, address: &str) -> Result<(&'static str, String), String> {
        let (scheme, rest) = match address.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("file", address.strip_prefix("file:").unwrap_or(address)),
        };
        // A driver, as in `postgresql+psycopg2`, is part of the scheme.
        let name = scheme.split('+').next().unwrap_or_default().to_ascii_lowercase();
        let Some(Addressed { kind, place, .. }) = KINDS.iter().find(|kind| kind.schemes.contains(&name.as_str())) else {
            let known: Vec<_> = KINDS.iter().flat_map(|kind| kind.schemes).map(|scheme| format!("{scheme}://")).collect();
            return Err(format!("`{scheme}://` is not known; known are {}, and the path of a file", known.join(", ")));
        };
        let own = match *kind {
            "file" => ("path", rest),
            "kafka" => ("url", rest.trim_end_matches('/')),
            _ => ("url", address),
        };
        let mut entries = vec![("type", *kind), own];
        let given = [("queue", &self.queue), ("topic", &self.topic), ("key", &self.key), ("table", &self.table)];
        for (flag, value) in given {
            let Some(value) = value else { continue };
            match place {
                Some((expected, key)) if *expected == flag => entries.push((key, value)),
                Some((expected, _)) => return Err(format!("--{flag} says nothing to {scheme}://, which takes --{expected}")),
                None => return Err(format!("--{flag} says nothing to a file")),
            }
        }
        entries.extend(self.options.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        let mut seen = HashSet::new();
        if let Some((key, _)) = entries.iter().find(|(key, _)| !seen.insert(*key)) {
            return Err(format!("`{key}` is given twice"));
        }
        // Texts in quotes are taken as they are; accessors for numbers and booleans read them too.
        let line = |(key, value): &(&str, &str)| format!("{}: {}\n", quoted(key), quoted(value));
        Ok((kind, entries.iter().map(line).collect()))
    }
}

/// A text in YAML's double quotes, which are those of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(address: &str, place: &PlaceArgs) -> Result<(&'static str, String), String> {
        place.section(address)
    }

    #[test]
    fn an_address_is_written_as_a_section() {
        let some = |text: &str| Some(text.to_owned());
        for (address, place, kind, text) in [
            (
                "amqp://u:p%20@h:5673/events%2Feu",
                PlaceArgs { queue: some("q"), ..PlaceArgs::default() },
                "pika",
                "\"type\": \"pika\"\n\"url\": \"amqp://u:p%20@h:5673/events%2Feu\"\n\"queues\": \"q\"\n",
            ),
            (
                "kafka://a:9092,b:9093/",
                PlaceArgs { topic: some("t"), options: vec![("security_protocol".into(), "SSL".into())], ..PlaceArgs::default() },
                "kafka",
                "\"type\": \"kafka\"\n\"url\": \"a:9092,b:9093\"\n\"topic\": \"t\"\n\"security_protocol\": \"SSL\"\n",
            ),
            (
                "postgresql+psycopg2://h/d",
                PlaceArgs { table: some("events"), ..PlaceArgs::default() },
                "sql",
                "\"type\": \"sql\"\n\"url\": \"postgresql+psycopg2://h/d\"\n\"table\": \"events\"\n",
            ),
            (
                "redis://h",
                PlaceArgs { options: vec![("group".into(), "g".into())], ..PlaceArgs::default() },
                "redis",
                "\"type\": \"redis\"\n\"url\": \"redis://h\"\n\"group\": \"g\"\n",
            ),
            ("file:a \"b\".log", PlaceArgs::default(), "file", "\"type\": \"file\"\n\"path\": \"a \\\"b\\\".log\"\n"),
            ("file:///tmp/x", PlaceArgs::default(), "file", "\"type\": \"file\"\n\"path\": \"/tmp/x\"\n"),
            ("events.log", PlaceArgs::default(), "file", "\"type\": \"file\"\n\"path\": \"events.log\"\n"),
        ] {
            assert_eq!(section(address, &place), Ok((kind, text.to_owned())));
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let queue = PlaceArgs { queue: Some("q".into()), ..PlaceArgs::default() };
        let error = |address: &str, place: &PlaceArgs| section(address, place).expect_err(address);
        assert_eq!(error("kafka://h", &queue), "--queue says nothing to kafka://, which takes --topic");
        assert_eq!(error("x.log", &queue), "--queue says nothing to a file");
        assert!(error("http://h", &PlaceArgs::default()).starts_with("`http://` is not known; known are amqp://, "));
        let twice = PlaceArgs { options: vec![("url".into(), "x".into())], ..PlaceArgs::default() };
        assert_eq!(error("redis://h", &twice), "`url` is given twice");
    }
}
