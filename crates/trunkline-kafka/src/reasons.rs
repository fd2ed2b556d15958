//! From librdkafka's words to sentences that say what to do.

/// What is at fault, when librdkafka reports this.
struct Known {
    /// A part of its text.
    text: &'static str,
    advice: &'static str,
}

/// The first that fits counts.
const KNOWN: &[Known] = &[
    Known { text: "Unsupported SASL mechanism", advice: "choose one of these as `sasl_mechanism`" },
    Known { text: "OAUTHBEARER", advice: "check the token" },
    Known { text: "GSSAPI", advice: "check the ticket (`klist`), `sasl_kerberos_principal` and the name of the service" },
    Known { text: "uthentication", advice: "check `sasl_username`, `sasl_password` and `sasl_mechanism`" },
];

/// A sentence about the cluster at `servers`, from what librdkafka reported.
pub(crate) fn explain(servers: &str, report: &str) -> String {
    let report = core(report);
    match KNOWN.iter().find(|known| report.contains(known.text)) {
        Some(known) => format!("Kafka at {servers}: {report}; {}", known.advice),
        None => format!("Kafka at {servers}: {report}"),
    }
}

/// A report without the state machine behind it: `… (after 3ms in state CONNECT, 2 identical error(s) suppressed)`.
fn core(report: &str) -> &str {
    report.rsplit_once(" (after ").map_or(report, |(core, _)| core)
}
