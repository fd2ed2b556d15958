//! For operators: subscriptions and dead letters.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use trunkline_delivery::Delivery;
use trunkline_journal::{DeadLetter, DeadLetterState};

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
    let list: Vec<Value> = context.deliveries.iter().map(subscription).collect();
    Ok(json_response(&Value::from(list)))
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
    let letters = context.journal.dead_letters(None, limit).await?;
    Ok(json_response(&letters.iter().map(dead_letter).collect()))
}

async fn show(State(context): State<Shared>, Path(id): Path<i64>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    let letter = context.journal.dead_letter(id).await?.ok_or_else(|| no_such(id))?;
    Ok(json_response(&dead_letter(&letter)))
}

async fn replay(State(context): State<Shared>, Path(id): Path<i64>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    if !context.journal.set_dead_letter(id, DeadLetterState::Replay, None).await? {
        return Err(no_such(id));
    }
    context.look_at_dead_letters();
    Ok(json_response(&json!({"id": id, "state": "replay"})))
}

async fn drop_letter(State(context): State<Shared>, Path(id): Path<i64>, request: Request) -> Result<Response, ApiError> {
    context.authorize_admin(request.headers(), request.uri())?;
    if !context.journal.delete_dead_letter(id).await? {
        return Err(no_such(id));
    }
    context.look_at_dead_letters();
    Ok(json_response(&json!({"id": id, "state": "dropped"})))
}

impl Context {
    fn look_at_dead_letters(&self) {
        self.deliveries.iter().for_each(Delivery::look_at_dead_letters);
    }
}

/// A dead letter as commands and clients see it.
pub(crate) fn dead_letter(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
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

fn no_such(id: i64) -> ApiError {
    ApiError::not_found(format!("There is no dead letter {id}."))
}

fn json_response(body: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
