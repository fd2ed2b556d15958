//! What came back.

use bytes::{Bytes, BytesMut};
use reqwest::{Response, StatusCode};

use crate::HeaderMap;

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as was read.
    pub body: Bytes,
    /// Whether that is all of it: it was not too long, did not break off and came in time.
    pub is_whole: bool,
}

impl Answer {
    /// Reads at most `most` bytes of the body. A status that came is an answer, whatever becomes of the body behind it.
    pub(crate) async fn read(mut response: Response, most: usize) -> Self {
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = BytesMut::new();
        let is_whole = loop {
            match response.chunk().await {
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
        Self { status, headers, body: body.freeze(), is_whole }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
