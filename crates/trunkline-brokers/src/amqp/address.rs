//! The `url` of the section: the name of a host, or an AMQP URL.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;
use trunkline_config::Secret;
use url::Url;

/// The port of AMQP.
pub(super) const PORT: u16 = 5672;

/// The port of AMQP over TLS.
pub(super) const TLS_PORT: u16 = 5671;

/// What a `url` says; `None` and empty where it says nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Address {
    /// `None` for the name of a host, whose scheme follows from other options.
    pub(super) is_tls: Option<bool>,
    /// A name or an address, an IPv6 address without its brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) vhost: Option<String>,
    /// The pairs behind `?`, decoded, in their order.
    pub(super) query: Vec<(String, String)>,
    /// Whether there was a `#`, what follows which has no meaning.
    pub(super) has_fragment: bool,
}

/// Why a text is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) expected: &'static str,
    pub(super) hint: Option<&'static str>,
}

impl Address {
    /// Reads the name of a host, also one that begins with `amqp`, or a URL `amqp://…` or `amqps://…` in upper or lower case.
    pub(super) fn parse(text: &str) -> Result<Self, Invalid> {
        if text.contains("://") { Self::parse_url(text) } else { Self::parse_host(text) }
    }

    fn parse_host(text: &str) -> Result<Self, Invalid> {
        const EXPECTED: &str = "the name of a host, or a URL such as `amqp://host:5672/vhost`";
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let is_address = bare.parse::<Ipv6Addr>().is_ok();
        if !is_address && text.contains(':') {
            let hint = "name the port with `port`, or write the whole as a URL";
            return Err(Invalid { expected: EXPECTED, hint: Some(hint) });
        }
        let is_name = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "/@?#%[]\\".contains(c));
        if !is_address && !is_name {
            return Err(Invalid { expected: EXPECTED, hint: None });
        }
        Ok(Self { host: bare.to_owned(), ..Self::default() })
    }

    fn parse_url(text: &str) -> Result<Self, Invalid> {
        let url = Url::parse(text).map_err(|_| Invalid {
            expected: "a URL such as `amqp://host:5672/vhost`",
            hint: Some("percent-encode special characters in the user name and the password: `/` is %2F, `#` is %23, `@` is %40"),
        })?;
        let is_tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(Invalid { expected: "a URL that begins with `amqp://` or `amqps://`", hint: None }),
        };
        let host = match url.host() {
            Some(url::Host::Domain(name)) if !name.is_empty() => decode(name)?,
            Some(url::Host::Ipv4(address)) => address.to_string(),
            Some(url::Host::Ipv6(address)) => address.to_string(),
            _ => return Err(Invalid { expected: "a URL with a host, such as `amqp://host:5672/vhost`", hint: None }),
        };
        // `amqp://host` and `amqp://host/` are both the default virtual host, as in the original's client.
        let vhost = decode(url.path().strip_prefix('/').unwrap_or_default())?;
        Ok(Self {
            is_tls: Some(is_tls),
            host,
            port: url.port(),
            username: Some(decode(url.username())?).filter(|name| !name.is_empty()),
            password: url.password().map(decode).transpose()?.map(Secret::new),
            vhost: Some(vhost).filter(|vhost| !vhost.is_empty()),
            query: url.query_pairs().into_owned().collect(),
            has_fragment: url.fragment().is_some(),
        })
    }
}

fn decode(text: &str) -> Result<String, Invalid> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| Invalid { expected: "a URL whose percent-encoded parts are UTF-8", hint: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheme, user, password, host, port and virtual host, absent parts as `-`.
    fn read(text: &str) -> String {
        let Address { is_tls, host, port, username, password, vhost, .. } = match Address::parse(text) {
            Ok(address) => address,
            Err(invalid) => return format!("expected {}", invalid.expected),
        };
        let scheme = is_tls.map_or("-", |is_tls| if is_tls { "amqps" } else { "amqp" });
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let password = password.map(|password| password.expose().to_owned());
        let port = port.map(|port| port.to_string());
        format!("{scheme} {} {} {host} {} {}", or_none(username), or_none(password), or_none(port), or_none(vhost))
    }

    #[test]
    fn hosts_and_urls_are_told_apart_and_taken_to_pieces() {
        for (text, expected) in [
            ("localhost", "- - - localhost - -"),
            ("amqp.example.com", "- - - amqp.example.com - -"),
            ("amqps", "- - - amqps - -"),
            ("10.0.0.1", "- - - 10.0.0.1 - -"),
            ("::1", "- - - ::1 - -"),
            ("[::1]", "- - - ::1 - -"),
            ("amqp://localhost", "amqp - - localhost - -"),
            ("AMQP://localhost", "amqp - - localhost - -"),
            ("amqp://localhost/", "amqp - - localhost - -"),
            ("amqp://localhost/%2F", "amqp - - localhost - /"),
            ("amqp://u:p@localhost/vh?connection_timeout=10", "amqp u p localhost - vh"),
            ("amqps://h/vh?x=1", "amqps - - h - vh"),
            ("amqp://h:5672", "amqp - - h 5672 -"),
            ("amqp://a:b@h", "amqp a b h - -"),
            ("amqp://u:p@h:5673/v", "amqp u p h 5673 v"),
            ("amqp://u:a%20secret%2F50%25@h", "amqp u a secret/50% h - -"),
            ("amqp://u:@h", "amqp u - h - -"),
            ("amqp://u@h", "amqp u - h - -"),
            ("amqp://h/events%2Feu", "amqp - - h - events/eu"),
            ("amqp://h/events/eu", "amqp - - h - events/eu"),
            ("amqp://[::1]:5673/v#ignored", "amqp - - ::1 5673 v"),
            ("amqp://amqp5672.example.com", "amqp - - amqp5672.example.com - -"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "local host",
            "localhost:5672",
            "user@host",
            "host/vhost",
            "http://host",
            "amqp://",
            "amqp://u:a#b@h",
            "amqp://h:x",
        ] {
            assert!(read(text).starts_with("expected "), "{text}: {}", read(text));
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let address = Address::parse("amqp://u:hunter2@h").unwrap();
        assert!(!format!("{address:?}").contains("hunter2"));
    }
}
