//! Text that must not be shown, and how to recognise it.

use std::fmt;

/// What stands in place of a secret wherever something is shown.
pub(crate) const REDACTED: &str = "[redacted]";

/// A password, token or key. `Debug` and `Display` print `[redacted]`.
///
/// There is no `PartialEq` on purpose: secrets are compared in constant time, where they are used.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret that came from elsewhere than a configuration file.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. Every use of this is a place to review.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// Whether a key's name suggests that its value must not be shown.
///
/// A second line of defence: it covers keys that nobody reads with `Section::secret`, such as those of a section that
/// is ignored, and lines that the parser could not understand.
pub(crate) fn sounds_secret(name: &str) -> bool {
    const WORDS: [&str; 10] =
        ["password", "passwd", "pwd", "passphrase", "secret", "token", "apikey", "privatekey", "accesskey", "authorization"];
    let name: String = name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect();
    WORDS.iter().any(|word| name.contains(word))
}

/// Whether a value is a URL with user information before the host, as in `amqp://user:word@host`.
pub(crate) fn has_credentials(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn names_and_urls_that_hold_secrets_are_recognised() {
        for name in ["password", "sasl_password", "api-key", "JWT_SECRET", "access_token", "Authorization"] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in ["username", "port", "key", "partition_by_sender"] {
            assert!(!sounds_secret(name), "{name}");
        }
        assert!(has_credentials("amqp://user:word@host/vhost"));
        assert!(!has_credentials("amqp://host") && !has_credentials("someone@example.org"));
    }
}
