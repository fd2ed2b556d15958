//! Requests without an answer.

use std::error::Error;
use std::time::Duration;

use crate::Refused;

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
        let cause = cause.to_string();
        if error.is_connect() {
            Self::NoConnection(explain(&cause, error.is_dns()))
        } else if error.is_timeout() {
            Self::NoAnswer(limit)
        } else {
            Self::Broken(explain(&cause, false))
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

/// The words of the libraries, and what to do where they do not say it. These are for people only: no decision hangs on them.
fn explain(cause: &str, is_dns: bool) -> String {
    let hint = match () {
        () if cause.contains("UnknownIssuer") => {
            "; its certificate is not signed by an authority that is trusted here: name the authority's certificate with `cafile`"
        }
        () if cause.contains("CaUsedAsEndEntity") => "; it shows the certificate of an authority as its own",
        () if cause.contains("not valid for name") || cause.contains("NotValidForName") => {
            "; its certificate is for another host: use a name that is in it"
        }
        () if cause.contains("certificate expired") || cause.contains("Expired") => {
            "; its certificate has expired: it must be renewed there, or the clock here is wrong"
        }
        () if cause.contains("CertificateRequired") || cause.contains("HandshakeFailure") => {
            "; it may want a certificate of ours: give `certfile` and `keyfile`"
        }
        () if cause.contains("InvalidContentType") || cause.contains("corrupt message") => "; it does not speak TLS there",
        () if is_dns => "; the name of the host could not be looked up",
        () => "",
    };
    format!("{cause}{hint}")
}
