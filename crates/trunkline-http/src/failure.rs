//! Requests without an answer.

use std::error::Error;
use std::time::Duration;

use trunkline_tls::{Fault, Keys};

use crate::Refused;

const KEYS: Keys = Keys { ca: "`cafile`", identity: "`certfile` and `keyfile`" };

/// Why there is no answer. A fragment of a sentence, without the address and its secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The address is not one that requests may go to.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Nobody was there, or TLS did not come about. Nothing was sent.
    #[error("there is no connection: {0}")]
    NoConnection(String),
    /// It took longer than it may. Whether it was heard is not known.
    #[error("there was no answer within {} s", .0.as_secs_f32())]
    NoAnswer(Duration),
    /// There is no client that could ask.
    #[error("{0}")]
    NoClient(String),
    /// The connection broke. Whether the request was heard is not known.
    #[error("the connection broke before there was an answer: {0}")]
    Broken(String),
    /// The answer began, and the connection broke before its end.
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
}

impl Failure {
    /// What `error` means for a request that could take `limit`.
    pub(crate) fn new(error: &reqwest::Error, limit: Duration) -> Self {
        let cause = root(error);
        if let Some(refused) = cause.downcast_ref::<Refused>() {
            return Self::Refused(refused.clone());
        }
        if error.is_connect() {
            Self::NoConnection(explain(error))
        } else if error.is_timeout() {
            Self::NoAnswer(limit)
        } else {
            Self::Broken(explain(error))
        }
    }

    /// The same while the body of an answer is read.
    pub(crate) fn in_body(error: &reqwest::Error, limit: Duration) -> Self {
        if error.is_timeout() { Self::NoAnswer(limit) } else { Self::BrokenOff(root(error).to_string()) }
    }
}

/// What is at the bottom of an error: the libraries' own words are of the kind of "builder error".
pub(crate) fn root(error: &reqwest::Error) -> &(dyn Error + 'static) {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

/// The words of the libraries, and what to do where they do not say it.
fn explain(error: &reqwest::Error) -> String {
    let cause = root(error);
    match Fault::of(error) {
        Some(fault) => format!("{cause}; {}", fault.sentence(KEYS)),
        None if error.is_dns() => format!("{cause}; the name of the host could not be looked up"),
        None => cause.to_string(),
    }
}
