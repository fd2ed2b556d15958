//! `POST /webhooks/<name>/webhook` with `{"sender", "message", …}`: the form in which Rasa's REST channel and those made from it
//! take messages.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, request::Parts};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use trunkline_core::json::{self, Document, Layout};

use crate::{Door, Problem, ReceivedBody, answer, idempotency_key};

/// The routes of such a channel: its health, and `receive`.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(mount: &str, receive: MethodRouter<S>) -> Router<S> {
    Router::new()
        .route(mount, get(health))
        .route(&format!("{mount}/"), get(health))
        .route(&format!("{mount}/webhook"), receive.clone())
        .route(&format!("{mount}/webhook/"), receive)
}

async fn health() -> Response {
    answer::json("{\"status\":\"ok\"}".to_owned())
}

/// A request whose body is a JSON object. It takes its part of the memory for bodies until it is dropped.
pub(crate) struct Post {
    pub(crate) parts: Parts,
    document: Document,
    _body: ReceivedBody,
}

impl Post {
    pub(crate) async fn read(door: &Door, request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let headers = &parts.headers;
        let body = door.bodies.read(body).await.map_err(|error| Problem::from((error, headers)))?;
        let document = json::lay_out_input(&body, Layout::Dumps).map_err(|error| Problem::malformed(&error, headers))?;
        if !document.is_object() {
            let expected = "The body must be a JSON object, as in {\"sender\": \"ann\", \"message\": \"hello\"}";
            return Err(Problem::new(StatusCode::BAD_REQUEST, expected, headers));
        }
        Ok(Self { parts, document, _body: body })
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// 400 for this reason.
    pub(crate) fn bad(&self, reason: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, reason, self.headers())
    }

    /// The text of the message; `None` when it is absent or no string.
    pub(crate) fn text(&self) -> Option<String> {
        self.document.get_str("message").map(Into::into)
    }

    /// Who writes; empty when nobody says so.
    pub(crate) fn sender(&self) -> Result<String, Problem> {
        Ok(self.word("sender")?.unwrap_or_default())
    }

    /// A member as it was written.
    pub(crate) fn raw(&self, key: &str) -> Option<&str> {
        self.document.get(key)
    }

    /// A string, a number as it is written, or `True`; `None` when it is absent, null or false.
    pub(crate) fn word(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.document.get(key) {
            None | Some("null" | "false") => Ok(None),
            Some("true") => Ok(Some("True".to_owned())),
            Some(raw) if raw.starts_with(['{', '[']) => Err(self.bad(format!("`{key}` must be a string"))),
            Some(raw) => Ok(Some(json::unquote(raw).unwrap_or(raw.into()).into_owned())),
        }
    }

    /// What makes this message the same as an earlier one of the conversation.
    pub(crate) fn key(&self) -> Result<Option<String>, Problem> {
        let key = idempotency_key(self.headers()).map_err(|error| self.bad(format!("the header Idempotency-Key {error}")))?;
        Ok(key.map(str::to_owned))
    }
}
