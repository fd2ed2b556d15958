//! Who was asked and where, for errors.

use reqwest::Url;
use trunkline_core::AssistantError;

/// What stands in place of a secret in what a server answered.
const REDACTED: &str = "[redacted]";

/// Shorter secrets are not looked for in answers: they would be found everywhere.
const SHORTEST_SECRET: usize = 4;

/// How much of a body an error shows.
const EXCERPT_CHARS: usize = 200;

/// An assistant and one of its addresses.
pub(crate) struct Place<'e> {
    assistant: &'static str,
    /// Without user information, query and fragment, because these may be secret.
    url: String,
    secrets: &'e [String],
}

impl<'e> Place<'e> {
    pub(crate) fn new(assistant: &'static str, url: &Url, secrets: &'e [String]) -> Self {
        let mut shown = url.clone();
        shown.set_query(None);
        shown.set_fragment(None);
        // These fail only for addresses that have no host; those have no user either.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        Self { assistant, url: shown.into(), secrets }
    }

    /// The one form of all errors.
    pub(crate) fn failed(&self, found: &str, expected: &str) -> AssistantError {
        let Self { assistant, url, .. } = self;
        AssistantError::Failed(format!("assistant `{assistant}` at {url}: found {found}, expected {expected}"))
    }

    /// The first characters of what the server sent, in quotes, without our own secrets that it may have echoed.
    pub(crate) fn excerpt(&self, body: &[u8]) -> String {
        if body.is_empty() {
            return "an empty body".to_owned();
        }
        let mut text = String::from_utf8_lossy(body).into_owned();
        for secret in self.secrets.iter().filter(|secret| secret.len() >= SHORTEST_SECRET) {
            text = text.replace(secret, REDACTED);
        }
        let mut chars = text.chars();
        let head: String = chars.by_ref().take(EXCERPT_CHARS).collect();
        let more = if chars.next().is_some() { "…" } else { "" };
        format!("the body {head:?}{more}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_the_address_and_in_the_answer_are_not_shown() {
        let url = Url::parse("http://user:hunter2@host:5005/a/b?token=hunter2#hunter2").unwrap();
        let secrets = ["hunter2".to_owned(), "abc".to_owned()];
        let place = Place::new("rasa", &url, &secrets);
        let found = place.excerpt(b"no such page: /a/b?token=hunter2 abc\n\xff");
        assert_eq!(
            place.failed(&found, "status 200").to_string(),
            "assistant `rasa` at http://host:5005/a/b: \
             found the body \"no such page: /a/b?token=[redacted] abc\\n\u{fffd}\", expected status 200"
        );
    }

    #[test]
    fn an_excerpt_has_two_hundred_characters() {
        let place = Place::new("http", &Url::parse("http://host").unwrap(), &[]);
        assert_eq!(place.excerpt("é".repeat(201).as_bytes()), format!("the body \"{}\"…", "é".repeat(200)));
        assert_eq!(place.excerpt("é".repeat(200).as_bytes()), format!("the body \"{}\"", "é".repeat(200)));
        assert_eq!(place.excerpt(b""), "an empty body");
    }
}
