//! What a section says about the cluster and the way into it, which is the same for the broker and the source, and about producers.

use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use trunkline_config::{Section, UnknownKeys};

use crate::cluster::{Access, Cluster};
use crate::partitions::Partitioner;
use crate::sasl;

/// Rasa's default, for the broker; a source reads what the broker wrote.
const DEFAULT_TOPIC: &str = "rasa_core_events";

const DEFAULT_PORT: u16 = 9092;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Protocol {
    name: &'static str,
    has_sasl: bool,
    has_tls: bool,
}

const PROTOCOLS: [Protocol; 4] = [
    Protocol { name: "PLAINTEXT", has_sasl: false, has_tls: false },
    Protocol { name: "SASL_PLAINTEXT", has_sasl: true, has_tls: false },
    Protocol { name: "SSL", has_sasl: false, has_tls: true },
    Protocol { name: "SASL_SSL", has_sasl: true, has_tls: true },
];

const TLS_KEYS: [&str; 4] = ["ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"];

/// What only a source reads, and what only the broker.
pub(crate) const SOURCE_KEYS: [&str; 1] = ["group_id"];
pub(crate) const BROKER_KEYS: [&str; 4] = ["partition_by_sender", "partitioner", "compression", "queue_size"];

/// Asks for keys that mean nothing here: one section may serve as a broker and as the source that reads it.
pub(crate) fn pass_over(section: &Section<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| section.has(key)) {
        section.node(key);
    }
}

/// Reads what leads to the cluster and into it. A key that is unknown is a warning, as the original ignores it.
pub(crate) fn cluster(section: &Section<'_>, directory: &Path) -> Option<Cluster> {
    section.unknown_keys(UnknownKeys::Warn);
    let protocol = protocol(section);
    let (has_sasl, has_tls) = protocol.map_or((false, false), |protocol| (protocol.has_sasl, protocol.has_tls));
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Info);
    // A server that returns is found soon; librdkafka would wait up to ten seconds between two attempts.
    config.set("reconnect.backoff.max.ms", "1000");
    if let Some(client_id) = section.string("client_id") {
        config.set("client.id", client_id);
    }
    let mut access = Access::default();
    // Read in any case, so that no hint calls them unknown and their values are checked.
    let is_tls_right = read_tls(section, directory, has_tls.then_some(&mut config), &mut access);
    let is_sasl_right = sasl::read(section, directory, has_sasl.then_some(&mut config), &mut access);
    let servers = servers(section);
    let (protocol, servers) = (protocol?, servers?);
    for (keys, has_effect) in [(&sasl::KEYS[..], has_sasl), (&TLS_KEYS[..], has_tls)] {
        for key in keys.iter().filter(|key| !has_effect && section.has(key)) {
            section.warning(key, format!("`{key}` has no effect with `security_protocol: {}`", protocol.name), None);
        }
    }
    config.set("security.protocol", protocol.name).set("bootstrap.servers", &servers);
    (is_tls_right && is_sasl_right).then_some(Cluster { servers: servers.into(), config, access })
}

/// The topic, whose name is checked.
pub(crate) fn topic(section: &Section<'_>) -> Option<String> {
    let topic = section.string("topic").unwrap_or_else(|| DEFAULT_TOPIC.to_owned());
    check_topic(section, &topic).then_some(topic)
}

/// The topics of a source: one, or a list.
pub(crate) fn topics(section: &Section<'_>) -> Option<Vec<String>> {
    let topics = section.strings("topic").filter(|topics| !topics.is_empty()).unwrap_or_else(|| vec![DEFAULT_TOPIC.to_owned()]);
    topics.iter().all(|topic| check_topic(section, topic)).then_some(topics)
}

fn check_topic(section: &Section<'_>, topic: &str) -> bool {
    let is_legal = (1..=249).contains(&topic.len())
        && !matches!(topic, "." | "..")
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if !is_legal {
        let hint = "one topic takes all events; a name cannot be made from an event";
        section.unexpected("topic", "the name of a topic: 1 to 249 letters, digits, `.`, `_` and `-`", Some(hint));
    }
    is_legal
}

/// `None` after an error, when nobody knows which of the other options are needed.
fn protocol(section: &Section<'_>) -> Option<Protocol> {
    let choices = PROTOCOLS.map(|protocol| (protocol.name, protocol));
    section.enumeration("security_protocol", &choices).or_else(|| (!section.has("security_protocol")).then_some(PROTOCOLS[1]))
}

/// `host:port,host:port`, as librdkafka wants it, from one text or a list of them.
fn servers(section: &Section<'_>) -> Option<String> {
    let given = section.required("url", Section::strings)?;
    let servers: Vec<&str> =
        given.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|text| !text.is_empty()).collect();
    let servers: Option<Vec<String>> = servers.into_iter().map(with_port).collect();
    let servers = servers.filter(|servers| !servers.is_empty());
    if servers.is_none() {
        let hint = "several brokers stand in a list, or with commas between them; there is no scheme such as `kafka://`";
        section.unexpected("url", "the address of a broker, as `kafka.example.com` or `10.0.0.7:9092`", Some(hint));
    }
    servers.map(|servers| servers.join(","))
}

/// `host:port` of a host that may have a port; an IPv6 address stands in brackets.
fn with_port(server: &str) -> Option<String> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !server.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (server, DEFAULT_PORT),
    };
    let is_ipv6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|inner| inner.contains(':'));
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'));
    (is_ipv6 || is_name).then(|| format!("{host}:{port}"))
}

/// Reads the options of TLS; false after an error.
fn read_tls(section: &Section<'_>, directory: &Path, config: Option<&mut ClientConfig>, access: &mut Access) -> bool {
    let path = |key| section.string(key).map(|path| directory.join(path));
    let (ca, certificate, key) = (path("ssl_cafile"), path("ssl_certfile"), path("ssl_keyfile"));
    let checks_host = section.boolean("ssl_check_hostname");
    let Some(config) = config else { return true };
    if key.is_some() && certificate.is_none() {
        section.error(
            "ssl_keyfile",
            "`ssl_keyfile` has no meaning without `ssl_certfile`",
            Some("name the certificate of the key"),
        );
        return false;
    }
    // A PEM file may hold both.
    let key = key.or_else(|| certificate.clone());
    for (option, property, path) in [
        ("ssl_cafile", "ssl.ca.location", ca),
        ("ssl_certfile", "ssl.certificate.location", certificate),
        ("ssl_keyfile", "ssl.key.location", key),
    ] {
        if let Some(path) = path {
            config.set(property, path.to_string_lossy());
            access.files.push((option, path));
        }
    }
    // The original hands librdkafka an empty value for false, which it refuses; what was meant is to check no name.
    let checks_host = if checks_host == Some(false) { "none" } else { "https" };
    config.set("ssl.endpoint.identification.algorithm", checks_host);
    true
}

/// What only the broker has.
pub(crate) struct Producer {
    pub(crate) keys_by_conversation: bool,
    pub(crate) partitioner: Partitioner,
    /// Properties of librdkafka.
    pub(crate) options: Vec<(&'static str, String)>,
}

/// Reads what only the broker has.
pub(crate) fn producer(section: &Section<'_>) -> Producer {
    let keys_by_conversation = section.boolean("partition_by_sender").unwrap_or(false);
    let partitioners = [("consistent_random", Partitioner::Crc32), ("murmur2_random", Partitioner::Murmur2)];
    let mut partitioner = section.enumeration("partitioner", &partitioners);
    if partitioner.is_some() && !keys_by_conversation {
        section.warning("partitioner", "`partitioner` has no effect without `partition_by_sender: true`", None);
        partitioner = None;
    }
    let mut options = Vec::new();
    let codecs = ["none", "gzip", "snappy", "lz4", "zstd"].map(|codec| (codec, codec));
    if let Some(codec) = section.enumeration("compression", &codecs) {
        options.push(("compression.type", codec.to_owned()));
    }
    // As in the original, 0 means the default.
    if let Some(messages @ 1..) = section.integer("queue_size", 0..=10_000_000_u32) {
        options.push(("queue.buffering.max.messages", messages.to_string()));
    }
    Producer { keys_by_conversation, partitioner: partitioner.unwrap_or(Partitioner::Crc32), options }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_server_without_a_port_gets_the_default() {
        for (given, expected) in [
            ("localhost", Some("localhost:9092")),
            ("localhost:1", Some("localhost:1")),
            ("kafka_1.intern:65535", Some("kafka_1.intern:65535")),
            ("[::1]", Some("[::1]:9092")),
            ("[::1]:5", Some("[::1]:5")),
            ("localhost:0", None),
            ("localhost:65536", None),
            ("localhost:", None),
            (":9092", None),
            ("kafka://localhost", None),
            ("user@host", None),
            ("a b", None),
        ] {
            assert_eq!(with_port(given).as_deref(), expected, "{given}");
        }
    }
}
