//! From a section of `endpoints.yml` to a broker or a source, without a server.

use std::path::Path;
use std::sync::Arc;

use trunkline_adapter::{ReadBy, Table};
use trunkline_core::Source;
use trunkline_kafka::{BROKER, KafkaBroker, SOURCE, kafka_source_from_section};

use crate::common::from_yaml;

pub(crate) fn build(yaml: &str) -> (Option<KafkaBroker>, Vec<String>) {
    from_yaml(yaml, Path::new("/nowhere"), |section, directory| KafkaBroker::from_section(section, directory, None))
}

fn said(yaml: &str) -> Vec<String> {
    let (broker, said) = build(yaml);
    assert_eq!(broker.is_none(), said.iter().any(|line| line.starts_with("error")), "{yaml}: {said:?}");
    said
}

fn source(yaml: &str) -> (Option<Arc<dyn Source>>, Vec<String>) {
    from_yaml(yaml, Path::new("/nowhere"), |section, directory| kafka_source_from_section(section, directory, ReadBy::Person))
}

#[test]
fn the_row_is_found_by_its_type_and_by_the_class_of_the_original() {
    let (brokers, sources) = (Table::new("broker", [BROKER]), Table::new("source", [SOURCE]));
    for kind in ["kafka", "Kafka", "rasa.core.brokers.kafka.KafkaEventBroker"] {
        assert!(brokers.find(kind).unwrap().build.is_some() && sources.find(kind).unwrap().build.is_some(), "{kind}");
    }
}

#[test]
fn the_sections_of_the_originals_manual_are_taken_as_they_are() {
    for yaml in [
        "type: kafka\npartition_by_sender: True\nsecurity_protocol: PLAINTEXT\ntopic: topic\nurl: localhost\nclient_id: kafka-python-rasa",
        "type: kafka\nsecurity_protocol: SASL_PLAINTEXT\ntopic: topic\nurl: localhost\npartition_by_sender: True\nsasl_username: username\nsasl_password: password\nsasl_mechanism: PLAIN",
        "type: kafka\nsecurity_protocol: PLAINTEXT\ntopic: topic\nurl: localhost\nclient_id: kafka-python-rasa",
        "type: kafka\nsecurity_protocol: SSL\ntopic: topic\nurl: localhost\nssl_cafile: CARoot.pem\nssl_certfile: certificate.pem\nssl_keyfile: key.pem\nssl_check_hostname: True",
        "type: kafka\nsecurity_protocol: SASL_SSL\ntopic: topic\nurl: localhost\nsasl_username: username\nsasl_password: password\nsasl_mechanism: PLAIN\nssl_cafile: CARoot.pem\nssl_certfile: certificate.pem\nssl_keyfile: key.pem\nssl_check_hostname: True",
    ] {
        assert_eq!(said(yaml), [""; 0], "{yaml}");
    }
}

#[test]
fn every_form_of_addresses_is_taken() {
    for url in ["localhost", "a:1,b:2", "'a:1, b:2'", "[a, 'b:2']", "['a:1,b:2', c]", "'[::1]:9092'", "10.0.0.7:9092"] {
        assert_eq!(said(&format!("url: {url}\nsecurity_protocol: PLAINTEXT")), [""; 0], "{url}");
    }
    for url in ["kafka://localhost", "localhost:0", "localhost:port", "','", "[]", "a b", "[{a: b}]"] {
        let said = said(&format!("url: {url}\nsecurity_protocol: PLAINTEXT"));
        assert!(said[0].starts_with("error: event_broker.url"), "{url}: {said:?}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let hint = "without `security_protocol` it is SASL_PLAINTEXT; for a server that asks for no password, write `security_protocol: PLAINTEXT`";
    assert_eq!(
        said("type: kafka"),
        [
            format!("error: event_broker.sasl_username: `sasl_username` is required for the SASL mechanism PLAIN ({hint})"),
            format!("error: event_broker.sasl_password: `sasl_password` is required for the SASL mechanism PLAIN ({hint})"),
            "error: event_broker.url: required key is missing (add `url: …`)".to_owned(),
        ]
    );
    assert_eq!(
        said("url: localhost\nsecurity_protocol: sasl_ssl\nsasl_mechanism: SCRAM-SHA-512\nsasl_username: me"),
        ["error: event_broker.sasl_password: `sasl_password` is required for the SASL mechanism SCRAM-SHA-512 \
          (for a server that asks for no password, choose another `security_protocol`)"]
    );
    assert_eq!(
        said("url: localhost\nsasl_mechanism: OAUTHBEARER"),
        ["error: event_broker.sasl_oauthbearer_token_file: `sasl_mechanism: OAUTHBEARER` needs `sasl_oauthbearer_token_file` \
          (name the file that holds the bearer token; it is read again before the token expires)"]
    );
    assert_eq!(
        said("url: localhost\nsecurity_protocol: SSL\nssl_keyfile: key.pem"),
        [
            "error: event_broker.ssl_keyfile: `ssl_keyfile` has no meaning without `ssl_certfile` (name the certificate of the key)"
        ]
    );
}

#[test]
fn what_is_misspelt_is_named_with_what_was_meant() {
    assert_eq!(
        said("url: localhost\nsecurity_protocol: PLAINTXT"),
        [
            "error: event_broker.security_protocol: expected one of PLAINTEXT, SASL_PLAINTEXT, SSL, SASL_SSL, found \"PLAINTXT\" (did you mean `PLAINTEXT`?)"
        ]
    );
    let errors = said("url: localhost\nsecurity_protocol: SASL_SSL\nsasl_mechanism: SCRAM\nsasl_username: a\nsasl_password: b");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("error: event_broker.sasl_mechanism: expected one of PLAIN, SCRAM-SHA-256, "), "{errors:?}");
    assert_eq!(
        said("url: localhost\nsecurity_protocol: PLAINTEXT\npartition_by_sendr: true"),
        [
            "warning: event_broker.partition_by_sendr: unknown key `partition_by_sendr` is ignored (did you mean `partition_by_sender`?)"
        ]
    );
}

#[test]
fn what_has_no_effect_is_named() {
    assert_eq!(
        said("url: localhost\nsecurity_protocol: PLAINTEXT\nsasl_username: me\nssl_cafile: ca.pem\npartitioner: murmur2_random"),
        [
            "warning: event_broker.sasl_username: `sasl_username` has no effect with `security_protocol: PLAINTEXT`",
            "warning: event_broker.ssl_cafile: `ssl_cafile` has no effect with `security_protocol: PLAINTEXT`",
            "warning: event_broker.partitioner: `partitioner` has no effect without `partition_by_sender: true`",
        ]
    );
}

#[test]
fn what_the_mechanism_does_not_use_is_named() {
    let hint = |of: &str| format!("it belongs to {of}; without `sasl_mechanism` it is PLAIN");
    let password = "url: localhost\nsasl_username: me\nsasl_password: secret";
    assert_eq!(
        said(&format!("{password}\nsasl_kerberos_keytab: a.keytab\nsasl_oauthbearer_token_file: token")),
        [
            format!(
                "warning: event_broker.sasl_kerberos_keytab: `sasl_kerberos_keytab` has no effect with `sasl_mechanism: PLAIN` ({})",
                hint("`GSSAPI`")
            ),
            format!(
                "warning: event_broker.sasl_oauthbearer_token_file: `sasl_oauthbearer_token_file` has no effect with `sasl_mechanism: PLAIN` ({})",
                hint("`OAUTHBEARER`")
            ),
        ]
    );
    let warnings = said(&format!("{password}\nsasl_mechanism: OAUTHBEARER\nsasl_oauthbearer_token_file: token"));
    let expected = ["sasl_username", "sasl_password"].map(|key| {
        format!(
            "warning: event_broker.{key}: `{key}` has no effect with `sasl_mechanism: OAUTHBEARER` ({})",
            hint("`PLAIN` and `SCRAM-…`")
        )
    });
    assert_eq!(warnings, expected);
}

#[test]
fn a_topic_is_one_name() {
    for topic in ["''", "events/eu", "rasa.$event", "'..'", "grüße", &"a".repeat(250)] {
        let said = said(&format!("url: localhost\nsecurity_protocol: PLAINTEXT\ntopic: {topic}"));
        assert!(said[0].starts_with("error: event_broker.topic: expected the name of a topic: "), "{topic}: {said:?}");
    }
}

#[cfg(feature = "gssapi")]
#[test]
fn what_kerberos_gets_cannot_leave_its_command() {
    let errors = said("url: localhost\nsasl_mechanism: GSSAPI\nsasl_kerberos_keytab: a;b\nsasl_kerberos_principal: $(c)");
    assert!(errors[0].starts_with("error: event_broker.sasl_kerberos_keytab: expected letters, digits"), "{errors:?}");
    assert!(errors[0].ends_with("(it is used in a command for the shell, as `/nowhere/a;b`)"), "{errors:?}");
    assert!(errors[1].starts_with("error: event_broker.sasl_kerberos_principal: expected letters, digits"), "{errors:?}");
    assert_eq!(
        said("url: localhost\nsasl_mechanism: GSSAPI\nsasl_kerberos_keytab: a.keytab"),
        [
            "error: event_broker.sasl_kerberos_principal: `sasl_kerberos_principal` is required with `sasl_kerberos_keytab` (name the principal whose key the file holds)"
        ]
    );
    assert_eq!(said("url: localhost\nsasl_mechanism: gssapi\nsasl_kerberos_service_name: broker"), [""; 0]);
}

#[test]
fn a_source_has_topics_and_a_group() {
    let place = |yaml: &str| {
        let (source, said) = source(yaml);
        assert_eq!(said, [""; 0], "{yaml}");
        source.unwrap().place().to_string()
    };
    assert_eq!(place("url: localhost\nsecurity_protocol: PLAINTEXT"), "topic rasa_core_events at localhost:9092");
    assert_eq!(place("url: [a, b]\nsecurity_protocol: PLAINTEXT\ntopic: [x, y]\ngroup_id: mine"), "topics x, y at a:9092,b:9092");
    assert_eq!(source("url: localhost\nsecurity_protocol: PLAINTEXT\ntopic: [x, 'a b']").1.len(), 1);
}

#[test]
fn one_section_serves_the_broker_and_the_source_that_reads_it() {
    let section =
        "url: localhost\nsecurity_protocol: PLAINTEXT\npartition_by_sender: true\ncompression: lz4\nqueue_size: 5\ngroup_id: g";
    assert_eq!(said(section), [""; 0]);
    assert_eq!(source(section).1, [""; 0]);
}
