//! What a server answered, read within bounds.

use bytes::{Bytes, BytesMut};
use trunkline_core::AssistantError;
use trunkline_http::{Incoming, StatusCode};

use crate::place::Speaker;

/// How much of a refusal is read, for an error.
const REFUSAL_BYTES: usize = 4096;

/// A status and a body that is still to come.
pub(crate) struct IncomingAnswer<'e> {
    incoming: Incoming,
    place: Speaker<'e>,
    max: usize,
    limit: &'static str,
    read: usize,
}

impl<'e> IncomingAnswer<'e> {
    pub(crate) fn new(incoming: Incoming, place: Speaker<'e>, max: usize) -> Self {
        Self { incoming, place, max, limit: "max_body", read: 0 }
    }

    /// With another limit than the endpoint's, and the key that sets it.
    pub(crate) fn up_to(self, max: usize, limit: &'static str) -> Self {
        Self { max, limit, ..self }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.incoming.status()
    }

    pub(crate) fn place(&self) -> &Speaker<'e> {
        &self.place
    }

    /// Whether the body is a JSON object per line. Rasa calls that an event stream, although it is none.
    pub(crate) fn is_lines(&self) -> bool {
        let value = self.incoming.header("content-type").unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default().trim();
        ["application/x-ndjson", "text/event-stream"].iter().any(|lines| media_type.eq_ignore_ascii_case(lines))
    }

    /// The next part of the body; an error once there is more of it than allowed.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, AssistantError> {
        if self.incoming.content_length().is_some_and(|announced| announced > self.max as u64) {
            return Err(self.too_large());
        }
        let chunk = self.incoming.chunk().await.map_err(|failure| self.place.unanswered(&failure, "a complete answer"))?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > self.max { Err(self.too_large()) } else { Ok(chunk) }
    }

    /// The whole body.
    pub(crate) async fn body(&mut self) -> Result<Bytes, AssistantError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.is_empty() && self.incoming.content_length() == Some(chunk.len() as u64) {
                return Ok(chunk);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The error for a status that is not `expected`, with the head of its body.
    pub(crate) async fn refused(self, expected: &str) -> AssistantError {
        // Whatever ends the body early, the status is what matters.
        let answer = self.incoming.read(REFUSAL_BYTES).await;
        let redirect = if answer.status.is_redirection() { ", a redirect, which is not followed," } else { "" };
        let found = format!("status {}{redirect} and {}", answer.status.as_u16(), self.place.excerpt(&answer.body));
        self.place.failed(&found, expected)
    }

    fn too_large(&self) -> AssistantError {
        self.place.failed("a larger body", &format!("at most {} bytes (`{}`)", self.max, self.limit))
    }
}
