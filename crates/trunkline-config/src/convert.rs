//! From a scalar to a value of the plan. Numbers and booleans may stand in quotes or come from the environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::node::{Node, Value};
use crate::scalar;
use crate::suggest::closest;

/// The unit of a duration that is written as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// Thousandths of a second.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// 60 seconds.
    Minutes,
}

impl TimeUnit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
        }
    }

    fn seconds(self) -> f64 {
        match self {
            Self::Milliseconds => 0.001,
            Self::Seconds => 1.0,
            Self::Minutes => 60.0,
        }
    }
}

/// What was expected of a value that does not fit.
#[derive(Debug)]
pub(crate) struct Mismatch {
    pub(crate) expected: String,
    pub(crate) hint: Option<String>,
}

impl Mismatch {
    pub(crate) fn expected(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

type Converted<T> = Result<T, Mismatch>;

pub(crate) fn text(node: &Node) -> Converted<String> {
    node.text().map(str::to_owned).ok_or_else(|| Mismatch::expected("text"))
}

pub(crate) fn boolean(node: &Node) -> Converted<bool> {
    let word = node.text().unwrap_or_default().trim().to_ascii_lowercase();
    match word.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        "yes" | "on" | "y" | "1" => {
            Err(Mismatch::expected("true or false").hint("write `true`; YAML 1.2 reads this as something else"))
        }
        "no" | "off" | "n" | "0" => {
            Err(Mismatch::expected("true or false").hint("write `false`; YAML 1.2 reads this as something else"))
        }
        _ => Err(Mismatch::expected("true or false")),
    }
}

pub(crate) fn integer<T>(node: &Node, range: &RangeInclusive<T>, what: &str) -> Converted<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let value = match &node.value {
        Value::Integer(value) => Some(*value),
        Value::String(text) => match scalar::number(text.trim()) {
            Some(Value::Integer(value)) => Some(value),
            _ => None,
        },
        _ => None,
    };
    value
        .and_then(|value| T::try_from(value).ok())
        .filter(|value| range.contains(value))
        .ok_or_else(|| Mismatch::expected(format!("{what} from {} to {}", range.start(), range.end())))
}

pub(crate) fn duration(node: &Node, unit: TimeUnit) -> Converted<Duration> {
    let mismatch = || {
        Mismatch::expected(format!("a duration such as `30s`, or a number of {}", unit.name()))
            .hint("the units are ms, s, m, h and d")
    };
    let (number, suffix) = quantity(node).ok_or_else(mismatch)?;
    let seconds = match suffix {
        "" => unit.seconds(),
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(mismatch()),
    };
    Duration::try_from_secs_f64(number * seconds).map_err(|_| mismatch())
}

pub(crate) fn bytes(node: &Node) -> Converted<u64> {
    let mismatch = || Mismatch::expected("a size such as `64 MiB`, `10MB`, or a number of bytes");
    let units_hint = "the units are B, kB, MB, GB and TB (powers of 1000) and KiB, MiB, GiB and TiB (powers of 1024)";
    let (number, suffix) = quantity(node).ok_or_else(mismatch)?;
    let factor: u32 = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => return whole(number).ok_or_else(mismatch),
        "kb" => return whole(number * 1e3).ok_or_else(mismatch),
        "mb" => return whole(number * 1e6).ok_or_else(mismatch),
        "gb" => return whole(number * 1e9).ok_or_else(mismatch),
        "tb" => return whole(number * 1e12).ok_or_else(mismatch),
        "kib" => 10,
        "mib" => 20,
        "gib" => 30,
        "tib" => 40,
        _ => return Err(mismatch().hint(units_hint)),
    };
    whole(number * 2_f64.powi(factor.cast_signed())).ok_or_else(mismatch)
}

/// The number and the unit of texts such as `500ms`, `64 MiB` or `30`; negative numbers are refused.
fn quantity(node: &Node) -> Option<(f64, &str)> {
    let text = node.text()?.trim();
    let number = match &node.value {
        Value::Integer(_) | Value::Float(_) => text.len(),
        _ => text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_'))).unwrap_or(text.len()),
    };
    let (number, unit) = text.split_at_checked(number)?;
    let number = match scalar::number(number)? {
        Value::Integer(value) => value as f64,
        Value::Float(value) => value,
        _ => return None,
    };
    (number.is_finite() && number >= 0.0).then_some((number, unit.trim_start()))
}

/// A non-negative number of bytes up to 2^53, where every integer is exact.
fn whole(number: f64) -> Option<u64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range and whole")]
    let value = number as u64;
    (number <= LARGEST && number.fract() == 0.0).then_some(value)
}

/// Text that begins with a scheme and `://`, with something behind and without white space.
pub(crate) fn url(node: &Node) -> Converted<String> {
    let mismatch = || Mismatch::expected("a URL such as `https://host/path`");
    let text = node.text().ok_or_else(mismatch)?.trim();
    let (scheme, rest) = text.split_once("://").ok_or_else(|| mismatch().hint("begin with the scheme, such as `https://`"))?;
    let scheme_is_valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let rest_is_valid =
        !rest.is_empty() && !rest.starts_with('/') && !rest.contains(|c: char| c.is_whitespace() || c.is_control());
    if scheme_is_valid && rest_is_valid { Ok(text.to_owned()) } else { Err(mismatch()) }
}

pub(crate) fn enumeration<T: Clone>(node: &Node, choices: &[(&str, T)]) -> Converted<T> {
    let text = node.text().unwrap_or_default().trim();
    if let Some((_, value)) = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        return Ok(value.clone());
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let mismatch = Mismatch::expected(format!("one of {}", names.join(", ")));
    Err(match closest(text, names) {
        // The hint quotes the choice, not the value, which may come from the environment.
        Some(name) => mismatch.hint(format!("did you mean `{name}`?")),
        None => mismatch,
    })
}
