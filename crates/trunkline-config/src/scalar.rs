//! What a plain scalar means: the rules of Rasa's YAML 1.2 loader.

use crate::node::Value;

/// The value of an unquoted scalar.
///
/// An integer that does not fit 64 bits becomes a float; its text remains available on the node.
pub(crate) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// An integer or a float, as YAML writes them; `None` when the text is neither.
pub(crate) fn number(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { "-" } else { "" };
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(Value::Float(if sign.is_empty() { f64::INFINITY } else { f64::NEG_INFINITY })),
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(Value::Float(f64::NAN)),
        _ => {}
    }
    integer(sign, unsigned).or_else(|| float(sign, unsigned))
}

/// `0b`, `0o` and `0x` prefixes; a leading zero alone does not mean octal; `_` between digits is skipped.
fn integer(sign: &str, unsigned: &str) -> Option<Value> {
    let prefixes = [("0b", 2), ("0o", 8), ("0x", 16)];
    let (digits, radix) =
        prefixes.iter().find_map(|(prefix, radix)| Some((unsigned.strip_prefix(prefix)?, *radix))).unwrap_or((unsigned, 10));
    if !digits.starts_with(|c: char| c.is_digit(radix)) || !digits.chars().all(|c| c.is_digit(radix) || c == '_') {
        return None;
    }
    let digits = format!("{sign}{}", digits.replace('_', ""));
    match i64::from_str_radix(&digits, radix) {
        Ok(value) => Some(Value::Integer(value)),
        Err(_) if radix == 10 => digits.parse().ok().map(Value::Float),
        Err(_) => None,
    }
}

/// `1.5`, `.5`, `1.`, `1e3`, `1.5e-3`; `_` may stand between the digits before the exponent.
fn float(sign: &str, unsigned: &str) -> Option<Value> {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let begins_with_digit = mantissa.strip_prefix('.').unwrap_or(mantissa).starts_with(|c: char| c.is_ascii_digit());
    let looks_like_float = mantissa.contains('.') || exponent.is_some();
    let allowed = mantissa.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'))
        && exponent.is_none_or(|e| e.strip_prefix(['-', '+']).unwrap_or(e).bytes().all(|b| b.is_ascii_digit()));
    if !begins_with_digit || !looks_like_float || !allowed {
        return None;
    }
    // Rust's own parser rejects what is left over: two points, an empty exponent.
    format!("{sign}{}", unsigned.replace('_', "")).parse().ok().map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_resolve_as_in_rasas_loader() {
        let text = |text: &str| Value::String(text.to_owned());
        let cases = [
            // the row "parse" of reference section 1.1
            ("yes", text("yes")),
            ("no", text("no")),
            ("on", text("on")),
            ("off", text("off")),
            ("true", Value::Bool(true)),
            ("True", Value::Bool(true)),
            ("TRUE", Value::Bool(true)),
            ("017", Value::Integer(17)),
            ("0o17", Value::Integer(15)),
            ("0x1F", Value::Integer(31)),
            ("1e3", Value::Float(1000.0)),
            ("1_000", Value::Integer(1000)),
            ("2024-05-01", text("2024-05-01")),
            // and their neighbours
            ("", Value::Null),
            ("~", Value::Null),
            ("null", Value::Null),
            ("NULL", Value::Null),
            ("nULL", text("nULL")),
            ("false", Value::Bool(false)),
            ("tRUE", text("tRUE")),
            ("0", Value::Integer(0)),
            ("-5", Value::Integer(-5)),
            ("+5", Value::Integer(5)),
            ("0b101", Value::Integer(5)),
            ("-0x10", Value::Integer(-16)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("9223372036854775808", Value::Float(9_223_372_036_854_775_808.0)),
            ("0xFFFFFFFFFFFFFFFFFF", text("0xFFFFFFFFFFFFFFFFFF")),
            ("1.5", Value::Float(1.5)),
            ("1.", Value::Float(1.0)),
            ("-.5", Value::Float(-0.5)),
            ("1_0.5e-1", Value::Float(1.05)),
            (".inf", Value::Float(f64::INFINITY)),
            ("-.INF", Value::Float(f64::NEG_INFINITY)),
            ("10.0.0.1", text("10.0.0.1")),
            ("1e", text("1e")),
            ("e3", text("e3")),
            ("1e_3", text("1e_3")),
            (".", text(".")),
            ("-", text("-")),
            ("_1", text("_1")),
            ("0x", text("0x")),
            ("0o8", text("0o8")),
            ("inf", text("inf")),
            ("nan", text("nan")),
            ("12:30", text("12:30")),
            ("3 apples", text("3 apples")),
        ];
        for (source, expected) in cases {
            assert!(resolve(source) == expected, "{source}");
        }
        assert!(matches!(resolve(".nan"), Value::Float(value) if value.is_nan()));
    }
}
