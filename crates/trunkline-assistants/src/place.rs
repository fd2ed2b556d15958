//! Who was asked and where, for errors.

use trunkline_core::AssistantError;
use trunkline_http::{Failure, Secrets, Url, shown};

/// An assistant and one of its addresses.
pub(crate) struct Speaker<'e> {
    assistant: &'static str,
    /// As it may be shown.
    url: String,
    secrets: &'e Secrets,
}

impl<'e> Speaker<'e> {
    pub(crate) fn new(assistant: &'static str, url: &Url, secrets: &'e Secrets) -> Self {
        Self { assistant, url: shown(url), secrets }
    }

    /// The one form of all errors.
    pub(crate) fn failed(&self, found: &str, expected: &str) -> AssistantError {
        self.says(&format!("found {found}, expected {expected}"))
    }

    /// The error for a request that has no answer, or not all of it.
    pub(crate) fn unanswered(&self, failure: &Failure, expected: &str) -> AssistantError {
        let found = match failure {
            Failure::NoClient(why) => return self.says(why),
            Failure::Refused(refused) => format!("that {refused}"),
            Failure::NoConnection(cause) => format!("no connection ({cause})"),
            Failure::NoAnswer(limit) => format!("no answer in time ({} s)", limit.as_secs_f32()),
            Failure::Broken(cause) => format!("a connection that broke ({cause})"),
            Failure::BrokenOff(cause) => format!("an answer that broke off ({cause})"),
        };
        self.failed(&found, expected)
    }

    fn says(&self, what: &str) -> AssistantError {
        AssistantError::Failed(format!("assistant `{}` at {}: {what}", self.assistant, self.url))
    }

    /// The first characters of what the server sent, in quotes, without our own secrets that it may have echoed.
    pub(crate) fn excerpt(&self, body: &[u8]) -> String {
        if body.is_empty() { "an empty body".to_owned() } else { format!("the body {}", self.secrets.excerpt(body)) }
    }
}
