//! GSSAPI, against the KDC beside the shared server.

#[cfg(feature = "gssapi")]
mod with_kerberos {
    use std::process::Command;

    use trunkline_core::Broker as _;
    use trunkline_testkit::services;

    use crate::common::broker;
    use crate::security::{listeners, round_trip};

    /// Runs the test of this name again, in a process with `KRB5_CONFIG` and a cache for tickets of its own: Kerberos knows no other
    /// way to be told. True in that process.
    fn is_inner(name: &str) -> bool {
        const INNER: &str = "TRUNKLINE_TEST_INNER";
        if std::env::var_os(INNER).is_some() {
            return true;
        }
        let directory = tempfile::tempdir().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("kerberos::with_kerberos::{name}"), "--nocapture"])
            .env(INNER, "1")
            .env("KRB5_CONFIG", services::dir().join("kafka/krb5.conf"))
            .env("KRB5CCNAME", directory.path().join("cache"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        false
    }

    fn with_keytab(port: u16, principal: &str) -> String {
        let keytab = services::dir().join("kafka/trunkline.keytab");
        format!(
            "url: localhost:{port}\nsasl_mechanism: GSSAPI\nsasl_kerberos_keytab: {}\nsasl_kerberos_principal: {principal}",
            keytab.display()
        )
    }

    #[tokio::test]
    async fn a_keytab_lets_us_in_with_and_without_tls() {
        if is_inner("a_keytab_lets_us_in_with_and_without_tls") {
            round_trip(&with_keytab(listeners().sasl, "trunkline@TRUNKLINE.TEST")).await;
            let tls = with_keytab(listeners().sasl_tls, "trunkline");
            round_trip(&format!("{tls}\nsecurity_protocol: SASL_SSL\nssl_cafile: ca.pem")).await;
        }
    }

    #[tokio::test]
    async fn a_ticket_that_is_there_lets_us_in() {
        if is_inner("a_ticket_that_is_there_lets_us_in") {
            let keytab = services::dir().join("kafka/trunkline.keytab");
            let status = Command::new("kinit").args(["-k", "-t"]).arg(keytab).arg("trunkline").status().unwrap();
            assert!(status.success());
            round_trip(&format!("url: localhost:{}\nsasl_mechanism: GSSAPI", listeners().sasl)).await;
        }
    }

    #[tokio::test]
    async fn without_a_ticket_the_sentence_names_what_to_check() {
        if is_inner("without_a_ticket_the_sentence_names_what_to_check") {
            for yaml in [
                with_keytab(listeners().sasl, "nobody@TRUNKLINE.TEST"),
                format!("url: localhost:{}\nsasl_mechanism: GSSAPI", listeners().sasl),
            ] {
                let said = broker(&yaml).is_ready().await.unwrap_err();
                assert!(said.contains("GSSAPI") && said.contains("check the ticket with `klist`"), "{said}");
            }
        }
    }
}

#[cfg(not(feature = "gssapi"))]
#[test]
fn a_build_without_gssapi_says_how_to_get_one_with_it() {
    let (_, said) = crate::settings::build("url: localhost\nsasl_mechanism: GSSAPI");
    assert_eq!(
        said,
        ["error: event_broker.sasl_mechanism: the SASL mechanism GSSAPI (Kerberos) is not in this build of Trunkline \
          (build it with `cargo build --release --features kafka-gssapi`, which needs libsasl2-dev)"]
    );
}
