//! The error envelope of Rasa's HTTP API.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use trunkline_channels::{BodyError, SEND_AGAIN};
use trunkline_conversation::{TrackerError, Unrecorded};
use trunkline_core::json as text;
use trunkline_journal::{ReadError, Unavailable};

use crate::RASA_VERSION;

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

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
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
        let reason = match error {
            BodyError::TooLarge(_) => "PayloadTooLarge",
            BodyError::TooSlow(_) => "RequestTimeout",
            BodyError::Broken => "BadRequest",
        };
        Self::new(error.status(), reason, error.to_string())
    }
}

impl From<text::Error> for ApiError {
    fn from(error: text::Error) -> Self {
        Self::bad_parameter(format!("The body is not JSON: {error}."), "", "body")
    }
}

impl From<Unavailable> for ApiError {
    fn from(error: Unavailable) -> Self {
        Unrecorded::from(error).into()
    }
}

impl From<Unrecorded> for ApiError {
    fn from(error: Unrecorded) -> Self {
        let message = match error {
            Unrecorded::Refused(_) => format!("{error}. The request may be repeated."),
            Unrecorded::Maybe(_) => format!("{error}{SEND_AGAIN}."),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", message)
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
            TrackerError::TooMany { .. } | TrackerError::TooLarge { .. } => Self::too_large(error.to_string()),
            TrackerError::TooLong => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ConversationError", format!("{error}.")),
            TrackerError::Unrecorded(error) => error.into(),
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
        trunkline_channels::error(self.status, "application/json", body.to_string())
    }
}
