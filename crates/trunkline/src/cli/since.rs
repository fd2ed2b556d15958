//! `--since`: a point in the past, as people write it.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use trunkline_core::Timestamp;

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// With the oldest event there is.
    Beginning,
    /// With the events of so long ago.
    Ago(Duration),
    /// With the events of this time.
    At(Timestamp),
}

impl Since {
    /// The time that is meant, `now` being the time of day.
    pub(super) fn time(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Beginning => Timestamp(0),
            Self::Ago(duration) => now.minus(duration),
            Self::At(time) => time,
        }
    }
}

/// Reads `beginning`, `10m`, `2026-03-01T18:00:00Z`, or a date with or without a time of day, in local time.
pub(super) fn parse(text: &str) -> Result<Since, String> {
    parse_in(text, &TimeZone::system())
}

fn parse_in(text: &str, zone: &TimeZone) -> Result<Since, String> {
    let text = text.trim();
    if text.eq_ignore_ascii_case("beginning") {
        return Ok(Since::Beginning);
    }
    if let Some(duration) = duration(text) {
        return Ok(Since::Ago(duration));
    }
    let instant = text.parse::<jiff::Timestamp>().ok();
    let local = || zone.to_timestamp(text.parse::<DateTime>().ok()?).ok();
    instant.or_else(local).map(|time| Since::At(Timestamp(time.as_millisecond()))).ok_or_else(|| {
        "expected a duration such as 10m, 2h or 7d, a time such as 2026-03-01T18:00:00Z or \"2026-03-01 18:00\", or `beginning`"
            .to_owned()
    })
}

/// A number and a unit.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit() && character != '.')?);
    let seconds = match unit.trim_start() {
        "ms" => 0.001,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_times_and_the_beginning_are_understood() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let at = |text: &str| Since::At(Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond()));
        for (text, expected) in [
            ("beginning", Since::Beginning),
            ("Beginning", Since::Beginning),
            ("10m", Since::Ago(Duration::from_mins(10))),
            ("2h", Since::Ago(Duration::from_hours(2))),
            ("1.5h", Since::Ago(Duration::from_mins(90))),
            ("250ms", Since::Ago(Duration::from_millis(250))),
            ("7 d", Since::Ago(Duration::from_hours(168))),
            ("2026-03-01T18:00:00Z", at("2026-03-01T18:00:00Z")),
            ("2026-03-01T18:00:00.250+05:30", at("2026-03-01T12:30:00.250Z")),
            ("2026-03-01 18:00:00.250", at("2026-03-01T16:00:00.250Z")),
            ("2026-03-01 18:00", at("2026-03-01T16:00:00Z")),
            ("2026-03-01", at("2026-02-28T22:00:00Z")),
        ] {
            assert_eq!(parse_in(text, &zone), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_answered_with_examples() {
        for text in ["", "10", "m", "-5m", "10 parsecs", "yesterday", "1.2.3h", "2026-13-01", "é"] {
            let error = parse_in(text, &TimeZone::UTC).unwrap_err();
            assert!(error.contains("10m") && error.contains("beginning"), "{text}: {error}");
        }
    }

    #[test]
    fn a_duration_counts_back_from_now() {
        assert_eq!(Since::Ago(Duration::from_secs(2)).time(Timestamp(5_000)), Timestamp(3_000));
        assert_eq!(Since::Ago(Duration::from_hours(2)).time(Timestamp(5_000)), Timestamp(0));
        assert_eq!(Since::Beginning.time(Timestamp(5_000)), Timestamp(0));
    }
}
