//! From what came back to an outcome.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::warn;
use trunkline_core::Outcome;
use trunkline_http::{Answer, Failure, Secrets, StatusCode, retry_after};

use crate::LastTrouble;

/// Said of a receiver that refuses, and has accepted nothing in the life of this process.
const NOTHING_YET: &str = "it has accepted nothing yet, so no event is given up: check `secret`, `url` and `content`";

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delivered,
    /// Not this event, or one of these events.
    Refused(String),
    /// No events any more.
    Gone(String),
    /// Not now. It may be for these events only.
    Failed(Outcome),
    /// Not now, whatever the events.
    Unavailable(Outcome),
}

impl Verdict {
    pub(super) fn into_outcome(self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Refused(reason) | Self::Gone(reason) => Outcome::Reject { reason },
            Self::Failed(outcome) | Self::Unavailable(outcome) => outcome,
        }
    }
}

/// Judges what comes from one receiver.
#[derive(Debug)]
pub(super) struct Judge {
    /// Who answers, for a person; without secrets.
    receiver: String,
    secrets: Secrets,
    /// Whether it has accepted an event in the life of this process.
    has_accepted: AtomicBool,
    /// Whether it has refused an event before it accepted one.
    has_refused: AtomicBool,
    gone_was_told: AtomicBool,
    /// Why it takes no events, when its last answer to some said so.
    turned_away: LastTrouble,
}

impl Judge {
    pub(super) fn new(receiver: String, secrets: Secrets) -> Self {
        let [has_accepted, has_refused, gone_was_told] = [const { AtomicBool::new(false) }; 3];
        Self { receiver, secrets, has_accepted, has_refused, gone_was_told, turned_away: LastTrouble::default() }
    }

    /// A sentence about the receiver.
    pub(super) fn says(&self, what: impl std::fmt::Display) -> String {
        format!("the webhook {}: {what}", self.receiver)
    }

    /// What an answer to a request with `count` events means; to one without any it says nothing about the next with some.
    ///
    /// A receiver that refuses the very first event may refuse all of them, for instance because of a wrong secret. Until it has
    /// accepted one, no refusal is held against an event but that it is too large.
    pub(super) fn judge(&self, result: Result<Answer, Failure>, count: usize) -> Verdict {
        // Where no answer comes, the question whether it is ready gets none either.
        let is_answer = result.is_ok() && count > 0;
        let verdict = self.weigh(result, count);
        if is_answer {
            let reason =
                if let Verdict::Unavailable(Outcome::Retry { reason, .. }) = &verdict { Some(reason.clone()) } else { None };
            self.turned_away.set(reason);
        }
        verdict
    }

    fn weigh(&self, result: Result<Answer, Failure>, count: usize) -> Verdict {
        let answer = match result {
            Ok(answer) if answer.status.is_success() => {
                self.has_accepted.store(true, Ordering::Relaxed);
                return Verdict::Delivered;
            }
            Ok(answer) => answer,
            Err(failure) => return Verdict::Unavailable(Outcome::retry(self.says(failure))),
        };
        let after = answer.header("retry-after").and_then(|value| retry_after(value, SystemTime::now()));
        let (described, hint) = (self.describe(&answer), hint(answer.status));
        let reason = self.says(format_args!("{described}{hint}"));
        let unavailable = |reason| Verdict::Unavailable(Outcome::Retry { after, reason });
        match answer.status {
            status if self.is_doubtful(status, count) => {
                self.has_refused.store(true, Ordering::Relaxed);
                unavailable(self.says(format_args!("{described}; {NOTHING_YET}")))
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Verdict::Refused(reason)
            }
            StatusCode::GONE => {
                if !self.gone_was_told.swap(true, Ordering::Relaxed) {
                    warn!(receiver = self.receiver, "Receiver wants no more events; they become dead letters");
                }
                Verdict::Gone(reason)
            }
            // These may have to do with the one event; all others would happen to every event.
            StatusCode::FORBIDDEN | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::INTERNAL_SERVER_ERROR => {
                Verdict::Failed(Outcome::Retry { after, reason })
            }
            _ => unavailable(reason),
        }
    }

    /// Whether a refusal may be the fault of our settings. Of several events, those that it accepts are looked for first.
    fn is_doubtful(&self, status: StatusCode, count: usize) -> bool {
        let is_final = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => count <= 1,
            StatusCode::GONE => true,
            _ => false,
        };
        is_final && !self.has_accepted.load(Ordering::Relaxed)
    }

    /// Whether the next events may be accepted, as far as its answers to others tell.
    pub(super) fn is_hopeful(&self) -> Result<(), String> {
        if self.has_refused.load(Ordering::Relaxed) && !self.has_accepted.load(Ordering::Relaxed) {
            return Err(self.says(NOTHING_YET));
        }
        self.turned_away.is_over()
    }

    fn describe(&self, answer: &Answer) -> String {
        let status = answer.status;
        let said = match answer.body.as_ref() {
            [] => String::new(),
            body => format!(", saying {}", self.secrets.excerpt(body)),
        };
        let place = answer.header("location").filter(|_| status.is_redirection());
        let redirect = place.map_or_else(String::new, |place| {
            // A query may repeat what is secret in ours.
            let place = self.secrets.excerpt(place.split(['?', '#']).next().unwrap_or_default().as_bytes());
            format!(", pointing to {place}; redirects are not followed: if it is right, write that address as `url`")
        });
        format!("it answered {status}{redirect}{said}")
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "; it does not accept this event",
        StatusCode::PAYLOAD_TOO_LARGE => "; this event is too large for it",
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "; it does not let us in: correct `headers`, `basic_auth`, `token` or `secret`"
        }
        StatusCode::NOT_FOUND => "; nothing is there: correct `url`",
        StatusCode::METHOD_NOT_ALLOWED => "; it takes no POST there: correct `url`",
        StatusCode::GONE => "; it wants no more events: take this broker out, or replay the dead letters when it is back",
        _ => "",
    }
}
