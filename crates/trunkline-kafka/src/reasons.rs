//! From librdkafka's words to sentences that say what to do.

/// What librdkafka says of a fault, and what a person wants to hear.
struct Known {
    /// A part of its text.
    text: &'static str,
    /// What to say in its place, when its own words are no help.
    fault: Option<&'static str>,
    advice: &'static str,
    /// Whether it is the same the next time, unless somebody changes something.
    is_refusal: bool,
}

const CREDENTIALS: &str = "check `sasl_mechanism`, `sasl_username` and `sasl_password`";
const LISTENER: &str = "check `security_protocol` and the port";

const fn refusal(text: &'static str, fault: Option<&'static str>, advice: &'static str) -> Known {
    Known { text, fault, advice, is_refusal: true }
}

const fn passing(text: &'static str, fault: Option<&'static str>, advice: &'static str) -> Known {
    Known { text, fault, advice, is_refusal: false }
}

/// The first that fits counts.
const KNOWN: &[Known] = &[
    refusal("not valid in current SASL state", Some("it asks for no password on this port"), LISTENER),
    refusal("Unsupported SASL mechanism", None, "choose one of those as `sasl_mechanism`"),
    refusal("Failed to acquire SASL OAUTHBEARER token", None, "put a token into that file"),
    refusal("GSSAPI", None, "check the ticket with `klist`, and `sasl_kerberos_principal`, `_keytab` and `_service_name`"),
    refusal("OAUTHBEARER", None, "check the token"),
    refusal("SASL", None, CREDENTIALS),
    refusal(
        "certificate verify failed",
        Some("its certificate is not trusted"),
        "check `ssl_cafile`, and the certificate's end and host name",
    ),
    refusal(
        "SSL alert",
        Some("it refuses our certificate, or asks for one"),
        "name one with `ssl_certfile` and `ssl_keyfile` that a CA of the server's has signed",
    ),
    passing("SSL handshake failed", Some("the connection was closed"), LISTENER),
    passing("Disconnected", Some("the connection was closed"), LISTENER),
    passing("Broken pipe", Some("the connection was closed"), LISTENER),
    passing("reset by peer", Some("the connection was closed"), LISTENER),
    passing("Connection refused", None, "see whether the broker runs, and check `url`"),
    passing("Failed to resolve", None, "check `url`, and the names under which the broker advertises itself"),
    passing("timed out", None, "see whether the broker is alive, and whether a firewall is in between"),
];

/// A report, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Report<'a> {
    /// The broker that it is about, as `host:port`.
    pub(crate) broker: Option<&'a str>,
    text: &'a str,
}

impl<'a> Report<'a> {
    /// Reads `sasl_ssl://localhost:9093/bootstrap: Something failed (after 3ms in state CONNECT)`.
    pub(crate) fn new(report: &'a str) -> Self {
        let report = report.rsplit_once(" (after ").map_or(report, |(report, _)| report);
        let (head, text) = report.split_once(": ").unwrap_or_default();
        let head = head.split_once("://").map_or(head, |(_, head)| head);
        match head.rsplit_once('/') {
            Some((broker, _)) if broker.contains(':') && !broker.contains(' ') => Self { broker: Some(broker), text },
            _ => Self { broker: None, text: report },
        }
    }

    fn known(self) -> Option<&'static Known> {
        KNOWN.iter().find(|known| self.text.contains(known.text))
    }

    /// Whether it is of no use to try again as we are.
    pub(crate) fn is_refusal(self) -> bool {
        self.known().is_some_and(|known| known.is_refusal)
    }

    /// Whether the broker's certificate is at fault.
    pub(crate) fn is_about_trust(self) -> bool {
        self.text.contains("certificate verify failed")
    }

    /// The sentence; `servers` is where a report that names no broker came from.
    pub(crate) fn sentence(self, servers: &str) -> String {
        let place = self.broker.unwrap_or(servers);
        match self.known() {
            Some(known) => format!("Kafka at {place}: {}; {}", known.fault.unwrap_or(self.text), known.advice),
            None => format!("Kafka at {place}: {}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn a_report_is_taken_apart() {
        for (report, broker, text) in [
            (
                "sasl_ssl://localhost:9093/bootstrap: It failed: twice (after 3ms in state CONNECT)",
                Some("localhost:9093"),
                "It failed: twice",
            ),
            ("[::1]:9092/12: It failed", Some("[::1]:9092"), "It failed"),
            ("Failed to acquire: no file `/a/b`: why", None, "Failed to acquire: no file `/a/b`: why"),
            ("It failed", None, "It failed"),
        ] {
            assert_eq!(Report::new(report), Report { broker, text });
        }
    }

    #[test]
    fn what_is_known_is_said_in_our_words_and_the_rest_in_theirs() {
        let sentence = |report| Report::new(report).sentence("a:1,b:1");
        assert_eq!(
            sentence("a:1/bootstrap: Disconnected: verify that security.protocol is correctly configured"),
            "Kafka at a:1: the connection was closed; check `security_protocol` and the port"
        );
        assert_eq!(sentence("The moon is full"), "Kafka at a:1,b:1: The moon is full");
    }
}
