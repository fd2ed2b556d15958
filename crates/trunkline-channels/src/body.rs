//! Reading request bodies with bounds on size, time and memory.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes at the most. Default: 1 MiB.
    pub bytes: usize,
    /// The time for all of it to arrive. Default: 30 s.
    pub time: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes: 1 << 20, time: Duration::from_secs(30) }
    }
}

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    /// The connection broke.
    #[error("the body did not arrive whole")]
    Broken,
}

impl BodyError {
    /// The status of an answer that says so.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// Bodies up to this size are read at once; their memory is bounded by the number of connections.
const SMALL: usize = 64 << 10;
/// What larger bodies may take together; beyond it they wait to be read.
const LARGE_TOGETHER: usize = 64 << 20;

/// Reads request bodies, and bounds what they take together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bodies {
    limits: BodyLimits,
    /// In KiB.
    room: Arc<Semaphore>,
}

/// A body that was read. As long as it lives, its size counts.
#[derive(Debug)]
pub struct ReceivedBody {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl Deref for ReceivedBody {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl Bodies {
    /// Bodies within `limits`.
    pub fn new(limits: BodyLimits) -> Self {
        Self { limits, room: Arc::new(Semaphore::new(LARGE_TOGETHER.max(limits.bytes) >> 10)) }
    }

    /// Reads a body.
    pub async fn read(&self, body: Body) -> Result<ReceivedBody, BodyError> {
        let BodyLimits { bytes: most, time } = self.limits;
        let read = async {
            let announced = body.size_hint().upper().map_or(most, |size| usize::try_from(size).unwrap_or(usize::MAX));
            if announced > most && body.size_hint().lower() > most as u64 {
                return Err(BodyError::TooLarge(most));
            }
            let room = if announced > SMALL { Some(self.reserve(announced.min(most)).await?) } else { None };
            match Limited::new(body, most).collect().await {
                Ok(body) => Ok(ReceivedBody { bytes: body.to_bytes(), _room: room }),
                Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(most)),
                Err(_) => Err(BodyError::Broken),
            }
        };
        tokio::time::timeout(time, read).await.unwrap_or(Err(BodyError::TooSlow(time)))
    }

    async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let permits = u32::try_from(bytes >> 10).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| BodyError::Broken)
    }
}
