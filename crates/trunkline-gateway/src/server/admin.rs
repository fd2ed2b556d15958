//! For operators: subscriptions and dead letters.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use trunkline_channels::json as json_response;
use trunkline_delivery::Delivery;
use trunkline_journal::{DeadLetter, DeadLetterId, DeadLetterState, Journal};

use super::error::ApiError;
use super::{Context, Shared, path};

/// How many dead letters a list has unless `limit` asks for more or fewer.
const LISTED: usize = 100;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/subscriptions", get(subscriptions))
        .route("/dead-letters", get(list))
        .route("/dead-letters/{id}", get(show).delete(drop_letter))
        .route("/dead-letters/{id}/replay", post(replay))
}

async fn subscriptions(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let list: Vec<Value> = context.deliveries().map(subscription).collect();
    Ok(json_response(Value::from(list).to_string()))
}

/// How a subscription is doing.
pub(super) fn subscription(delivery: &Delivery) -> Value {
    let report = delivery.report();
    json!({
        "name": delivery.name(),
        "settled_below": report.low,
        "owed": report.owed,
        "is_down": report.is_down,
        "problem": report.problem,
    })
}

async fn list(State(context): State<Shared>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let limit = match path::query(request.uri(), "limit") {
        Some(limit) => limit.parse().map_err(|_| ApiError::bad_parameter("It must be a number.", "limit", "query"))?,
        None => LISTED,
    };
    let mut letters = Vec::new();
    for journal in context.journals() {
        letters.extend(journal.dead_letters(None, limit - letters.len().min(limit)).await?);
    }
    Ok(json_response(letters.iter().map(dead_letter).collect::<Value>().to_string()))
}

async fn show(State(context): State<Shared>, Path(id): Path<String>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let id = DeadLetterId::new(&id);
    for journal in context.journals() {
        if let Some(letter) = journal.dead_letter(&id).await? {
            return Ok(json_response(dead_letter(&letter).to_string()));
        }
    }
    Err(no_such(&id))
}

async fn replay(State(context): State<Shared>, Path(id): Path<String>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let id = DeadLetterId::new(&id);
    for journal in context.journals() {
        if journal.set_dead_letter(&id, DeadLetterState::Replay, None).await? {
            return Ok(context.changed(&id, "replay"));
        }
    }
    Err(no_such(&id))
}

async fn drop_letter(State(context): State<Shared>, Path(id): Path<String>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let id = DeadLetterId::new(&id);
    for journal in context.journals() {
        if journal.delete_dead_letter(&id).await? {
            return Ok(context.changed(&id, "dropped"));
        }
    }
    Err(no_such(&id))
}

impl Context {
    fn journals(&self) -> impl Iterator<Item = &Journal> {
        self.partitions.all().map(|partition| partition.journal())
    }

    /// A dead letter was changed: who delivers acts on it now.
    fn changed(&self, id: &DeadLetterId, state: &str) -> Response {
        self.deliveries().for_each(Delivery::look_at_dead_letters);
        json_response(json!({"id": id.as_str(), "state": state}).to_string())
    }
}

/// A dead letter as commands and clients see it.
fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id.as_str(),
        "subscription": letter.subscription,
        "state": letter.state.as_str(),
        "reason": letter.reason,
        "attempts": letter.attempts,
        "died": letter.died.0,
        "offset": letter.event.offset,
        "event_id": letter.event.id.to_string(),
        "conversation": letter.event.conversation.as_str(),
        "type": letter.event.event_type.as_str(),
        "event": serde_json::from_slice::<Value>(&letter.event.body).unwrap_or(Value::Null),
    })
}

fn no_such(id: &DeadLetterId) -> ApiError {
    ApiError::not_found(format!("There is no dead letter {id}."))
}
