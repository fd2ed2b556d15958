//! Rasa's HTTP API, where it concerns events.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::json;
use trunkline_channels::{json as json_response, json_with};
use trunkline_conversation::TrackerError;
use trunkline_core::UserMessage;
use trunkline_core::json::{self as text, Document, Layout};
use trunkline_core::tracker::IncludeEvents;

use super::error::ApiError;
use super::{Shared, not_allowed, path};
use crate::{RASA_VERSION, VERSION};

/// What is there without `--enable-api` too.
pub(super) fn root() -> Router<Shared> {
    Router::new().route("/", get(hello))
}

/// What is there with `--enable-api`.
pub(super) fn api() -> Router<Shared> {
    Router::new().route("/version", get(version)).route("/status", get(status)).route("/conversations/{*path}", any(conversation))
}

/// The original's greeting first, because health checks look for it.
async fn hello() -> String {
    format!("Hello from Rasa: {RASA_VERSION} (Trunkline {VERSION})")
}

async fn version() -> Response {
    json_response(json!({"version": RASA_VERSION, "minimum_compatible_version": RASA_VERSION, "trunkline": VERSION}).to_string())
}

/// There is no model here; the keys are those that clients look for.
async fn status(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    context.authorize(request.headers(), request.uri(), None)?;
    Ok(json_response(json!({"model_file": "", "model_id": null, "num_active_training_jobs": 0}).to_string()))
}

async fn conversation(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let found = path::conversation(parts.uri.path()).ok_or_else(|| ApiError::not_found("There is no such resource."))?;
    context.authorize(&parts.headers, &parts.uri, Some(&found.id))?;
    let include = include_events(&parts)?;
    let id = found.id.as_ref();
    let partition = context.partitions.of(id);
    match (&parts.method, found.resource) {
        (&Method::GET | &Method::HEAD, "tracker") => {}
        (&Method::POST, "tracker/events") => {
            let body = context.bodies.read(body).await?;
            let events = list(&body)?;
            partition.append_events(id, &events, idempotency_key(&parts)?).await?;
        }
        (&Method::PUT, "tracker/events") => {
            let body = context.bodies.read(body).await?;
            partition.replace_events(id, &list(&body)?).await?;
        }
        (&Method::POST, "messages") => {
            let body = context.bodies.read(body).await?;
            let (message, parse_data) = message(&parse(&body)?, id)?;
            partition.append_message(id, &message, parse_data.as_deref(), idempotency_key(&parts)?).await?;
        }
        _ => {
            let problem = not_allowed(parts.method.clone(), parts.uri.clone(), parts.headers).await;
            return Ok(([(header::ALLOW, found.methods)], problem).into_response());
        }
    }
    let mut tracker = match partition.tracker(id).await {
        Ok(tracker) => tracker,
        // What was sent is on record, and to send it again would be wrong.
        Err(error @ TrackerError::TooLong) if !matches!(parts.method, Method::GET | Method::HEAD) => {
            let body = json!({"status": "recorded", "message": format!("The tracker is not shown: {error}.")});
            return Ok(json_with(StatusCode::ACCEPTED, body.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(until) = path::query(&parts.uri, "until").and_then(|until| until.parse().ok()) {
        tracker = tracker.until(until);
    }
    Ok(json_response(tracker.to_json(include)))
}

fn include_events(parts: &request::Parts) -> Result<IncludeEvents, ApiError> {
    let Some(given) = path::query(&parts.uri, "include_events") else { return Ok(IncludeEvents::default()) };
    given.parse().map_err(|error| {
        ApiError::bad_parameter(format!("Invalid parameter value for 'include_events': it {error}."), "include_events", "query")
    })
}

/// What makes the request the same as an earlier one on its route.
pub(super) fn idempotency_key(parts: &request::Parts) -> Result<Option<&str>, ApiError> {
    trunkline_channels::idempotency_key(&parts.headers)
        .map_err(|error| ApiError::bad_parameter(format!("It {error}."), "Idempotency-Key", "header"))
}

pub(super) fn parse(body: &[u8]) -> Result<Document, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad_parameter("There is no body; it should be JSON.", "", "body"));
    }
    Ok(text::lay_out_input(body, Layout::Dumps)?)
}

/// The events of the body, each as it came: one, or a list that is not empty.
fn list(body: &[u8]) -> Result<Vec<&[u8]>, ApiError> {
    let document = parse(body)?;
    let Some(elements) = document.elements_of(body) else { return Ok(vec![body]) };
    refuse_empty(elements.len())?;
    Ok(elements.collect())
}

pub(super) fn refuse_empty(events: usize) -> Result<(), ApiError> {
    if events == 0 { Err(ApiError::bad_parameter("The list has no event.", "", "body")) } else { Ok(()) }
}

fn message(document: &Document, conversation: &str) -> Result<(UserMessage, Option<String>), ApiError> {
    let text = document.get_str("text").ok_or_else(|| ApiError::bad_parameter("The message has no text.", "text", "body"))?;
    if document.get_str("sender").as_deref() != Some("user") {
        let message = "Currently, only user messages can be passed to this endpoint: `sender` must be \"user\".";
        return Err(ApiError::bad_parameter(message, "sender", "body"));
    }
    let parse_data = document.get("parse_data").filter(|raw| *raw != "null");
    if parse_data.is_some_and(|raw| !raw.starts_with('{')) {
        return Err(ApiError::bad_parameter("It must be an object.", "parse_data", "body"));
    }
    Ok((UserMessage::new(Some(&text), conversation, None, document.get("metadata")), parse_data.map(str::to_owned)))
}
