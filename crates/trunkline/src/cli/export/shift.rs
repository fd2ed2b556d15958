//! The time of an event: reading it, and moving it by some seconds.

use bytes::Bytes;
use trunkline_core::json::{self, Document, Layout};

/// The time of an event in Unix seconds; `None` when it has none.
pub(super) fn time(body: &Document) -> Option<f64> {
    body.get("timestamp")?.parse().ok()
}

/// The body with its timestamp moved by so many seconds, everything else byte for byte. As in the original, an integer stays one,
/// and what has no timestamp stays as it is.
pub(super) fn shifted(body: &Bytes, seconds: i64) -> Bytes {
    let moved = || {
        let document = json::lay_out(body, Layout::Dumps).ok()?;
        document.with("timestamp", &moved(document.get("timestamp")?, seconds)?)
    };
    if seconds == 0 { body.clone() } else { moved().map_or_else(|| body.clone(), Bytes::from) }
}

fn moved(raw: &str, seconds: i64) -> Option<String> {
    if let Ok(time) = raw.parse::<i64>() {
        return time.checked_add(seconds).map(|time| time.to_string());
    }
    // The shortest digits that give the same number back, as Python writes them.
    Some(format!("{:?}", raw.parse::<f64>().ok()? + seconds as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_timestamp_changes() {
        let shift = |body: &'static str, seconds| {
            String::from_utf8(shifted(&Bytes::from_static(body.as_bytes()), seconds).to_vec()).expect("UTF-8")
        };
        for (body, seconds, expected) in [
            (
                r#"{"a": 1.50, "timestamp": 1795248186.2937574, "b": {"timestamp": 1}}"#,
                3600,
                r#"{"a": 1.50, "timestamp": 1795251786.2937574, "b": {"timestamp": 1}}"#,
            ),
            (r#"{"timestamp": 5, "x": "\u00e9"}"#, -7, r#"{"timestamp": -2, "x": "\u00e9"}"#),
            (r#"{"timestamp": 1.0}"#, 0, r#"{"timestamp": 1.0}"#),
            (r#"{"timestamp": 2.0}"#, 1, r#"{"timestamp": 3.0}"#),
            (r#"{"timestamp": null}"#, 1, r#"{"timestamp": null}"#),
            (r#"{"event": "restart"}"#, 1, r#"{"event": "restart"}"#),
        ] {
            assert_eq!(shift(body, seconds), expected);
        }
    }
}
