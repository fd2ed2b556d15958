//! The errors of channels, in the form of Rasa's web server.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use trunkline_core::json::{self, Layout};

use crate::{BodyError, InboxError};

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
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.to_string(), request)
    }
}

impl From<(InboxError, &HeaderMap)> for Problem {
    fn from((error, request): (InboxError, &HeaderMap)) -> Self {
        let status = match error {
            InboxError::Invalid(_) => StatusCode::BAD_REQUEST,
            InboxError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string(), request)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut response = if self.as_json {
            let quote = |text: &str| json::quote(text, Layout::Ujson);
            let body = format!(
                "{{\"description\":{},\"status\":{},\"message\":{}}}",
                quote(title),
                self.status.as_u16(),
                quote(&self.message)
            );
            (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
        } else {
            let message = self.message.replace('&', "&amp;").replace('<', "&lt;");
            let heading = format!("{} {title}", self.status.as_u16());
            let page = format!("<!doctype html><title>{heading}</title><h1>{heading}</h1><p>{message}</p>\n");
            (self.status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
        };
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.status == StatusCode::REQUEST_TIMEOUT || self.status == StatusCode::PAYLOAD_TOO_LARGE {
            // What is left of the body may not be read, so the connection cannot carry another request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
