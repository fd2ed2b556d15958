//! Taking tracker events from other servers: `POST /api/events`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use trunkline_core::{EventError, NewEvent};
use trunkline_journal::Append;

use super::error::ApiError;
use super::{Shared, rasa};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/events", post(append))
}

/// Appends one event or a list, each with its `sender_id`, as brokers publish them: all or none. Answers 202 with the offsets
/// once they are durable.
async fn append(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    context.authorize(&parts.headers, &parts.uri, None)?;
    let identity = rasa::idempotency_key(&parts, "events")?;
    let body = context.bodies.read(body).await?;
    let document = rasa::parse(&body)?;
    let now = context.journal.clock().seconds();
    let mut events = match document.elements_of(&body) {
        None => vec![event(NewEvent::from_document(&document, &body, None, now), 0)?],
        Some(elements) => {
            rasa::refuse_empty(elements.len())?;
            let events = elements.enumerate().map(|(index, raw)| event(NewEvent::parse(raw, None, now), index));
            events.collect::<Result<_, _>>()?
        }
    };
    context.channels.fill_in(&mut events).await?;
    let appended = context.journal.append(Append { events, identity }).await?;
    let answer =
        format!("{{\"first_offset\":{},\"last_offset\":{},\"duplicate\":{}}}", appended.first, appended.last, appended.duplicate);
    Ok((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], answer).into_response())
}

fn event(result: Result<NewEvent, EventError>, index: usize) -> Result<NewEvent, ApiError> {
    result.map_err(|error| ApiError::bad_parameter(format!("event {index}: {error}."), error.member(), "body"))
}
