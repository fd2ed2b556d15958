//! Who may use the HTTP API: a token in the query, or a JSON Web Token.

use axum::http::{HeaderMap, Uri, header};
use jsonwebtoken::{Validation, decode};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use trunkline_config::Secret;

use super::Context;
use super::error::ApiError;
use super::path;
use crate::JwtPlan;

#[derive(Deserialize)]
struct Claims {
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
    role: Option<String>,
}

impl Context {
    /// Lets the caller use a route; `conversation` is the one it is about, if any.
    ///
    /// With neither token nor JWT configured everybody may; with both, either suffices.
    pub(super) fn authorize(&self, headers: &HeaderMap, uri: &Uri, conversation: Option<&str>) -> Result<(), ApiError> {
        let api = &self.api;
        if api.token.is_none() && api.jwt.is_none() {
            return Ok(());
        }
        if let Some(token) = &api.token
            && path::query(uri, "token").is_some_and(|given| is_same(&given, token))
        {
            return Ok(());
        }
        match (&api.jwt, bearer(headers)) {
            (Some(jwt), Some(token)) => authorize_user(jwt, token, conversation),
            _ => Err(ApiError::not_authenticated("User is not authenticated.")),
        }
    }

    /// Lets the caller administrate: a command of the same user on this machine, or whoever may use all of the API.
    pub(super) fn authorize_admin(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        if bearer(headers).is_some_and(|token| is_same(token, &self.control_token)) {
            return Ok(());
        }
        if !self.api.enabled {
            return Err(ApiError::not_authenticated("The API is not enabled."));
        }
        self.authorize(headers, uri, None)
    }
}

fn authorize_user(jwt: &JwtPlan, token: &str, conversation: Option<&str>) -> Result<(), ApiError> {
    let mut validation = Validation::new(jwt.algorithm);
    // As in Rasa, a token without a time of expiry is good for ever; one that has a time is checked.
    validation.required_spec_claims.clear();
    validation.validate_nbf = true;
    // As there too, a token with an audience is for somebody else: we have no name that it could say (RFC 7519, 4.1.3).
    validation.validate_aud = true;
    validation.leeway = 0;
    let claims = decode::<Claims>(token, &jwt.key, &validation)
        .map_err(|error| ApiError::not_authenticated(format!("The token was not accepted: {error}.")))?;
    let Some(User { username, role }) = claims.claims.user else { return Err(insufficient()) };
    match role.as_deref() {
        Some("admin") => Ok(()),
        Some("user") if conversation.is_some() && conversation == username.as_deref() => Ok(()),
        _ => Err(insufficient()),
    }
}

fn insufficient() -> ApiError {
    ApiError::not_authorized("User has insufficient permissions.")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// Compares in a time that tells nothing about where they differ.
fn is_same(given: &str, secret: &Secret) -> bool {
    given.as_bytes().ct_eq(secret.expose().as_bytes()).into()
}
