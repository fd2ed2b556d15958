//! Taking tracker events from other servers: `POST /api/events`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;
use trunkline_conversation::{Part, Recorded, TrackerError, Unrecorded};
use trunkline_core::limits::MAX_EVENTS;
use trunkline_core::{EventError, NewEvent, Offset};

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
            if elements.len() > MAX_EVENTS {
                return Err(TrackerError::TooMany { found: elements.len(), most: MAX_EVENTS }.into());
            }
            let events = elements.enumerate().map(|(index, raw)| event(NewEvent::parse(raw, None, now), index));
            events.collect::<Result<_, _>>()?
        }
    };
    let answer = answer(&context.partitions.carry(events, key).await)?;
    Ok(trunkline_channels::json_with(StatusCode::ACCEPTED, answer))
}

fn event(result: Result<NewEvent, EventError>, index: usize) -> Result<NewEvent, ApiError> {
    result.map_err(|error| ApiError::bad_parameter(format!("event {index}: {error}."), error.member(), "body"))
}

/// Where events stand.
#[derive(Serialize)]
struct Place {
    first_offset: Offset,
    last_offset: Offset,
    /// Whether they were recorded before.
    duplicate: bool,
}

/// Where the events of a conversation stand.
#[derive(Serialize)]
struct PartPlace<'p> {
    conversation: &'p str,
    #[serde(flatten)]
    place: Place,
}

/// Where all events of a request stand, and those of each conversation when there are several.
#[derive(Serialize)]
struct Answer<'p> {
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    conversations: &'p [PartPlace<'p>],
}

fn answer(parts: &[Part]) -> Result<String, Unrecorded> {
    let mut places = Vec::with_capacity(parts.len());
    for Part { conversation, recorded } in parts {
        places.push(PartPlace { conversation, place: recorded.clone()?.into() });
    }
    let all = places.iter().map(|part| &part.place);
    let place = Place {
        first_offset: all.clone().map(|place| place.first_offset).min().unwrap_or_default(),
        last_offset: all.clone().map(|place| place.last_offset).max().unwrap_or_default(),
        duplicate: all.clone().all(|place| place.duplicate),
    };
    let conversations = if places.len() > 1 { places.as_slice() } else { &[] };
    Ok(serde_json::to_string(&Answer { place, conversations }).expect("numbers and texts can be written as JSON"))
}

impl From<Recorded> for Place {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::New { first, last } => Self { first_offset: first, last_offset: last, duplicate: false },
            // Of events that were recorded before only the last is known.
            Recorded::Known { last } => Self { first_offset: last, last_offset: last, duplicate: true },
        }
    }
}
