//! From what came back to an outcome: what the answer to a delivery means.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use tracing::warn;
use trunkline_core::{LastTrouble, Outcome};

use crate::{Answer, Failure, Secrets, StatusCode, retry_after};

/// What a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
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
    /// The outcome of each event that the request carried.
    pub fn into_outcome(self) -> Outcome {
        match self {
            Self::Delivered => Outcome::Delivered,
            Self::Refused(reason) | Self::Gone(reason) => Outcome::Reject { reason },
            Self::Failed(outcome) | Self::Unavailable(outcome) => outcome,
        }
    }
}

/// How a kind of receiver is spoken of.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Who it is: `the webhook`.
    pub who: &'static str,
    /// The keys that are wrong when it refuses everything, as in `` `secret`, `url` and `content` ``.
    pub settings: &'static str,
    /// The keys by which it lets us in, as in `` `headers` or `token` ``.
    pub login: &'static str,
    /// What is taken out when it wants no more: `broker`.
    pub part: &'static str,
}

/// Judges what comes from one receiver.
#[derive(Debug)]
pub struct Judge {
    words: Words,
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
    /// A judge of the receiver that is called so, which may echo `secrets`.
    pub fn new(words: Words, receiver: String, secrets: Secrets) -> Self {
        let [has_accepted, has_refused, gone_was_told] = [const { AtomicBool::new(false) }; 3];
        Self { words, receiver, secrets, has_accepted, has_refused, gone_was_told, turned_away: LastTrouble::default() }
    }

    /// A sentence about the receiver.
    pub fn says(&self, what: impl std::fmt::Display) -> String {
        format!("{} {}: {what}", self.words.who, self.receiver)
    }

    /// Said of a receiver that refuses, and has accepted nothing in the life of this process.
    fn nothing_yet(&self) -> String {
        format!("it has accepted nothing yet, so no event is given up: check {}", self.words.settings)
    }

    /// What an answer to a request with `count` events means; to one without any it says nothing about the next with some.
    ///
    /// A receiver that refuses the very first event may refuse all of them, for instance because of a wrong secret. Until it has
    /// accepted one, no refusal is held against an event but that it is too large.
    pub fn judge(&self, result: Result<Answer, Failure>, count: usize) -> Verdict {
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
        let (described, hint) = (self.describe(&answer), self.hint(answer.status));
        let reason = self.says(format_args!("{described}{hint}"));
        let unavailable = |reason| Verdict::Unavailable(Outcome::Retry { after, reason });
        match answer.status {
            status if self.is_doubtful(status, count) => {
                self.has_refused.store(true, Ordering::Relaxed);
                unavailable(self.says(format_args!("{described}; {}", self.nothing_yet())))
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

    /// What the answer to a request without an effect says about the next events. That there is one is enough: few receivers know
    /// the method of such a request, and only an event shows whether events are taken.
    pub fn is_ready(&self, result: Result<Answer, Failure>) -> Result<(), String> {
        let is_fine = result.as_ref().is_ok_and(|answer| {
            !matches!(
                answer.status,
                StatusCode::UNAUTHORIZED
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            )
        });
        if is_fine {
            return self.is_hopeful();
        }
        match self.judge(result, 0) {
            Verdict::Failed(Outcome::Retry { reason, .. }) | Verdict::Unavailable(Outcome::Retry { reason, .. }) => Err(reason),
            _ => Ok(()),
        }
    }

    /// Whether the next events may be accepted, as far as its answers to others tell.
    fn is_hopeful(&self) -> Result<(), String> {
        if self.has_refused.load(Ordering::Relaxed) && !self.has_accepted.load(Ordering::Relaxed) {
            return Err(self.says(self.nothing_yet()));
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

    fn hint(&self, status: StatusCode) -> String {
        let Words { login, part, .. } = self.words;
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "; it does not accept this event".to_owned(),
            StatusCode::PAYLOAD_TOO_LARGE => "; this event is too large for it".to_owned(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("; it does not let us in: correct {login}"),
            StatusCode::NOT_FOUND => "; nothing is there: correct `url`".to_owned(),
            StatusCode::METHOD_NOT_ALLOWED => "; it takes no POST there: correct `url`".to_owned(),
            StatusCode::GONE => {
                format!("; it wants no more events: take this {part} out, or replay the dead letters when it is back")
            }
            _ => String::new(),
        }
    }
}
