//! The adapter: from batches to messages and their confirms.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH};
use lapin::{BasicProperties, Confirmation, ErrorKind};
use tokio::time::timeout;
use trunkline_core::{Batch, Broker, EXPORT_HEADER, Event, Outcome};

use super::explain::{hint, say};
use super::link::Link;
use super::settings::Settings;

/// A delivery mode.
const PERSISTENT: u8 = 2;

/// The longest that a confirm may take.
const CONFIRM: Duration = Duration::from_secs(30);

/// The longest that a confirm may take once the server has said that it takes no messages now.
const BLOCKED: Duration = Duration::from_secs(5);

/// Why events were not tried that come after one of their conversation which failed.
const BEHIND: &str = "an earlier event of the conversation was not delivered";

/// Publishes to an exchange. See the [module](crate::amqp) for what it promises.
#[derive(Debug)]
pub struct AmqpBroker {
    settings: Settings,
    /// The connections that are not in use: as many as there were calls at the same time. A call that is given up takes its
    /// connection with it, so that none is left half used.
    links: Mutex<Vec<Link>>,
    /// Whether a queue has refused a message before.
    was_refused: AtomicBool,
}

/// What ended the use of a connection.
#[derive(Debug)]
struct Trouble {
    reason: String,
    /// The limit that a message was over.
    largest: Option<usize>,
    /// Whether it is of no use to try at once on a new connection.
    is_final: bool,
}

impl AmqpBroker {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, links: Mutex::default(), was_refused: AtomicBool::new(false) }
    }

    fn links(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects and creates what is missing on the server.
    async fn open(&self) -> Result<Link, String> {
        let link = Link::open(&self.settings.server).await?;
        self.settings.topology.declare(&self.settings.server, &link).await?;
        Ok(link)
    }

    /// Publishes what has no outcome yet, and gives it one. What has none after trouble may or may not have arrived.
    async fn send(&self, link: &Link, batch: &Batch, outcomes: &mut [Option<Outcome>]) -> Result<(), Trouble> {
        let events = self.admit(link.largest, &batch.events, outcomes);
        // The conversations in which an event failed: those behind it are left alone.
        let mut stopped = HashSet::new();
        for mut wave in waves(&batch.events, events, self.settings.is_strict || self.was_refused.load(Ordering::Relaxed)) {
            wave.retain(|&at| !stopped.contains(&batch.events[at].conversation));
            let answers = self.publish_wave(link, batch, &wave).await;
            let returned: HashSet<String> = answers.iter().flatten().filter_map(returned_id).collect();
            let mut trouble: Option<Trouble> = None;
            for (&at, answer) in wave.iter().zip(answers) {
                let event = &batch.events[at];
                let failure = match answer {
                    Err(failure) => Some(failure),
                    // The library may hand a returned message to the confirm of another.
                    Ok(_) if !returned.is_empty() && returned.contains(&event.id.to_string()) => Some(self.unroutable()),
                    Ok(_) if stopped.contains(&event.conversation) => continue,
                    Ok(Confirmation::Nack(_)) => {
                        self.note_refusal();
                        outcomes[at] = Some(Outcome::retry(self.refused()));
                        None
                    }
                    Ok(_) => {
                        outcomes[at] = Some(Outcome::Delivered);
                        continue;
                    }
                };
                stopped.insert(event.conversation.clone());
                if let Some(failure) = failure
                    && (trouble.is_none() || failure.largest.is_some())
                {
                    trouble = Some(failure);
                }
            }
            if let Some(trouble) = trouble {
                return Err(trouble);
            }
        }
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            *outcome = Some(Outcome::retry(BEHIND));
        }
        Ok(())
    }

    /// The places of the events to publish, in their order. Rejects what can never be, holds back what is behind something
    /// that failed, and takes back the outcome of what came before an event of its conversation that is to be published again.
    fn admit(&self, largest: Option<usize>, events: &[Arc<Event>], outcomes: &mut [Option<Outcome>]) -> Vec<usize> {
        let (mut stopped, mut reopened) = (HashSet::new(), HashSet::new());
        let mut admitted = Vec::with_capacity(events.len());
        for (at, (event, outcome)) in events.iter().zip(outcomes).enumerate() {
            let conversation = event.conversation.as_str();
            if stopped.contains(conversation) {
                *outcome = Some(Outcome::retry(BEHIND));
                continue;
            }
            match outcome {
                Some(Outcome::Delivered) if !reopened.contains(conversation) => continue,
                Some(Outcome::Delivered) | None => {}
                Some(_) => {
                    stopped.insert(conversation);
                    continue;
                }
            }
            if let Some(reason) = self.unsendable(largest, event) {
                *outcome = Some(Outcome::Reject { reason });
                stopped.insert(conversation);
            } else {
                *outcome = None;
                reopened.insert(conversation);
                admitted.push(at);
            }
        }
        admitted
    }

    fn unsendable(&self, largest: Option<usize>, event: &Event) -> Option<String> {
        let place = self.settings.server.place();
        let (size, key) = (event.body.len(), self.settings.routing_key.render_event(event).len());
        if let Some(largest) = largest.filter(|largest| size > *largest) {
            return Some(format!("the event has {size} bytes, and RabbitMQ at {place} takes {largest} (its `max_message_size`)"));
        }
        (key > MAX_SHORT_STRING_LENGTH)
            .then(|| format!("the event's routing key has {key} bytes, and AMQP takes {MAX_SHORT_STRING_LENGTH}"))
    }

    /// Publishes the events at `wave`, all at once and in this order, and waits for the answers.
    async fn publish_wave(&self, link: &Link, batch: &Batch, wave: &[usize]) -> Vec<Result<Confirmation, Trouble>> {
        let properties = self.properties(batch);
        let mut pending: Vec<_> =
            wave.iter().map(|&at| Box::pin(self.publish_one(link, &batch.events[at], properties.clone()))).collect();
        // Being polled for the first time puts a message into the connection's queue.
        let begun: Vec<_> =
            poll_fn(|context| Poll::Ready(pending.iter_mut().map(|message| message.as_mut().poll(context)).collect())).await;
        let mut patience = CONFIRM;
        let mut answers = Vec::with_capacity(wave.len());
        for (message, begun) in pending.into_iter().zip(begun) {
            let answer = match begun {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => wait(link, message, patience).await,
            };
            answers.push(if let Some(answer) = answer {
                answer.map_err(|error| self.failed(&error))
            } else {
                // The others have waited as long.
                patience = Duration::ZERO;
                Err(self.silent(link))
            });
        }
        answers
    }

    async fn publish_one(&self, link: &Link, event: &Event, properties: BasicProperties) -> lapin::Result<Confirmation> {
        let settings = &self.settings;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = properties.with_message_id(event.id.to_string().into());
        let (exchange, key) = (settings.topology.exchange.as_str().into(), settings.routing_key.render_event(event).into());
        link.channel.basic_publish(exchange, key, options, &event.body, properties).await?.await
    }

    /// What all messages of a batch have in common. Of the optional properties the original sets these and no more.
    fn properties(&self, batch: &Batch) -> BasicProperties {
        let mut headers = FieldTable::default();
        if let Some(export) = &batch.export {
            headers.insert(EXPORT_HEADER.into(), AMQPValue::LongString(export.as_bytes().into()));
        }
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_priority(0).with_headers(headers);
        if let Some(app_id) = &self.settings.app_id {
            properties = properties.with_app_id(app_id.as_str().into());
        }
        if let Some(content_type) = &self.settings.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        properties
    }

    fn note_refusal(&self) {
        if !self.was_refused.swap(true, Ordering::Relaxed) && !self.settings.is_strict {
            tracing::warn!(
                server = self.settings.server.place(),
                "A queue refused an event; from now on an event waits for the confirm of the one before it in its conversation"
            );
        }
    }

    fn refused(&self) -> String {
        let (place, exchange) = (self.settings.server.place(), &self.settings.topology.exchange);
        format!(
            "RabbitMQ at {place} refused the event: a queue behind the exchange `{exchange}` is full and has `overflow: \
             reject-publish`, or is not available"
        )
    }

    fn unroutable(&self) -> Trouble {
        let (place, exchange) = (self.settings.server.place(), &self.settings.topology.exchange);
        let reason = format!("RabbitMQ at {place}: the exchange `{exchange}` leads the event to no queue; bind one to it");
        Trouble { reason, largest: None, is_final: false }
    }

    fn failed(&self, error: &lapin::Error) -> Trouble {
        let place = self.settings.server.place();
        let reason = format!("RabbitMQ at {place}: publishing failed: {}{}", say(error), hint(error));
        Trouble { reason, largest: largest_named(error), is_final: false }
    }

    fn silent(&self, link: &Link) -> Trouble {
        let place = self.settings.server.place();
        let reason = if link.connection.status().blocked() {
            format!("RabbitMQ at {place} takes no events now: it is short of memory or disk (see `rabbitmq-diagnostics alarms`)")
        } else {
            format!("RabbitMQ at {place} did not confirm the event within {} s", CONFIRM.as_secs())
        };
        Trouble { reason, largest: None, is_final: true }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = vec![None; batch.events.len()];
        let mut kept = {
            let mut links = self.links();
            links.retain(Link::is_usable);
            links.pop()
        };
        let mut largest = None;
        let failure = loop {
            let is_fresh = kept.is_none();
            let mut link = match kept.take() {
                Some(link) => link,
                None => match self.open().await {
                    Ok(link) => link,
                    Err(reason) => break Outcome::Retry { after: self.settings.server.retry_delay, reason },
                },
            };
            // A limit is good for one connection: the server may have another by the next.
            link.largest = link.largest.or(largest);
            match self.send(&link, batch, &mut outcomes).await {
                Ok(()) => {
                    self.links().push(link);
                    break Outcome::Delivered;
                }
                Err(trouble) if trouble.largest.is_some() && trouble.largest != largest => largest = trouble.largest,
                // What was kept may have become useless long ago, or the exchange or a queue have been deleted.
                Err(trouble) if is_fresh || trouble.is_final => break Outcome::retry(trouble.reason),
                Err(_) => {}
            }
        };
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| failure.clone())).collect()
    }

    /// Connects as the first batch would. What is missing on the server is not created, what is there is compared.
    async fn is_ready(&self) -> Result<(), String> {
        let link = Link::open(&self.settings.server).await?;
        let checked = self.settings.topology.check(&self.settings.server, &link).await;
        link.close().await;
        checked
    }

    async fn close(&self) {
        let links = std::mem::take(&mut *self.links());
        join_all(links.into_iter().map(Link::close)).await;
    }
}

/// Waits for an answer; not as long when the server has said that it takes no messages now.
async fn wait<T>(link: &Link, mut answer: impl Future<Output = T> + Unpin, patience: Duration) -> Option<T> {
    let (soon, later) = (patience.min(BLOCKED), patience.saturating_sub(BLOCKED));
    match timeout(soon, &mut answer).await {
        Ok(answer) => Some(answer),
        Err(_) if later.is_zero() || link.connection.status().blocked() => None,
        Err(_) => timeout(later, answer).await.ok(),
    }
}

/// Puts the events at `places` into groups that may be under way together: one for all, or, when `is_strict`, the first of
/// every conversation, then the second of every conversation, and so on.
fn waves(events: &[Arc<Event>], places: Vec<usize>, is_strict: bool) -> Vec<Vec<usize>> {
    if !is_strict {
        return vec![places];
    }
    let mut waves: Vec<Vec<usize>> = Vec::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for at in places {
        let count = counts.entry(&events[at].conversation).or_default();
        match waves.get_mut(*count) {
            Some(wave) => wave.push(at),
            None => waves.push(vec![at]),
        }
        *count += 1;
    }
    waves
}

/// The id of the message that came back with a confirm.
fn returned_id(confirmation: &Confirmation) -> Option<String> {
    let (Confirmation::Ack(message) | Confirmation::Nack(message)) = confirmation else { return None };
    Some(message.as_ref()?.properties.message_id().as_ref()?.to_string())
}

/// The limit in `message size 17000000 is larger than configured max size 16777216`, for which the server closes the channel.
fn largest_named(error: &lapin::Error) -> Option<usize> {
    let ErrorKind::ProtocolError(problem) = error.kind() else { return None };
    let (_, limit) = problem.get_message().as_str().rsplit_once("max size ")?;
    limit.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
