//! What a section says about the cluster and how to get in; the same for the broker and the source.

use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use trunkline_config::{Secret, Section, UnknownKeys};

use crate::cluster::{Access, Cluster};
use crate::oauth::Token;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    /// PLAIN and SCRAM: a user name and a password.
    Password(&'static str),
    OauthBearer,
    Gssapi,
}

const MECHANISMS: [(&str, Mechanism); 5] = [
    ("PLAIN", Mechanism::Password("PLAIN")),
    ("SCRAM-SHA-256", Mechanism::Password("SCRAM-SHA-256")),
    ("SCRAM-SHA-512", Mechanism::Password("SCRAM-SHA-512")),
    ("OAUTHBEARER", Mechanism::OauthBearer),
    ("GSSAPI", Mechanism::Gssapi),
];

const SASL_KEYS: [&str; 8] = [
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "sasl_oauthbearer_token_file",
    "sasl_oauthbearer_unsecured_principal",
    "sasl_kerberos_service_name",
    "sasl_kerberos_keytab",
    "sasl_kerberos_principal",
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
    if let Some(client_id) = section.string("client_id") {
        config.set("client.id", client_id);
    }
    let mut access = Access::default();
    // Read in any case, so that no hint calls them unknown and their values are checked.
    let is_tls_right = read_tls(section, directory, has_tls.then_some(&mut config), &mut access);
    let is_sasl_right = read_sasl(section, directory, has_sasl.then_some(&mut config), &mut access);
    let servers = servers(section);
    let (protocol, servers) = (protocol?, servers?);
    for (keys, has_effect) in [(&SASL_KEYS[..], has_sasl), (&TLS_KEYS[..], has_tls)] {
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

/// Reads the options of SASL; false after an error.
fn read_sasl(section: &Section<'_>, directory: &Path, config: Option<&mut ClientConfig>, access: &mut Access) -> bool {
    let mechanism = section.enumeration("sasl_mechanism", &MECHANISMS);
    let username = section.string("sasl_username").filter(|name| !name.is_empty());
    let password = section.secret("sasl_password").filter(|password| !password.expose().is_empty());
    let token_file = section.string("sasl_oauthbearer_token_file").map(|path| directory.join(path));
    let unsecured = section.string("sasl_oauthbearer_unsecured_principal");
    let kerberos = Kerberos {
        service: section.string("sasl_kerberos_service_name"),
        keytab: section.string("sasl_kerberos_keytab").map(|path| directory.join(path).to_string_lossy().into_owned()),
        principal: section.string("sasl_kerberos_principal"),
    };
    let Some(config) = config else { return true };
    let mechanism = match mechanism {
        Some(mechanism) => mechanism,
        None if section.has("sasl_mechanism") => return false,
        None => Mechanism::Password("PLAIN"),
    };
    match mechanism {
        Mechanism::Password(name) => {
            config.set("sasl.mechanism", name);
            set_password(section, config, name, username, password)
        }
        Mechanism::OauthBearer => {
            config.set("sasl.mechanism", "OAUTHBEARER");
            access.token = match (token_file, unsecured) {
                (Some(path), None) => {
                    access.files.push(("sasl_oauthbearer_token_file", path.clone()));
                    Some(Token::File(path))
                }
                (None, Some(principal)) => Some(Token::Unsecured(principal)),
                (Some(_), Some(_)) => {
                    let message = "`sasl_oauthbearer_unsecured_principal` contradicts `sasl_oauthbearer_token_file`";
                    section.error("sasl_oauthbearer_unsecured_principal", message, Some("leave out one of them"));
                    None
                }
                (None, None) => {
                    let hint = "name the file that holds the bearer token; it is read again before the token expires";
                    let message = "`sasl_mechanism: OAUTHBEARER` needs `sasl_oauthbearer_token_file`";
                    section.error("sasl_oauthbearer_token_file", message, Some(hint));
                    None
                }
            };
            access.token.is_some()
        }
        Mechanism::Gssapi => kerberos.set(section, config, access),
    }
}

fn set_password(
    section: &Section<'_>,
    config: &mut ClientConfig,
    mechanism: &str,
    username: Option<String>,
    password: Option<Secret>,
) -> bool {
    // Both have defaults that ask for a password, so a section for a server without one meets this first.
    let hint = if section.has("security_protocol") {
        "for a server that asks for no password, choose another `security_protocol`"
    } else {
        "without `security_protocol` it is SASL_PLAINTEXT; for a server that asks for no password, write `security_protocol: PLAINTEXT`"
    };
    let missing = |key| section.error(key, format!("`{key}` is required for the SASL mechanism {mechanism}"), Some(hint));
    if username.is_none() {
        missing("sasl_username");
    }
    if password.is_none() {
        missing("sasl_password");
    }
    let (Some(username), Some(password)) = (username, password) else { return false };
    config.set("sasl.username", username).set("sasl.password", password.expose());
    true
}

/// The options of GSSAPI.
struct Kerberos {
    service: Option<String>,
    keytab: Option<String>,
    principal: Option<String>,
}

impl Kerberos {
    fn set(self, section: &Section<'_>, config: &mut ClientConfig, access: &mut Access) -> bool {
        if !cfg!(feature = "gssapi") {
            let message = "the SASL mechanism GSSAPI (Kerberos) is not in this build of Trunkline";
            let hint = "build it with `cargo build --release --features kafka-gssapi`, which needs libsasl2-dev";
            section.error("sasl_mechanism", message, Some(hint));
            return false;
        }
        // They become words of a command for the shell, which gets the ticket.
        let mut is_right = true;
        for (key, value) in [("sasl_kerberos_keytab", &self.keytab), ("sasl_kerberos_principal", &self.principal)] {
            let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '+' | ':' | ',' | '=');
            if value.as_ref().is_some_and(|value| !value.chars().all(is_plain)) {
                section.unexpected(key, "letters, digits and `/._-@+:,=` only", Some("it is used in a command for the shell"));
                is_right = false;
            }
        }
        if self.keytab.is_some() && self.principal.is_none() {
            let message = "`sasl_kerberos_principal` is required with `sasl_kerberos_keytab`";
            section.error("sasl_kerberos_principal", message, Some("name the principal whose key the file holds"));
            is_right = false;
        }
        config.set("sasl.mechanism", "GSSAPI");
        config.set("sasl.kerberos.service.name", self.service.unwrap_or_else(|| "kafka".to_owned()));
        match (self.keytab, self.principal) {
            (Some(keytab), Some(principal)) => {
                config.set("sasl.kerberos.kinit.cmd", format!("kinit -k -t {keytab} {principal}"));
                access.files.push(("sasl_kerberos_keytab", keytab.into()));
            }
            // Then a ticket is there already, and somebody else renews it.
            (_, principal) => {
                config.set("sasl.kerberos.kinit.cmd", ":").set("sasl.kerberos.min.time.before.relogin", "0");
                if let Some(principal) = principal {
                    config.set("sasl.kerberos.principal", principal);
                }
            }
        }
        is_right
    }
}

/// What only the broker has: whether the key is the conversation, and properties of librdkafka for producers.
pub(crate) fn producer(section: &Section<'_>) -> (bool, Vec<(&'static str, String)>) {
    let keys_by_conversation = section.boolean("partition_by_sender").unwrap_or(false);
    let mut options = Vec::new();
    let names = |names: &'static [&'static str]| names.iter().map(|name| (*name, *name)).collect::<Vec<_>>();
    if let Some(partitioner) = section.enumeration("partitioner", &names(&["consistent_random", "murmur2_random"])) {
        options.push(("partitioner", partitioner.to_owned()));
        if !keys_by_conversation {
            section.warning("partitioner", "`partitioner` has no effect without `partition_by_sender: true`", None);
        }
    }
    if let Some(compression) = section.enumeration("compression", &names(&["none", "gzip", "snappy", "lz4"])) {
        options.push(("compression.type", compression.to_owned()));
    }
    // As in the original, 0 means the default.
    if let Some(messages @ 1..) = section.integer("queue_size", 0..=10_000_000_u32) {
        options.push(("queue.buffering.max.messages", messages.to_string()));
    }
    (keys_by_conversation, options)
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
