//! What librdkafka tells us from its own threads.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::watch;

use crate::in_flight::Ticket;
use crate::oauth::Token;
use crate::reasons::Report;

/// The ear of a client: it keeps what was reported, because what fails later only says that time has run out.
#[derive(Debug)]
pub(crate) struct Context {
    servers: Arc<str>,
    token: Option<Token>,
    reports: watch::Sender<Reports>,
}

#[derive(Debug, Default)]
struct Reports {
    last: Option<(Instant, String)>,
    /// Why brokers do not let us in, by address; empty for what is about all of them.
    refusals: BTreeMap<String, String>,
}

impl Context {
    pub(crate) fn new(servers: Arc<str>, token: Option<Token>) -> Self {
        Self { servers, token, reports: watch::Sender::default() }
    }

    /// The latest report since `begin`.
    pub(crate) fn last_report(&self, begin: Instant) -> Option<String> {
        let reports = self.reports.borrow();
        reports.last.as_ref().filter(|(time, _)| *time >= begin).map(|(_, report)| report.clone())
    }

    /// Waits until none of the servers lets us in, and gives a reason. Without this a wrong password is only seen when the time
    /// is up.
    pub(crate) async fn refused(&self) -> String {
        let is_refused = |reports: &Reports| {
            reports.refusals.contains_key("") || self.servers.split(',').all(|server| reports.refusals.contains_key(server))
        };
        let mut reports = self.reports.subscribe();
        let refused = reports.wait_for(is_refused).await;
        // The sender is ours, so it is there as long as we wait.
        refused.ok().and_then(|reports| reports.refusals.values().next().cloned()).unwrap_or_default()
    }

    fn report(&self, text: &str) {
        let report = Report::new(text);
        self.reports.send_modify(|reports| {
            reports.last = Some((Instant::now(), text.to_owned()));
            if report.is_refusal() {
                reports.refusals.insert(report.broker.unwrap_or_default().to_owned(), text.to_owned());
            }
        });
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
        // Some broken connections are only logged: `[thrd:…]: localhost:9092/bootstrap: Disconnected`.
        if facility == "FAIL"
            && let Some((_, report)) = message.split_once("]: ")
        {
            self.report(report);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        // "All brokers are down" gives no reason, and a fatal error is asked for elsewhere.
        if !matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Fatal)) {
            self.report(reason);
        }
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match &self.token {
            Some(token) => Ok(blocking(|| token.get())?),
            None => Err("no token is configured".into()),
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let code = |error: &KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        ticket.answer(result.as_ref().map(|_| ()).map_err(|(error, _)| code(error)));
    }
}

impl ConsumerContext for Context {}

/// Does what may block. A consumer asks for its token where it is polled, which is on the runtime.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}
