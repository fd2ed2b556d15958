//! The header by which a sender says that a request is the same as an earlier one.

use axum::http::HeaderMap;
use trunkline_core::limits::MAX_KEY_BYTES;

/// A key that is empty, too long, or not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to {MAX_KEY_BYTES} visible ASCII characters")]
pub struct InvalidKey;

/// What the header `Idempotency-Key` says; `None` when there is none.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, InvalidKey> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().map_err(|_| InvalidKey)?;
    if (1..=MAX_KEY_BYTES).contains(&key.len()) { Ok(Some(key)) } else { Err(InvalidKey) }
}
