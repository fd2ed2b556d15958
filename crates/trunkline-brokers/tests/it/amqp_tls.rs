//! RabbitMQ over TLS.

use rcgen::{CertificateParams, KeyPair};
use trunkline_core::Broker as _;
use trunkline_testkit::services::{self, Private};

use crate::amqp_common::{Place, broker, broker_in, eval};
use crate::common::{batch, deliver, journal, key};

/// The section for a place behind TLS, with what stands behind `?`.
fn yaml(place: &Place, port: u16, query: &str) -> String {
    place.yaml("").replace(&format!("amqp://127.0.0.1:{}/%2F", place.port), &format!("amqps://localhost:{port}/%2F{query}"))
}

fn tls(file: &str) -> String {
    services::tls(file).to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_server_is_trusted_whose_authority_is_named() {
    let (place, port) = (Place::new("tls"), services::port("rabbitmq-tls"));
    let (ca, certificate, client_key) = (tls("ca.pem"), tls("client.pem"), tls("client.key"));
    let variables = |name: &str| match name {
        "RABBITMQ_SSL_CLIENT_CERTIFICATE" => Some(tls("client.pem")),
        "RABBITMQ_SSL_CLIENT_KEY" => Some(tls("client.key")),
        "RABBITMQ_SSL_CA_FILE" => Some(tls("ca.pem")),
        _ => None,
    };
    let host = |more: &str| {
        yaml(&place, port, "").replace(&format!("amqps://localhost:{port}/%2F"), &format!("localhost\nport: {port}{more}"))
    };
    for broker in [
        broker(&yaml(&place, port, &format!("?cafile={ca}"))),
        broker(&format!("{}cafile: {ca}", yaml(&place, port, ""))),
        broker(&yaml(&place, port, &format!("?cafile={ca}&certfile={certificate}&keyfile={client_key}"))),
        broker(&yaml(&place, port, &format!("?cafile={ca}")).replace("localhost", "127.0.0.1")),
        broker(&host(&format!("\ncafile: {ca}"))),
        broker_in(&host(""), &variables),
        broker_in(&yaml(&place, port, ""), &variables),
    ] {
        assert_eq!(broker.is_ready().await, Ok(()));
        deliver(&broker, &batch(&journal(1), &key())).await;
        place.take(1).await;
    }
}

#[tokio::test]
async fn a_certificate_and_its_key_may_be_in_one_file() {
    let (place, port) = (Place::new("tls-one"), services::port("rabbitmq-tls"));
    let directory = tempfile::tempdir().unwrap();
    let both = directory.path().join("both.pem");
    std::fs::write(&both, [std::fs::read(tls("client.pem")).unwrap(), std::fs::read(tls("client.key")).unwrap()].concat())
        .unwrap();
    let query = format!("?cafile={}&certfile={}", tls("ca.pem"), both.display());
    assert_eq!(broker(&yaml(&place, port, &query)).is_ready().await, Ok(()));
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_is_complained_of_in_words() {
    let (place, port) = (Place::new("tls-bad"), services::port("rabbitmq-tls"));
    let plain = place.port;
    let ca = format!("?cafile={}", tls("ca.pem"));
    let prefix = format!("RabbitMQ at localhost:{port}");
    for (yaml, expected) in [
        (
            yaml(&place, port, &format!("?cafile={}", tls("other-ca.pem"))),
            format!(
                "{prefix}: no encrypted connection: its certificate is not signed by an authority that is trusted here: name the \
                 authority's certificate with `cafile`"
            ),
        ),
        (
            yaml(&place, port, ""),
            format!("{prefix}: no encrypted connection: its certificate is not signed by an authority that is trusted here"),
        ),
        (yaml(&place, plain, &ca), format!("what listens at localhost:{plain} does not speak TLS")),
    ] {
        let said = broker(&yaml).is_ready().await.unwrap_err();
        assert!(said.starts_with(&expected), "{said}");
    }
    // The server closes the connection, and may be quick enough to say why first.
    let without = place.yaml("").replace(&format!(":{plain}/"), &format!(":{port}/"));
    let said = broker(&without).is_ready().await.unwrap_err();
    assert!(said.ends_with("if this is RabbitMQ's port for TLS, the URL begins with `amqps://`"), "{said}");
}

#[tokio::test]
async fn files_that_do_not_fit_are_named() {
    let (place, port) = (Place::new("tls-files"), services::port("rabbitmq-tls"));
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("empty.pem"), "").unwrap();
    let stranger = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["stranger".to_owned()]).unwrap().self_signed(&stranger).unwrap();
    std::fs::write(path("stranger.pem"), certificate.pem()).unwrap();
    std::fs::write(path("stranger.key"), stranger.serialize_pem()).unwrap();
    let (ca, client) = (tls("ca.pem"), tls("client.pem"));
    for (query, expected) in [
        (format!("?cafile={}", path("missing.pem")), format!("cannot read `{}`: ", path("missing.pem"))),
        (format!("?cafile={}", path("empty.pem")), format!("there is no certificate in PEM in `{}`", path("empty.pem"))),
        (
            format!("?cafile={ca}&certfile={client}"),
            format!("there is no private key in PEM in `{client}`; an encrypted key must be decrypted first"),
        ),
        (
            format!("?cafile={ca}&certfile={client}&keyfile={}", path("stranger.key")),
            format!("the client certificate `{client}` does not go with the key `{}`", path("stranger.key")),
        ),
    ] {
        let said = broker(&yaml(&place, port, &query)).is_ready().await.unwrap_err();
        assert!(said.starts_with(&expected), "{said}");
    }
    // The server's reason may be lost on the way when it closes the connection; what to do is said all the same.
    let query = format!("?cafile={ca}&certfile={}&keyfile={}", path("stranger.pem"), path("stranger.key"));
    let said = broker(&yaml(&place, port, &query)).is_ready().await.unwrap_err();
    assert!(said.starts_with(&format!("RabbitMQ at localhost:{port}")), "{said}");
    assert!(said.ends_with("does it trust the authority that signed the client certificate?"), "{said}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_or_is_for_another_host_is_refused() {
    let server = Private::with("rabbitmq", &[("TRUNKLINE_SERVICES_CERTIFICATE", "expired")]).await;
    let place = Place::at(server.port("rabbitmq"), "tls-private");
    let query = format!("?cafile={}", server.tls("ca.pem").display());
    let broker = broker(&yaml(&place, server.port("rabbitmq-tls"), &query));
    let said = broker.is_ready().await.unwrap_err();
    assert!(said.contains("its certificate has expired"), "{said}");
    // It gets another one while it runs. Written over, the files stay readable for it.
    for kind in ["pem", "key"] {
        let other = std::fs::read(server.tls(&format!("wrong-host.{kind}"))).unwrap();
        std::fs::write(server.directory().join(format!("rabbitmq/tls/server.{kind}")), other).unwrap();
    }
    eval(&server, "ssl:clear_pem_cache().").await;
    let said = broker.is_ready().await.unwrap_err();
    assert!(said.contains("its certificate is for another host: use a name that is in it"), "{said}");
}
