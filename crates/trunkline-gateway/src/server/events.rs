//! Taking tracker events from other servers: `POST /api/events`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use trunkline_conversation::{Part, Recorded, Unrecorded};
use trunkline_core::{EventError, NewEvent};

use super::error::ApiError;
use super::{Shared, rasa};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/events", post(append))
}

/// Records one event or a list, each with the name of its conversation, as brokers publish them. Answers 202 with the offsets once
/// they are durable.
async fn append(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    context.authorize(&parts.headers, &parts.uri, None)?;
    let key = rasa::idempotency_key(&parts)?;
    let body = context.bodies.read(body).await?;
    let document = rasa::parse(&body)?;
    let now = context.partitions.home().journal().clock().seconds();
    let events = match document.elements_of(&body) {
        None => vec![event(NewEvent::from_document(&document, &body, None, now), 0)?],
        Some(elements) => {
            rasa::refuse_empty(elements.len())?;
            let events = elements.enumerate().map(|(index, raw)| event(NewEvent::parse(raw, None, now), index));
            events.collect::<Result<_, _>>()?
        }
    };
    let answer = answer(context.partitions.carry(events, key).await)?;
    Ok(trunkline_channels::json_with(StatusCode::ACCEPTED, answer.to_string()))
}

fn event(result: Result<NewEvent, EventError>, index: usize) -> Result<NewEvent, ApiError> {
    result.map_err(|error| ApiError::bad_parameter(format!("event {index}: {error}."), error.member(), "body"))
}

/// Where the events stand: all of them, and those of each conversation when there are several.
fn answer(parts: Vec<Part>) -> Result<Value, Unrecorded> {
    let mut recorded = Vec::with_capacity(parts.len());
    for Part { conversation, recorded: result } in parts {
        recorded.push((conversation, result?));
    }
    let first = recorded.iter().map(|(_, recorded)| first_of(*recorded)).min();
    let last = recorded.iter().map(|(_, recorded)| recorded.last()).max();
    let duplicate = recorded.iter().all(|(_, recorded)| is_known(*recorded));
    let mut answer = json!({"first_offset": first, "last_offset": last, "duplicate": duplicate});
    if recorded.len() > 1 {
        let conversations = recorded.iter().map(|(conversation, recorded)| {
            json!({
                "conversation": conversation.as_str(),
                "first_offset": first_of(*recorded),
                "last_offset": recorded.last(),
                "duplicate": is_known(*recorded),
            })
        });
        answer["conversations"] = conversations.collect();
    }
    Ok(answer)
}

/// Of events that were recorded before only the last is known.
fn first_of(recorded: Recorded) -> u64 {
    match recorded {
        Recorded::New { first, .. } => first,
        Recorded::Known { last } => last,
    }
}

fn is_known(recorded: Recorded) -> bool {
    matches!(recorded, Recorded::Known { .. })
}
