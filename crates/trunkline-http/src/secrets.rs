//! What must not be shown, although the other side may say it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use trunkline_config::Secret;

use crate::{HeaderValue, Url};

/// What stands in place of a secret.
const REDACTED: &str = "[redacted]";

/// Shorter secrets are not looked for: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

/// How much of a text an excerpt shows.
const EXCERPT_CHARS: usize = 200;

/// What must not be shown, although the other side may echo it.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Adds one. Those of less than four bytes are not looked for.
    pub fn add(&mut self, secret: impl Into<String>) {
        self.0.push(Secret::new(secret));
    }

    /// Adds the value of a header, and what stands behind its first word: of an `Authorization`, only that may be echoed.
    pub fn add_header(&mut self, value: &str) {
        self.0.extend(value.split_once(' ').map(|(_, behind)| Secret::new(behind.trim())));
        self.add(value);
    }

    /// Adds what the query of `url` says, as it is sent, with its escapes, and as it is understood.
    pub fn add_query(&mut self, url: &Url) {
        let sent = url.query().unwrap_or_default().split('&').filter_map(|pair| Some(pair.split_once('=')?.1));
        self.0.extend(sent.map(Secret::new));
        self.0.extend(url.query_pairs().map(|(_, value)| Secret::new(value)));
    }

    /// The `Authorization` of a user, whose password it adds.
    pub fn basic_auth(&mut self, username: &[u8], password: &[u8]) -> HeaderValue {
        let encoded = STANDARD.encode([username, b":", password].concat());
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 can stand in a header");
        value.set_sensitive(true);
        self.add(String::from_utf8_lossy(password));
        self.add(encoded);
        value
    }

    /// The first 200 characters of what somebody sent, in quotes, without what is secret.
    pub fn excerpt(&self, body: &[u8]) -> String {
        let mut secrets: Vec<&str> = self.0.iter().map(Secret::expose).filter(|text| text.len() >= SHORTEST_SECRET).collect();
        // One may be the beginning of another, of which the rest would stay.
        secrets.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let text = String::from_utf8_lossy(body).into_owned();
        let text = secrets.into_iter().fold(text, |text, secret| text.replace(secret, REDACTED));
        let mut chars = text.chars();
        let head: String = chars.by_ref().take(EXCERPT_CHARS).collect();
        let more = if chars.next().is_some() { "…" } else { "" };
        format!("{head:?}{more}")
    }
}

/// Takes the user and the password out of `url`, with their escapes resolved.
pub(crate) fn take_user(url: &mut Url) -> Option<(Vec<u8>, Vec<u8>)> {
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let password = url.password().map(decoded);
    if url.username().is_empty() && password.is_none() {
        return None;
    }
    let user = decoded(url.username());
    // These fail only for addresses that have no host; those have no user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some((user, password.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(texts: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        for text in texts {
            secrets.add(*text);
        }
        secrets
    }

    #[test]
    fn an_excerpt_is_short_and_without_secrets() {
        let shown = secrets(&["hunter2", "abc"]).excerpt(b"no /a?token=hunter2 abc\n\xff");
        assert_eq!(shown, "\"no /a?token=[redacted] abc\\n\u{fffd}\"");
        assert_eq!(secrets(&[]).excerpt("é".repeat(201).as_bytes()), format!("\"{}\"…", "é".repeat(200)));
        assert_eq!(secrets(&[]).excerpt("é".repeat(200).as_bytes()), format!("\"{}\"", "é".repeat(200)));
        assert_eq!(secrets(&["hunter", "hunter2 and more"]).excerpt(b"hunter2 and more"), "\"[redacted]\"");
    }

    #[test]
    fn a_token_is_hidden_also_without_the_word_before_it() {
        let mut secrets = Secrets::default();
        secrets.add_header("Bearer  t0ken");
        assert_eq!(secrets.excerpt(b"invalid token t0ken"), "\"invalid token [redacted]\"");
        assert_eq!(secrets.excerpt(b"Bearer  t0ken"), "\"[redacted]\"");
    }

    #[test]
    fn a_user_is_taken_out_of_an_address_and_hidden_in_every_form() {
        let mut url = Url::parse("http://me:p%77%3a%40rd@host/x?token=a%26bcd").unwrap();
        let (user, password) = take_user(&mut url).unwrap();
        assert_eq!((url.as_str(), &*user, &*password), ("http://host/x?token=a%26bcd", &b"me"[..], &b"pw:@rd"[..]));
        assert_eq!(take_user(&mut url), None);
        let mut secrets = Secrets::default();
        secrets.add_query(&url);
        let value = secrets.basic_auth(&user, &password);
        assert_eq!(value, "Basic bWU6cHc6QHJk");
        assert_eq!(
            secrets.excerpt(b"bWU6cHc6QHJk is me and pw:@rd at a%26bcd, which is a&bcd"),
            "\"[redacted] is me and [redacted] at [redacted], which is [redacted]\""
        );
    }
}
