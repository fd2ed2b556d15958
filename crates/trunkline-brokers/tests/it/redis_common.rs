//! Brokers and sources from YAML, and another client that looks at what is in Redis.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::MultiplexedConnection;
use ::redis::cluster::ClusterClient;
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Value, cmd, from_redis_value};
use trunkline_adapter::ReadBy;
use trunkline_brokers::{redis_from_section, redis_source_from_section};
use trunkline_config::{Diagnostics, Document, Section, Severity, UnknownKeys};
use trunkline_core::{Broker, CursorKey, Event, Source};
use trunkline_testkit::services;
use uuid::Uuid;

/// What `read` makes of a section, and what was said about it, as `severity: path: message (hint)`.
pub(crate) fn read<T>(yaml: &str, read: impl FnOnce(&Section<'_>, &Path) -> Option<T>) -> (Option<T>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("event_broker:\n  {}\n", yaml.replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let made = document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| {
            section.node("type");
            read(section, Path::new("/nowhere"))
        })
    });
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    (made.flatten(), said.collect())
}

/// The broker of a section without a fault.
pub(crate) fn broker(yaml: &str) -> Arc<dyn Broker> {
    let (broker, said) = read(yaml, redis_from_section);
    assert_eq!(said, [""; 0], "{yaml}");
    broker.unwrap()
}

/// The source of a section without a fault.
pub(crate) fn source(yaml: &str) -> Arc<dyn Source> {
    let (source, said) = read(yaml, |section, directory| redis_source_from_section(section, directory, ReadBy::Gateway));
    assert_eq!(said, [""; 0], "{yaml}");
    source.unwrap()
}

/// The URL of the shared server, for the user without a password.
pub(crate) fn url() -> String {
    format!("redis://127.0.0.1:{}", services::port("redis"))
}

/// A name for keys that no other test has.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", Uuid::new_v4().simple())
}

/// Where the cursor is, on a single server.
pub(crate) fn cursor_key(cursor: &CursorKey) -> String {
    format!("trunkline:cursor:{}:{}", cursor.journal, cursor.subscription)
}

pub(crate) async fn client(url: &str) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(10)))
        .set_response_timeout(Some(Duration::from_mins(1)));
    Client::open(url).unwrap().get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Runs a command that stands in a line, its words separated by blanks.
pub(crate) async fn run<T: FromRedisValue>(url: &str, line: &str) -> T {
    let mut words = line.split(' ');
    let mut command = Cmd::new();
    for word in words.by_ref() {
        command.arg(word);
    }
    command.query_async(&mut client(url).await).await.unwrap()
}

/// The bodies in a list, from left to right.
pub(crate) async fn list(url: &str, key: &str) -> Vec<String> {
    run(url, &format!("LRANGE {key} 0 -1")).await
}

/// The fields of each entry of a stream, in order.
pub(crate) async fn stream(url: &str, key: &str) -> Vec<HashMap<String, String>> {
    fields(run(url, &format!("XRANGE {key} - +")).await)
}

/// The same, of a stream of a cluster.
pub(crate) async fn cluster_stream(url: &str, key: &str) -> Vec<HashMap<String, String>> {
    fields(cmd("XRANGE").arg(key).arg("-").arg("+").query_async(&mut cluster(url).await).await.unwrap())
}

fn fields(entries: Vec<Value>) -> Vec<HashMap<String, String>> {
    let fields = |entry| {
        let Value::Array(mut parts) = entry else { panic!("no entry: {entry:?}") };
        from_redis_value(parts.remove(1)).unwrap()
    };
    entries.into_iter().map(fields).collect()
}

/// A client of a cluster.
pub(crate) async fn cluster(url: &str) -> ClusterConnection {
    let builder =
        ClusterClient::builder([url]).response_timeout(Duration::from_mins(1)).connection_timeout(Duration::from_secs(10));
    builder.build().unwrap().get_async_connection().await.unwrap()
}

/// The bodies in a stream of a cluster, in order.
pub(crate) async fn cluster_bodies(url: &str, key: &str) -> Vec<String> {
    cluster_stream(url, key).await.into_iter().map(|mut fields| fields.remove("data").unwrap()).collect()
}

/// The keys of a cluster that begin with `prefix`.
pub(crate) async fn cluster_keys(url: &str, prefix: &str) -> Vec<String> {
    let keys: Vec<String> = cmd("KEYS").arg(format!("{prefix}*")).query_async(&mut cluster(url).await).await.unwrap();
    keys
}

/// The bodies in a stream, in order.
pub(crate) async fn bodies(url: &str, key: &str) -> Vec<String> {
    stream(url, key).await.into_iter().map(|mut fields| fields.remove("data").unwrap()).collect()
}

pub(crate) fn expected(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.body_str().to_owned()).collect()
}

/// The event as one of another type.
pub(crate) fn typed(event: &Arc<Event>, event_type: &str) -> Arc<Event> {
    let mut event = Event::clone(event);
    event.event_type = event_type.into();
    Arc::new(event)
}
