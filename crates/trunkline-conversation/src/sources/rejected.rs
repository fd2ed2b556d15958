//! What a source gave that is no event, as a line that is set aside for a person to decide about.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use trunkline_core::{Received, Timestamp};

/// One message that is no event.
#[derive(Debug, Serialize)]
struct Rejected<'a> {
    time: &'a str,
    origin: &'a str,
    id: Option<&'a str>,
    reason: &'a str,
    #[serde(flatten)]
    body: Body<'a>,
}

/// The body as text where it is one.
#[derive(Debug, Serialize)]
enum Body<'a> {
    #[serde(rename = "body")]
    Text(&'a str),
    #[serde(rename = "body_base64")]
    Bytes(String),
}

impl<'a> From<&'a [u8]> for Body<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Self::Bytes(STANDARD.encode(bytes)), Self::Text)
    }
}

/// A line of JSON for each message and the reason why it is no event, found at `time`.
pub(super) fn lines(rejected: &[(&Received, String)], time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| time.0.to_string(), |time| format!("{time:.3}"));
    let line = |(Received { body, id, origin }, reason): &(&Received, String)| {
        let line = Rejected { time: &time, origin, id: id.as_deref(), reason, body: body.as_ref().into() };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    };
    rejected.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_body_is_kept_whatever_it_is() {
        let received = |body: &'static [u8]| Received { body: Bytes::from_static(body), id: None, origin: "delivery 1".into() };
        let (text, bytes) = (received(b"{\"a"), received(b"\xff"));
        assert_eq!(
            lines(&[(&text, "no".to_owned()), (&bytes, "no".to_owned())], Timestamp(1_796_000_000_500)),
            "{\"time\":\"2026-11-30T00:53:20.500Z\",\"origin\":\"delivery 1\",\"id\":null,\"reason\":\"no\",\"body\":\"{\\\"a\"}\n\
             {\"time\":\"2026-11-30T00:53:20.500Z\",\"origin\":\"delivery 1\",\"id\":null,\"reason\":\"no\",\"body_base64\":\"/w==\"}\n"
        );
    }
}
