//! RabbitMQ: what is said about a section.

use std::path::Path;

use trunkline_brokers::{AmqpBroker, AmqpSource};
use trunkline_config::{Diagnostics, Document, Style, UnknownKeys};

use crate::amqp_common::read;

const LOGIN: &str = "username: u\npassword: p\n";

fn said(more: &str) -> Vec<String> {
    said_in(more, &|_| None)
}

fn said_in(more: &str, environment: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let yaml = if more.contains("url:") { more.to_owned() } else { format!("url: localhost\n{LOGIN}queues: q\n{more}") };
    let (broker, said) = read(&yaml, |section| AmqpBroker::from_section(section, Path::new("/nowhere"), environment));
    let has_errors = said.iter().any(|said| said.starts_with("error"));
    assert!(broker.is_some() || has_errors, "{yaml}");
    said
}

#[test]
fn every_option_of_the_original_is_known_with_its_types() {
    let all = "port: '5673'\nqueues: [a, b]\nexchange_name: e\nshould_keep_unpublished_messages: false\nraise_on_failure: true\n\
               connection_attempts: 20\nretry_delay_in_seconds: 5";
    assert_eq!(said(&format!("url: localhost\n{LOGIN}{all}")), [""; 0]);
    for (wrong, expected) in [
        ("port: http", "error: event_broker.port: expected a port number from 1 to 65535, found \"http\""),
        ("raise_on_failure: yes", "error: event_broker.raise_on_failure: expected true or false, found \"yes\""),
        ("connection_attempts: 0", "error: event_broker.connection_attempts: expected an integer from 1 to 4294967295, found 0"),
        ("retry_delay_in_seconds: soon", "error: event_broker.retry_delay_in_seconds: expected a duration"),
        ("should_keep_unpublished_messages: 1", "error: event_broker.should_keep_unpublished_messages: expected true or false"),
        ("exchange_name: ''", "error: event_broker.exchange_name: a name has 1 to 255 bytes here, this one has 0"),
        (
            "exchange_type: fanuot",
            "error: event_broker.exchange_type: expected one of fanout, topic, direct, found \"fanuot\" (did you mean `fanout`?)",
        ),
        ("queue_type: stream", "error: event_broker.queue_type: expected one of classic, quorum, found \"stream\""),
        ("routing_key: $nobody", "error: event_broker.routing_key: there is no `$nobody`"),
        (
            "exchange_type: direct\nrouting_key: $event",
            "error: event_broker.routing_key: a direct exchange needs a routing key that is always the same",
        ),
    ] {
        let said = said(wrong);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{wrong}: {said:?}");
    }
}

#[test]
fn a_missing_address_or_login_is_an_error_for_each() {
    assert_eq!(
        read("queues: q", |section| AmqpBroker::from_section(section, Path::new("/"), &|_| None)).1,
        ["error: event_broker.url: required key is missing (add `url: …`)"]
    );
    assert_eq!(
        said("url: localhost\nqueues: q"),
        [
            "error: event_broker.username: required key is missing (add `username: …`)",
            "error: event_broker.password: required key is missing (add `password: …`)",
        ]
    );
    assert_eq!(
        said("url: amqp://u@localhost\nqueues: q"),
        ["error: event_broker.password: required key is missing (add `password: …`)"]
    );
    assert_eq!(said("url: amqp://u:p@localhost\nqueues: q"), [""; 0]);
    assert_eq!(
        said(&format!("url: amqp://a:b@localhost\nqueues: q\n{LOGIN}")),
        ["warning: event_broker.url: the URL names another login than `username` and `password`, which win"]
    );
}

#[test]
fn what_names_no_queue_means_the_default_and_is_warned_of() {
    let hint = "(name one, as in `queues: rasa_core_events`)";
    let expected = [format!("warning: event_broker.queues: no queue is named, so that it is `rasa_core_events` {hint}")];
    for queues in ["", "queues:", "queues: []", "queues: ''", "queues: 5", "queues: {}"] {
        assert_eq!(said(&format!("url: localhost\n{LOGIN}{queues}")), expected, "{queues}");
    }
    for (queues, expected) in [
        ("queues: [a, '']", "error: event_broker.queues: a name has 1 to 255 bytes here, this one has 0"),
        ("queues: amq.q", "error: event_broker.queues: the queue `amq.q` is reserved for the server by the `amq.` before it"),
        ("queues: [[a]]", "error: event_broker.queues[0]: expected text, found a list"),
    ] {
        assert_eq!(said(&format!("url: localhost\n{LOGIN}{queues}")), [expected], "{queues}");
    }
}

#[test]
fn keys_without_an_effect_are_warned_of() {
    assert_eq!(
        said("queue: old\nvirtual_host: /x\ntoken: t\nexchnge_name: e"),
        [
            "warning: event_broker.queue: `queue` has no effect (name it with `queues`)",
            "warning: event_broker.virtual_host: `virtual_host` has no effect (write it behind the host: `url: amqp://host/vhost`)",
            "warning: event_broker.token: `token` has no effect on this type of broker",
            "warning: event_broker.exchnge_name: unknown key `exchnge_name` is ignored (did you mean `exchange_name`?)",
        ]
    );
}

#[test]
fn what_stands_in_a_url_is_read_or_answered() {
    let said = |url: &str| said(&format!("url: '{url}'\n{LOGIN}queues: q"));
    assert_eq!(said("amqp://h/v?heartbeat=30&name=x&no_verify_ssl=0"), [""; 0]);
    assert_eq!(
        said("amqp://u:p@h/v?connection_timeout=10&cacertfile=x#y"),
        [
            "warning: event_broker.url: what follows `#` in the URL is ignored (in a user name or password, `#` is written %23)",
            "warning: event_broker.url: `connection_timeout` in the URL has no effect",
            "warning: event_broker.url: `cacertfile` in the URL has no effect (did you mean `cafile`?)",
        ]
    );
    for (url, expected) in [
        (
            "amqps://h?no_verify_ssl=1",
            "error: event_broker.url: a connection whose certificate is not verified is not supported (name",
        ),
        (
            "amqps://h?capath=/x",
            "error: event_broker.url: `capath` in the URL is not supported (put the certificates into one file",
        ),
        ("amqps://h?keyfile=x", "error: event_broker.url: `keyfile` in the URL needs a `certfile`"),
        ("amqp://h?heartbeat=x", "error: event_broker.url: `heartbeat` in the URL must be seconds from 1 to 65535"),
        ("amqp://h?heartbeat=65536", "error: event_broker.url: `heartbeat` in the URL must be seconds from 1 to 65535"),
        ("amqp://h?heartbeat=0", "warning: event_broker.url: `heartbeat=0` in the URL has no effect (it can only be shortened"),
        (
            "amqp://h?cafile=x",
            "warning: event_broker.url: files for TLS have no effect beside `amqp://` (begin the URL with `amqps://`)",
        ),
        ("http://h", "error: event_broker.url: expected a URL that begins with `amqp://` or `amqps://`"),
        ("localhost:5672", "error: event_broker.url: expected the name of a host, or a URL"),
    ] {
        let said = said(url);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{url}: {said:?}");
    }
}

#[test]
fn a_port_beside_another_in_the_url_is_warned_of() {
    let said = |url: &str, port: &str| said(&format!("url: {url}\nport: {port}\n{LOGIN}queues: q"));
    assert_eq!(said("amqp://h:5673", "5672"), ["warning: event_broker.port: the URL names port 5673, which wins over 5672"]);
    assert_eq!(said("amqp://h:5673", "'5673'"), [""; 0]);
    assert_eq!(said("amqp://h", "5673"), [""; 0]);
}

#[test]
fn the_variables_of_the_original_for_tls_are_read_or_answered() {
    let with = |names: &'static [&'static str]| move |name: &str| names.contains(&name).then(|| "/x.pem".to_owned());
    let (certificate, key) = ("RABBITMQ_SSL_CLIENT_CERTIFICATE", "RABBITMQ_SSL_CLIENT_KEY");
    assert_eq!(
        said_in("", &|name| [certificate, key].contains(&name).then(|| "/x.pem".to_owned())),
        [
            "warning: event_broker.url: no `port` is given, so that TLS goes to 5672 as in Rasa (RabbitMQ listens for TLS on 5671 unless told otherwise: set `port: 5671`)"
        ]
    );
    let half = "warning: event_broker.url: the connection is not encrypted: that takes both RABBITMQ_SSL_CLIENT_CERTIFICATE and RABBITMQ_SSL_CLIENT_KEY (or begin the URL with `amqps://`)";
    assert_eq!(said_in("", &with(&["RABBITMQ_SSL_CLIENT_CERTIFICATE"])), [half]);
    assert_eq!(said_in("", &with(&["RABBITMQ_SSL_CA_FILE"])), [half]);
    let all = with(&["RABBITMQ_SSL_CLIENT_CERTIFICATE", "RABBITMQ_SSL_CLIENT_KEY", "RABBITMQ_SSL_KEY_PASSWORD"]);
    assert_eq!(
        said_in("port: 5671", &all),
        [
            "warning: event_broker.url: RABBITMQ_SSL_KEY_PASSWORD has no effect, as in Rasa (decrypt the key file, for example with `openssl pkey`)"
        ]
    );
    assert_eq!(said_in(&format!("url: amqp://h\n{LOGIN}queues: q"), &all), [""; 0]);
    let half = "warning: event_broker.url: no client certificate is shown: that takes both RABBITMQ_SSL_CLIENT_CERTIFICATE and RABBITMQ_SSL_CLIENT_KEY (or name it with `?certfile=…&keyfile=…` in the URL)";
    for name in [&["RABBITMQ_SSL_CLIENT_CERTIFICATE"], &["RABBITMQ_SSL_CLIENT_KEY"]] {
        assert_eq!(said_in(&format!("url: amqps://h\n{LOGIN}queues: q"), &with(name)), [half]);
        assert_eq!(said_in(&format!("url: amqps://h?certfile=x\n{LOGIN}queues: q"), &with(name)), [""; 0]);
    }
}

#[test]
fn a_source_knows_its_own_options() {
    let said = |yaml: &str| read(yaml, |section| AmqpSource::from_section(section, Path::new("/"), &|_| None)).1;
    assert_eq!(said(&format!("url: amqps://h/v\n{LOGIN}queues: [a, b]\nprefetch: 100")), [""; 0]);
    assert_eq!(
        said(&format!("url: h\n{LOGIN}queues: a\nprefetch: 0")),
        ["error: event_broker.prefetch: expected an integer from 1 to 65535, found 0"]
    );
}

#[test]
fn one_section_serves_the_broker_and_the_source_that_reads_its_queues() {
    let section = format!("url: h\n{LOGIN}queues: q\nexchange_name: e\nstrict_order: true\nraise_on_failure: false\nprefetch: 5");
    assert_eq!(said(&section), [""; 0]);
    assert_eq!(read(&section, |section| AmqpSource::from_section(section, Path::new("/"), &|_| None)).1, [""; 0]);
}

#[test]
fn the_examples_of_the_manual_are_accepted() {
    let manual = include_str!("../../../../docs/brokers/rabbitmq.md");
    let examples: Vec<&str> = manual.split("```yaml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let diagnostics = Diagnostics::new();
        let document = Document::parse("example.yml", example, &|_| Some("value".to_owned()), &diagnostics).unwrap();
        document.read(UnknownKeys::Refuse, &diagnostics, |root| {
            root.section("event_broker", |section| {
                section.node("type");
                AmqpBroker::from_section(section, Path::new("/"), &|_| None).unwrap()
            });
            root.sections("sources", |section| {
                section.node("type");
                AmqpSource::from_section(section, Path::new("/"), &|_| None).unwrap()
            });
        });
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
    }
}
