//! The adapter: who is asked when, and what becomes of each event.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trunkline_core::{Batch, Broker, Clock, Event, Outcome};
use trunkline_http::{AFTER_ANOTHER, Answer, Call, Failure, Judge, Request, Resolve, Verdict, Words, shown};

use super::{Content, MOST_BATCH, WebhookSettings};

const WORDS: Words = Words {
    who: "the webhook",
    settings: "`secret`, `url` and `content`",
    login: "`headers`, `basic_auth`, `token` or `secret`",
    part: "broker",
};

/// How much of an answer is read.
const MOST_BODY: usize = 64 << 10;

/// How long a request for readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// Posts events to an address. See the [module](crate::webhook) for what it promises.
pub struct WebhookBroker {
    settings: WebhookSettings,
    judge: Judge,
    clock: Clock,
}

impl WebhookBroker {
    /// A broker that posts to the receiver of `settings`. Nothing is connected before the first call.
    pub fn new(settings: WebhookSettings) -> Self {
        let judge = Judge::new(WORDS, shown(settings.endpoint.url()), settings.endpoint.secrets().clone());
        Self { settings, judge, clock: Clock::system() }
    }

    /// The same, with names looked up by `resolver`.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.settings.endpoint = self.settings.endpoint.with_resolver(resolver);
        self
    }

    /// In Unix seconds.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().0 / 1000).unwrap_or_default()
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        self.settings.endpoint.send(request, MOST_BODY).await
    }
}

#[async_trait]
impl Broker for WebhookBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let call = Call::new(batch, &self.judge, self.settings.timeout);
        match self.settings.content {
            Content::Single => {
                let call = &call;
                let send = |index| async move { self.attempt(call, batch, &[index]).await };
                call.by_conversation(self.settings.concurrency, send).await
            }
            Content::Batch => self.in_batches(&call, batch).await,
        }
    }

    /// Whether something speaks HTTP there and lets us in, by a request without an effect (`OPTIONS`).
    async fn is_ready(&self) -> Result<(), String> {
        self.judge.is_ready(self.send(self.settings.probe(READY_TIMEOUT, self.now())).await)
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(self.settings.timeout)
    }

    async fn close(&self) {
        self.settings.endpoint.close().await;
    }
}

impl std::fmt::Debug for WebhookBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookBroker").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl WebhookBroker {
    /// Requests with as many events as possible. One that is refused is cut in halves, until the event is found that it was
    /// refused for; the rest of its conversation is left for another call.
    async fn in_batches(&self, call: &Call<'_>, batch: &Batch) -> Vec<Outcome> {
        let events = &batch.events;
        let mut outcomes = Outcome::retry(AFTER_ANOTHER).all(events.len());
        let mut held: HashSet<&str> = HashSet::new();
        let indices: Vec<usize> = (0..events.len()).collect();
        // The next to send is the last.
        let mut todo: Vec<Vec<usize>> = indices.chunks(MOST_BATCH).rev().map(<[usize]>::to_vec).collect();
        while let Some(mut indices) = todo.pop() {
            indices.retain(|&index| !held.contains(events[index].conversation.as_str()));
            if indices.is_empty() {
                continue;
            }
            let verdict = self.attempt(call, batch, &indices).await;
            if matches!(verdict, Verdict::Refused(_)) && indices.len() > 1 {
                let second = indices.split_off(indices.len() / 2);
                todo.extend([second, indices]);
                continue;
            }
            let outcome = verdict.into_outcome();
            for index in indices {
                if outcome != Outcome::Delivered {
                    held.insert(&events[index].conversation);
                }
                outcomes[index] = outcome.clone();
            }
        }
        outcomes
    }

    /// Sends the events at `indices` in one request.
    async fn attempt(&self, call: &Call<'_>, batch: &Batch, indices: &[usize]) -> Verdict {
        let events: Vec<&Arc<Event>> = indices.iter().map(|&index| &batch.events[index]).collect();
        let request = self.settings.request(&events, batch.export.as_deref(), self.now());
        call.attempt(events.len(), self.send(request)).await
    }
}
