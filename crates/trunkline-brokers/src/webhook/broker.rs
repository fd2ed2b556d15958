//! The adapter: who is asked when, and what becomes of each event.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream;
use trunkline_core::{Batch, Broker, Clock, Event, Outcome};
use trunkline_http::{Answer, Failure, Request, Resolve, StatusCode, shown};

use super::answer::{Judge, Verdict};
use super::{Content, MOST_BATCH, Plan};

/// So long before its caller stops waiting a call is to be over.
const MARGIN: Duration = Duration::from_millis(500);

/// How much of an answer is read.
const MOST_BODY: usize = 64 << 10;

/// How long a request for readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

const AFTER_ANOTHER: &str = "not tried, because an event of the same conversation before it was not delivered";

/// Posts events to an address. See the [module](crate::webhook) for what it promises.
pub struct WebhookBroker {
    plan: Plan,
    judge: Judge,
    clock: Clock,
}

impl WebhookBroker {
    /// A broker that posts to the receiver of `plan`. Nothing is connected before the first call.
    pub fn new(plan: Plan) -> Self {
        let judge = Judge::new(shown(plan.endpoint.url()), plan.endpoint.secrets().clone());
        Self { plan, judge, clock: Clock::system() }
    }

    /// The same, with names looked up by `resolver`.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.plan.endpoint = self.plan.endpoint.with_resolver(resolver);
        self
    }

    /// In Unix seconds.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.now().0 / 1000).unwrap_or_default()
    }

    async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        self.plan.endpoint.send(request, MOST_BODY).await
    }
}

#[async_trait]
impl Broker for WebhookBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let call = Call { broker: self, batch, stop: OnceLock::new(), has_begun: AtomicBool::new(false) };
        match self.plan.content {
            Content::Single => call.one_by_one().await,
            Content::Batch => call.in_batches().await,
        }
    }

    /// Whether something speaks HTTP there and lets us in, by a request without an effect (`OPTIONS`). That it answers is
    /// enough: few receivers know the method, and only an event shows whether events are taken.
    async fn is_ready(&self) -> Result<(), String> {
        let result = self.send(self.plan.probe(READY_TIMEOUT, self.now())).await;
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
            return self.judge.is_hopeful();
        }
        match self.judge.judge(result, 0) {
            Verdict::Failed(Outcome::Retry { reason, .. }) | Verdict::Unavailable(Outcome::Retry { reason, .. }) => Err(reason),
            _ => Ok(()),
        }
    }

    fn request_timeout(&self) -> Option<Duration> {
        Some(self.plan.timeout)
    }

    async fn close(&self) {
        self.plan.endpoint.close().await;
    }
}

impl std::fmt::Debug for WebhookBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookBroker").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// One call of `publish`.
struct Call<'c> {
    broker: &'c WebhookBroker,
    batch: &'c Batch,
    /// Why nothing more is tried in this call.
    stop: OnceLock<Outcome>,
    /// Whether there was a request.
    has_begun: AtomicBool,
}

impl Call<'_> {
    /// A request for each event: those of a conversation one after the other, conversations side by side.
    async fn one_by_one(&self) -> Vec<Outcome> {
        let requests = by_conversation(&self.batch.events).into_iter().map(|indices| self.conversation(indices));
        let mut running = stream::iter(requests).buffer_unordered(self.broker.plan.concurrency);
        let mut outcomes = Outcome::retry("").all(self.batch.events.len());
        while let Some(settled) = running.next().await {
            for (index, outcome) in settled {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }

    /// Sends the events of one conversation until one is not delivered.
    async fn conversation(&self, indices: Vec<usize>) -> Vec<(usize, Outcome)> {
        let mut settled = Vec::with_capacity(indices.len());
        let mut is_held = false;
        for index in indices {
            let outcome = if is_held { Outcome::retry(AFTER_ANOTHER) } else { self.send(&[index]).await.into_outcome() };
            is_held |= outcome != Outcome::Delivered;
            settled.push((index, outcome));
        }
        settled
    }

    /// Requests with as many events as possible. One that is refused is cut in halves, until the event is found that it was
    /// refused for; the rest of its conversation is left for another call.
    async fn in_batches(&self) -> Vec<Outcome> {
        let events = &self.batch.events;
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
            let verdict = self.send(&indices).await;
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

    /// Whether a request that takes as long as it may ends before the caller stops waiting, for then all of the call would come
    /// again. The first is always sent, or nothing would ever be.
    fn may_begin(&self) -> bool {
        !self.has_begun.swap(true, Ordering::Relaxed) || self.batch.time_left() > self.broker.plan.timeout + MARGIN
    }

    /// Sends the events at `indices` in one request, unless something stopped the call.
    async fn send(&self, indices: &[usize]) -> Verdict {
        if !self.may_begin() {
            let reason = self.broker.judge.says("it is slow: there was no time for this event yet");
            let _ = self.stop.set(Outcome::Retry { after: None, reason });
        }
        if let Some(stopped) = self.stop.get() {
            return Verdict::Unavailable(stopped.clone());
        }
        let events: Vec<&Arc<Event>> = indices.iter().map(|&index| &self.batch.events[index]).collect();
        let request = self.broker.plan.request(&events, self.batch.export.as_deref(), self.broker.now());
        let result = self.broker.send(request).await;
        let verdict = self.broker.judge.judge(result, events.len());
        if let Verdict::Unavailable(outcome) = &verdict {
            let _ = self.stop.set(outcome.clone());
        }
        verdict
    }
}

/// The indices of the events of each conversation, in order; conversations in the order of their first event.
fn by_conversation(events: &[Arc<Event>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let group = *known.entry(event.conversation.as_str()).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(index);
    }
    groups
}
