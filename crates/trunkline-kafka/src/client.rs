//! What librdkafka tells us from its own threads.

use std::error::Error;
use std::time::Instant;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::{Notify, watch};

use crate::in_flight::Ticket;
use crate::oauth::Token;

/// The ear of a client: it keeps what was reported last, because what fails later only says that time has run out.
#[derive(Debug)]
pub(crate) struct Context {
    token: Option<Token>,
    reports: watch::Sender<Reports>,
    /// Told whenever a message leaves the queue of a producer.
    pub(crate) progress: Notify,
}

/// What a client reported so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    last: Option<(Instant, String)>,
    /// Why a broker did not let us in; trying again makes no difference.
    refusal: Option<String>,
    are_all_down: bool,
}

impl Context {
    pub(crate) fn new(token: Option<Token>) -> Self {
        Self { token, reports: watch::Sender::default(), progress: Notify::new() }
    }

    /// The latest report since `begin`.
    pub(crate) fn last_report(&self, begin: Instant) -> Option<String> {
        let reports = self.reports.borrow();
        reports.last.as_ref().filter(|(time, _)| *time >= begin).map(|(_, text)| text.clone())
    }

    /// Waits until no broker lets us in, and gives the reason.
    pub(crate) async fn refused(&self) -> String {
        let mut reports = self.reports.subscribe();
        // The sender is ours, so it is there as long as we wait.
        let refused = reports.wait_for(|reports| reports.are_all_down && reports.refusal.is_some()).await;
        refused.ok().and_then(|reports| reports.refusal.clone()).unwrap_or_default()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
        let code = error.rdkafka_error_code();
        self.reports.send_modify(|reports| match code {
            // It says nothing about why.
            Some(RDKafkaErrorCode::AllBrokersDown) => reports.are_all_down = true,
            code => {
                let is_refusal = matches!(code, Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL));
                reports.last = Some((Instant::now(), reason.to_owned()));
                reports.refusal = is_refusal.then(|| reason.to_owned());
            }
        });
    }

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        match &self.token {
            Some(token) => Ok(token.get()?),
            None => Err("no token is configured".into()),
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        let answer =
            result.as_ref().map(|_| ()).map_err(|(error, _)| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown));
        ticket.answer(answer);
        self.progress.notify_waiters();
    }
}

impl ConsumerContext for Context {}
