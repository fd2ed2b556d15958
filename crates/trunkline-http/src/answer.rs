//! What came back.

use bytes::{Bytes, BytesMut};
use reqwest::{Response, StatusCode};

use crate::HeaderMap;

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter secrets are not looked for: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

/// How much of a body an excerpt shows.
const EXCERPT_CHARS: usize = 200;

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

/// The first 200 characters of what somebody sent, in quotes, without the `secrets` of ours that may be echoed in it.
pub fn excerpt<'s>(body: &[u8], secrets: impl IntoIterator<Item = &'s str>) -> String {
    let mut text = String::from_utf8_lossy(body).into_owned();
    for secret in secrets.into_iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        text = text.replace(secret, REDACTED);
    }
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(EXCERPT_CHARS).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{head:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_without_secrets() {
        assert_eq!(excerpt(b"no /a?token=hunter2 abc\n\xff", ["hunter2", "abc"]), "\"no /a?token=[redacted] abc\\n\u{fffd}\"");
        assert_eq!(excerpt("é".repeat(201).as_bytes(), []), format!("\"{}\"…", "é".repeat(200)));
        assert_eq!(excerpt("é".repeat(200).as_bytes(), []), format!("\"{}\"", "é".repeat(200)));
    }
}
