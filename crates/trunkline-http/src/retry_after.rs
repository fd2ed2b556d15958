//! When a server wants to be asked again.

use std::time::{Duration, SystemTime};

/// The longest wait that a server can ask for.
pub const MOST_WAIT: Duration = Duration::from_hours(24);

/// What a `Retry-After` means at the time `now`: seconds, or a date in any of the three forms of HTTP. A date that has passed
/// is no wait, a longer wait than [`MOST_WAIT`] is that one, and what is neither is `None`.
///
/// ```
/// use std::time::{Duration, UNIX_EPOCH};
/// use trunkline_http::retry_after;
///
/// let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
/// assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
/// assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
/// ```
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(MOST_WAIT, Duration::from_secs)
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MOST_WAIT))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn seconds_and_all_forms_of_dates_are_understood_and_bounded() {
        // 1994-11-06T08:49:30Z, seven seconds before the example of RFC 9110.
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let seconds = |value: &str| retry_after(value, now).map(|wait| wait.as_secs());
        for (value, expected) in [
            ("0", Some(0)),
            (" 5 ", Some(5)),
            ("86401", Some(86_400)),
            ("99999999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(7)),
            ("Sun Nov  6 08:49:37 1994", Some(7)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Mon, 06 Nov 2034 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            assert_eq!(seconds(value), expected, "{value}");
        }
    }
}
