//! Protocols, mechanisms and certificates, right and wrong.

use futures_util::future::join_all;
use trunkline_core::{Broker as _, Outcome};
use trunkline_testkit::services;

use crate::common::{batch, bodies, broker, deliver, journal, plain, reason, seen, topic, values};

/// The listeners of the shared server; the last two are for tests of certificates alone.
pub(crate) struct Listeners {
    pub(crate) plaintext: u16,
    pub(crate) sasl: u16,
    pub(crate) tls: u16,
    pub(crate) sasl_tls: u16,
    wrong_host: u16,
    expired: u16,
}

pub(crate) fn listeners() -> Listeners {
    let base = services::port("kafka");
    Listeners { plaintext: base, sasl: base + 1, tls: base + 2, sasl_tls: base + 3, wrong_host: base + 5, expired: base + 6 }
}

pub(crate) fn password() -> String {
    format!("sasl_username: {}\nsasl_password: {}", services::USER, services::PASSWORD)
}

/// Publishes through the section `yaml` and reads back without encryption or password.
pub(crate) async fn round_trip(yaml: &str) {
    let topic = topic(&plain(), 1, &[]).await;
    let broker = broker(&format!("{yaml}\ntopic: {topic}"));
    let events = journal(20, 3);
    assert_eq!(broker.is_ready().await, Ok(()), "{yaml}");
    deliver(&broker, &events).await;
    assert_eq!(values(seen(&plain(), &topic).await), bodies(&events), "{yaml}");
    broker.close().await;
}

#[tokio::test]
async fn every_protocol_publishes() {
    let Listeners { plaintext, sasl, tls, sasl_tls, .. } = listeners();
    let password = password();
    join_all([
        round_trip(&format!("url: localhost:{plaintext}\nsecurity_protocol: PLAINTEXT")),
        round_trip(&format!("url: localhost:{plaintext}\nsecurity_protocol: plaintext\nclient_id: kafka-python-rasa")),
        // The defaults of the original: SASL_PLAINTEXT and PLAIN.
        round_trip(&format!("url: localhost:{sasl}\n{password}")),
        round_trip(&format!(
            "url: localhost:{tls}\nsecurity_protocol: SSL\nssl_cafile: ca.pem\nssl_certfile: client.pem\nssl_keyfile: client.key\nssl_check_hostname: True"
        )),
        round_trip(&format!("url: 127.0.0.1:{sasl_tls}\nsecurity_protocol: sasl_ssl\nssl_cafile: ca.pem\n{password}")),
    ])
    .await;
}

#[tokio::test]
async fn every_mechanism_publishes_with_and_without_tls() {
    let Listeners { sasl, sasl_tls, .. } = listeners();
    let tls = "ssl_cafile: ca.pem\nssl_certfile: client.pem\nssl_keyfile: client.key\nssl_check_hostname: True";
    let mechanisms = [
        format!("sasl_mechanism: PLAIN\n{}", password()),
        format!("sasl_mechanism: SCRAM-SHA-256\n{}", password()),
        format!("sasl_mechanism: scram-sha-512\n{}", password()),
        "sasl_mechanism: OAUTHBEARER\nsasl_oauthbearer_unsecured_principal: trunkline".to_owned(),
    ];
    join_all(
        mechanisms
            .iter()
            .flat_map(|mechanism| {
                [
                    format!("url: localhost:{sasl}\nsecurity_protocol: SASL_PLAINTEXT\n{mechanism}"),
                    format!("url: localhost:{sasl_tls}\nsecurity_protocol: SASL_SSL\n{tls}\n{mechanism}"),
                ]
            })
            .map(|yaml| async move { round_trip(&yaml).await }),
    )
    .await;
}

#[tokio::test]
async fn the_name_of_the_host_is_not_checked_when_that_is_asked_for() {
    let wrong_host = listeners().wrong_host;
    round_trip(&format!("url: localhost:{wrong_host}\nsecurity_protocol: SSL\nssl_cafile: ca.pem\nssl_check_hostname: false"))
        .await;
}

#[tokio::test]
async fn a_server_that_does_not_let_us_in_is_answered_with_what_to_do() {
    let Listeners { plaintext, sasl, tls, sasl_tls, wrong_host, expired } = listeners();
    let client = "ssl_certfile: client.pem\nssl_keyfile: client.key";
    let wrong = "sasl_username: trunkline\nsasl_password: wrong";
    let credentials = "; check `sasl_mechanism`, `sasl_username` and `sasl_password`";
    let listener = "; check `security_protocol` and the port";
    let cases = [
        (
            format!("url: localhost:{sasl}\n{wrong}"),
            format!("{sasl}: SASL authentication error: Authentication failed: Invalid username or password{credentials}"),
        ),
        (
            format!("url: localhost:{sasl}\nsasl_mechanism: SCRAM-SHA-256\n{wrong}"),
            format!(
                "{sasl}: SASL authentication error: Authentication failed during authentication due to invalid credentials with \
                 SASL mechanism SCRAM-SHA-256{credentials}"
            ),
        ),
        (
            format!("url: localhost:{sasl_tls}\nsecurity_protocol: SASL_SSL\nssl_cafile: ca.pem\n{wrong}"),
            format!("{sasl_tls}: SASL authentication error: Authentication failed: Invalid username or password{credentials}"),
        ),
        (
            format!("url: localhost:{tls}\nsecurity_protocol: SSL\nssl_cafile: other-ca.pem\n{client}"),
            format!(
                "{tls}: its certificate is not signed by an authority that is trusted here: name the authority's certificate with `ssl_cafile`"
            ),
        ),
        (
            format!("url: localhost:{sasl_tls}\nsecurity_protocol: SASL_SSL\n{}", password()),
            format!(
                "{sasl_tls}: its certificate is not signed by an authority that is trusted here: name the authority's certificate with `ssl_cafile`"
            ),
        ),
        (
            format!("url: localhost:{tls}\nsecurity_protocol: SSL\nssl_cafile: ca.pem"),
            format!(
                "{tls}: it refuses our certificate, or asks for one; name one with `ssl_certfile` and `ssl_keyfile` that a CA of \
                 the server's has signed"
            ),
        ),
        (
            format!("url: localhost:{wrong_host}\nsecurity_protocol: SSL\nssl_cafile: ca.pem\nssl_check_hostname: true"),
            format!(
                "{wrong_host}: its certificate is for another host: use a name that is in it, or check none with \
                 `ssl_check_hostname: false`"
            ),
        ),
        (
            format!("url: localhost:{expired}\nsecurity_protocol: SSL\nssl_cafile: ca.pem\nssl_check_hostname: false"),
            format!("{expired}: its certificate has expired: it must be renewed there, or the clock here corrected"),
        ),
        (
            format!("url: localhost:{plaintext}\n{}", password()),
            format!("{plaintext}: it asks for no password on this port{listener}"),
        ),
        (
            format!("url: localhost:{plaintext}\nsecurity_protocol: SSL"),
            format!("{plaintext}: the connection was closed{listener}"),
        ),
        (format!("url: localhost:{tls}\nsecurity_protocol: PLAINTEXT"), format!("{tls}: the connection was closed{listener}")),
        (
            "url: 127.0.0.1:1\nsecurity_protocol: PLAINTEXT".to_owned(),
            "Kafka at 127.0.0.1:1: Connect to ipv4#127.0.0.1:1 failed: Connection refused; see whether the broker runs, and check `url`".to_owned(),
        ),
        (
            "url: localhost,nobody.invalid\nsecurity_protocol: SSL\nssl_cafile: missing.pem".to_owned(),
            "cannot read the `ssl_cafile` `".to_owned(),
        ),
    ];
    // A host without an address is answered by its name.
    let nobody = async {
        let said = broker("url: nobody.invalid\nsecurity_protocol: PLAINTEXT").is_ready().await.unwrap_err();
        assert!(said.starts_with("Kafka at nobody.invalid:9092: Failed to resolve 'nobody.invalid:9092': "), "{said}");
        assert!(said.ends_with("; check `url`, and the names under which the broker advertises itself"), "{said}");
    };
    let refused = join_all(cases.iter().map(|(yaml, expected)| async move {
        let broker = broker(yaml);
        let events = batch(&journal(2, 1));
        let (said, outcomes) = tokio::join!(broker.is_ready(), broker.publish(&events));
        let said = said.unwrap_err();
        let is_whole = expected.starts_with("cannot") || expected.starts_with("Kafka at ");
        let expected = if is_whole { expected.clone() } else { format!("Kafka at localhost:{expected}") };
        assert!(said.starts_with(&expected), "{yaml}\n{said}\n{expected}");
        assert!(matches!(&outcomes[..], [Outcome::Retry { .. }, Outcome::Retry { .. }]), "{outcomes:?}");
        assert_eq!(reason(&outcomes[1]), said);
        assert!(!said.contains("wrong") && !format!("{broker:?}").contains("wrong"), "no secret is shown");
    }));
    tokio::join!(refused, nobody);
}

#[tokio::test]
async fn the_token_is_read_again_from_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let topic = topic(&plain(), 1, &[]).await;
    let section = format!(
        "url: localhost:{}\nsasl_mechanism: OAUTHBEARER\nsasl_oauthbearer_token_file: {}\ntopic: {topic}",
        listeners().sasl,
        file.display()
    );
    let broker = broker(&section);
    std::fs::write(&file, "e30.eyJleHAiOjF9.").unwrap();
    let outcomes = broker.publish(&batch(&journal(1, 1))).await;
    let expected = format!("the `sasl_oauthbearer_token_file` `{}` holds a token that has expired", file.display());
    assert!(reason(&outcomes[0]).contains(&expected), "{outcomes:?}");
    // {"alg":"none"} and {"sub":"trunkline","iat":1,"exp":4102444800}
    std::fs::write(&file, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0cnVua2xpbmUiLCJpYXQiOjEsImV4cCI6NDEwMjQ0NDgwMH0.\n").unwrap();
    deliver(&broker, &journal(1, 1)).await;
}
