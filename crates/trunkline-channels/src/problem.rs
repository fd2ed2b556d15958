//! The errors of channels, in the form of Rasa's web server.

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use trunkline_core::InboxError;
use trunkline_core::json::{self, Layout};

use crate::{BodyError, answer};

/// Said to a sender who cannot be told whether a request was recorded.
pub const SEND_AGAIN: &str = "; with the same Idempotency-Key it can be sent again and is recorded once";

/// An error answer: JSON for a client that speaks JSON, a small page for a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    message: String,
    as_json: bool,
}

impl Problem {
    /// An error with `status` and a message for the client, in the form that `request`'s headers ask for: JSON when the body or
    /// what is accepted is JSON, unless HTML is accepted.
    pub fn new(status: StatusCode, message: impl Into<String>, request: &HeaderMap) -> Self {
        let names = |header: &str, word: &str| {
            request
                .get(header)
                .and_then(|value| value.to_str().ok())
                .is_some_and(|value| value.to_ascii_lowercase().contains(word))
        };
        let as_json = !names("accept", "text/html") && (names("content-type", "json") || names("accept", "json"));
        Self { status, message: message.into(), as_json }
    }

    /// The body is not JSON, in the original's words and ours.
    pub fn malformed(error: &json::Error, request: &HeaderMap) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("Failed when parsing body as json ({error})"), request)
    }
}

impl From<(BodyError, &HeaderMap)> for Problem {
    fn from((error, request): (BodyError, &HeaderMap)) -> Self {
        Self::new(error.status(), error.to_string(), request)
    }
}

impl From<(InboxError, &HeaderMap)> for Problem {
    fn from((error, request): (InboxError, &HeaderMap)) -> Self {
        let status = match error {
            InboxError::Invalid(_) => StatusCode::BAD_REQUEST,
            InboxError::Unavailable(_) | InboxError::MaybeRecorded(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut message = error.to_string();
        if matches!(error, InboxError::MaybeRecorded(_)) {
            message.push_str(SEND_AGAIN);
        }
        Self::new(status, message, request)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        if self.as_json {
            let quote = |text: &str| json::quote(text, Layout::Ujson);
            let body = format!(
                "{{\"description\":{},\"status\":{},\"message\":{}}}",
                quote(title),
                self.status.as_u16(),
                quote(&self.message)
            );
            answer::error(self.status, "application/json", body)
        } else {
            let message = self.message.replace('&', "&amp;").replace('<', "&lt;");
            let heading = format!("{} {title}", self.status.as_u16());
            let page = format!("<!doctype html><title>{heading}</title><h1>{heading}</h1><p>{message}</p>\n");
            answer::error(self.status, "text/html; charset=utf-8", page)
        }
    }
}
