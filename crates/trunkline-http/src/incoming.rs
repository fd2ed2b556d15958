//! An answer on its way.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Response, StatusCode};

use crate::{Answer, Failure};

/// An answer, whatever its status, whose body is still to come.
pub struct Incoming {
    response: Response,
    limit: Duration,
}

/// Without the address that was asked, which may be secret.
impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Incoming {
    /// To a request that may take `limit` with its answer.
    pub(crate) fn new(response: Response, limit: Duration) -> Self {
        Self { response, limit }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// How many bytes the body has, if that is announced.
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next part of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.response.chunk().await.map_err(|error| Failure::in_body(&error, self.limit))
    }

    /// Reads at most `most` bytes of the body. A status that came is an answer, whatever becomes of the body behind it.
    pub async fn read(mut self, most: usize) -> Answer {
        let mut body = BytesMut::new();
        let is_whole = loop {
            match self.chunk().await {
                Ok(None) => break true,
                Ok(Some(chunk)) => {
                    let room = most - body.len();
                    body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                    if chunk.len() > room {
                        break false;
                    }
                }
                Err(_) => break false,
            }
        };
        let (status, headers) = (self.status(), std::mem::take(self.response.headers_mut()));
        Answer { status, headers, body: body.freeze(), is_whole }
    }
}
