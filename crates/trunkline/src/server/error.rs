//! The error envelope of Rasa's HTTP API.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use trunkline_channels::BodyError;
use trunkline_core::json as text;
use trunkline_journal::{ReadError, Unavailable};

use crate::RASA_VERSION;
use crate::conversation::TrackerError;

/// An error of the HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ApiError {
    status: StatusCode,
    reason: &'static str,
    message: String,
    details: Value,
}

impl ApiError {
    fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), details: json!({}) }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// `parameter` in `place` (`body` or `query`) is at fault.
    pub(crate) fn bad_parameter(message: impl Into<String>, parameter: &str, place: &str) -> Self {
        Self { details: json!({"parameter": parameter, "in": place}), ..Self::bad_request(message) }
    }

    pub(crate) fn not_authenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "NotAuthenticated", message)
    }

    pub(crate) fn not_authorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "NotAuthorized", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let (status, reason) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge"),
            BodyError::TooSlow(_) => (StatusCode::REQUEST_TIMEOUT, "RequestTimeout"),
            BodyError::Broken => (StatusCode::BAD_REQUEST, "BadRequest"),
        };
        Self::new(status, reason, error.to_string())
    }
}

impl From<text::Error> for ApiError {
    fn from(error: text::Error) -> Self {
        Self::bad_parameter(format!("The body is not JSON: {error}."), "", "body")
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", format!("{error}. The request may be repeated."))
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        tracing::error!(%error, "Request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ConversationError", error.to_string())
    }
}

impl From<TrackerError> for ApiError {
    fn from(error: TrackerError) -> Self {
        match error {
            TrackerError::Event { error: ref cause, .. } => Self::bad_parameter(format!("{error}."), cause.member(), "body"),
            TrackerError::Conversation(error) => Self::bad_parameter(format!("{error}."), "conversation_id", "path"),
            TrackerError::TooLong => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ConversationError", format!("{error}.")),
            TrackerError::Unavailable(error) => error.into(),
            TrackerError::Read(error) => error.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "version": RASA_VERSION,
            "status": "failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "help": null,
            "code": self.status.as_u16(),
        });
        let mut response = (self.status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
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
