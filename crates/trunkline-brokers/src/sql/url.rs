//! Complete URLs as SQLAlchemy reads them.
//!
//! It is lenient where a URL is not: a password may hold `/` and `:` as they are, and a `%` that begins no code stands for
//! itself. Only `@` has to be written as `%40`.

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

/// The parts of `dialect+driver://username:password@host:port/database?key=value`.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: Option<String>,
    pub(super) query: Vec<(String, String)>,
}

impl Parts {
    /// Takes apart what stands behind `://`; `None` when an IPv6 address is not closed by `]`.
    pub(super) fn parse(rest: &str) -> Option<Self> {
        let mut parts = Self::default();
        let (user, rest) = split_user(rest);
        if let Some(user) = user {
            let (username, password) = user.split_once(':').map_or((user, None), |(name, word)| (name, Some(word)));
            parts.username = decode(username);
            parts.password = password.and_then(decode);
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        parts.query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
        parts.database = present(database);
        (parts.host, parts.port) = split_host(place)?;
        Some(parts)
    }
}

/// Splits `host`, `host:port`, `[::1]` and `[::1]:port`.
pub(super) fn split_host(place: &str) -> Option<(Option<String>, Option<String>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(address) => {
            let (address, rest) = address.split_once(']')?;
            (address, rest.strip_prefix(':').unwrap_or(rest))
        }
        // An address of version 6 that stands alone needs no brackets.
        None if place.matches(':').count() > 1 => (place, ""),
        None => place.split_once(':').unwrap_or((place, "")),
    };
    Some((present(host), present(port)))
}

/// Splits off what stands before `@`, which may hold a `/` in the password but not in the name.
fn split_user(rest: &str) -> (Option<&str>, &str) {
    match rest.split_once('@') {
        Some((user, behind)) if !user.split(':').next().unwrap_or_default().contains(['/', '?']) => (Some(user), behind),
        _ => (None, rest),
    }
}

fn decode(text: &str) -> Option<String> {
    present(&percent_decode_str(text).decode_utf8_lossy())
}

fn present(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rest: &str, expected: [Option<&str>; 5]) {
        let parts = Parts::parse(rest).unwrap();
        let found = [parts.username, parts.password, parts.host, parts.port, parts.database];
        assert_eq!(found.each_ref().map(Option::as_deref), expected, "{rest}");
    }

    #[test]
    fn parts_are_found_however_odd_the_password_is() {
        check("u:p@h:5/d", [Some("u"), Some("p"), Some("h"), Some("5"), Some("d")]);
        check("u:a secret/50%@h/d", [Some("u"), Some("a secret/50%"), Some("h"), None, Some("d")]);
        check("u%40x:p%40:%2Fq@h/d", [Some("u@x"), Some("p@:/q"), Some("h"), None, Some("d")]);
        check("u@h", [Some("u"), None, Some("h"), None, None]);
        check("h/d?mail=a@b", [None, None, Some("h"), None, Some("d")]);
        check("u:p@[::1]:5/d", [Some("u"), Some("p"), Some("::1"), Some("5"), Some("d")]);
        check("[fe80::1]/d", [None, None, Some("fe80::1"), None, Some("d")]);
        check("/d", [None, None, None, None, Some("d")]);
        assert!(Parts::parse("[::1/d").is_none());
    }

    #[test]
    fn options_are_decoded() {
        let parts = Parts::parse("h/d?sslmode=verify-full&sslrootcert=%2Fa%20b.pem").unwrap();
        let expected = [("sslmode", "verify-full"), ("sslrootcert", "/a b.pem")];
        assert!(parts.query.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(expected));
    }
}
