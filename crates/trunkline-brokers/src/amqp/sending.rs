//! One batch on one connection: from events to messages, and from confirms to outcomes.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable, MAX_SHORT_STRING_LENGTH};
use lapin::{BasicProperties, Confirmation, ErrorKind, ExchangeKind};
use tokio::time::{Instant, timeout_at};
use trunkline_core::{Batch, EXPORT_HEADER, Event, Outcome};

use super::explain::{ACCESS_REFUSED, blocked, full, hint, say, unasked, unconfirmed, unroutable};
use super::link::Link;
use super::order::{Kept, Order};
use super::refusals::Refusals;
use super::settings::Settings;

/// A delivery mode.
const PERSISTENT: u8 = 2;

/// The longest that the confirms of messages may take that are under way together.
const CONFIRM: Duration = Duration::from_secs(30);

/// The same once the server has said that it takes no messages now.
const BLOCKED: Duration = Duration::from_secs(5);

/// The reason of events that were not tried because an earlier one of their conversation failed.
const BEHIND: &str = "an earlier event of the conversation was not delivered";

/// The reason of events that were not tried for lack of time.
const LATER: &str = "no time was left in this call; the rest follows in the next";

/// A batch, and the connection that it goes over.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    pub(super) settings: &'a Settings,
    pub(super) refusals: &'a Refusals,
    pub(super) link: &'a Link,
    pub(super) batch: &'a Batch,
    /// When further messages may be sent for the last time, so that their confirms come before the caller stops waiting.
    pub(super) last_start: Instant,
}

/// What ended the use of a connection.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// The limit that a message was over, in bytes.
    pub(super) largest: Option<usize>,
    /// Whether it is of no use to try at once on a new connection.
    pub(super) is_final: bool,
    /// Whether it would happen to every event.
    concerns_all: bool,
}

impl Trouble {
    fn new(reason: String) -> Self {
        Self { reason, largest: None, is_final: false, concerns_all: false }
    }
}

impl Sending<'_> {
    /// Publishes what has no outcome yet, and gives it one. What has none after trouble may or may not have arrived.
    pub(super) async fn run(&self, outcomes: &mut [Option<Outcome>]) -> Result<(), Trouble> {
        let events = &self.batch.events;
        let server = &self.settings.server;
        // The conversations in which an event failed: those behind it are left alone.
        let mut stopped = HashSet::new();
        let order = if self.refusals.has_queue_refused() { Order::Strict } else { self.settings.order };
        for (number, mut wave) in waves(events, self.admit(outcomes), order).into_iter().enumerate() {
            // The first goes in any case: to connect may have taken most of the time.
            if number > 0 && Instant::now() >= self.last_start {
                break;
            }
            wave.retain(|&at| !stopped.contains(&events[at].conversation));
            let refusals = self.refusals.count();
            let answers = self.publish_wave(&wave).await;
            let returned: HashSet<String> = answers.iter().flatten().filter_map(returned_id).collect();
            let mut trouble: Option<Trouble> = None;
            for (&at, answer) in wave.iter().zip(answers) {
                let event = &events[at];
                let failure = match answer {
                    Err(failure) => failure,
                    // The library may hand a returned message to the confirm of another.
                    Ok(_) if !returned.is_empty() && returned.contains(&event.id.to_string()) => self.unroutable(),
                    Ok(_) if stopped.contains(&event.conversation) => continue,
                    Ok(Confirmation::Ack(_)) => {
                        self.refusals.clear(refusals);
                        outcomes[at] = Some(Outcome::Delivered);
                        continue;
                    }
                    Ok(Confirmation::Nack(_)) => {
                        stopped.insert(event.conversation.clone());
                        outcomes[at] = Some(Outcome::retry(self.refused()));
                        continue;
                    }
                    Ok(Confirmation::NotRequested) => Trouble::new(unasked(server)),
                };
                stopped.insert(event.conversation.clone());
                if trouble.is_none() || failure.largest.is_some() {
                    trouble = Some(failure);
                }
            }
            if let Some(trouble) = trouble {
                // Not before: what was confirmed ahead of it says that the server takes events, as it did until then.
                if trouble.concerns_all {
                    self.refusals.note(&trouble.reason);
                } else {
                    self.refusals.clear(refusals);
                }
                return Err(trouble);
            }
        }
        for (event, outcome) in events.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_none()) {
            *outcome = Some(Outcome::retry(if stopped.contains(&event.conversation) { BEHIND } else { LATER }));
        }
        Ok(())
    }

    /// The places of the events to publish, in their order. Rejects what can never be, and holds back what is behind something
    /// that failed.
    fn admit(&self, outcomes: &mut [Option<Outcome>]) -> Vec<usize> {
        let mut stopped = HashSet::new();
        let mut admitted = Vec::with_capacity(outcomes.len());
        for (at, (event, outcome)) in self.batch.events.iter().zip(outcomes).enumerate() {
            let conversation = event.conversation.as_str();
            match outcome {
                _ if stopped.contains(conversation) => *outcome = Some(Outcome::retry(BEHIND)),
                Some(Outcome::Delivered) => {}
                Some(_) => {
                    stopped.insert(conversation);
                }
                None => {
                    if let Some(reason) = self.unsendable(event) {
                        *outcome = Some(Outcome::Reject { reason });
                        stopped.insert(conversation);
                    } else {
                        admitted.push(at);
                    }
                }
            }
        }
        admitted
    }

    fn unsendable(&self, event: &Event) -> Option<String> {
        let place = self.settings.server.place();
        let (size, key) = (event.body.len(), self.settings.routing_key.render_event(event).len());
        if let Some(largest) = self.link.largest.filter(|largest| size > *largest) {
            return Some(format!("the event has {size} bytes, and RabbitMQ at {place} takes {largest} (its `max_message_size`)"));
        }
        (key > MAX_SHORT_STRING_LENGTH)
            .then(|| format!("the event's routing key has {key} bytes, and AMQP takes {MAX_SHORT_STRING_LENGTH}"))
    }

    /// Publishes the events at `wave`, all at once and in this order, and waits for the answers.
    async fn publish_wave(&self, wave: &[usize]) -> Vec<Result<Confirmation, Trouble>> {
        let properties = self.properties();
        let mut pending: Vec<_> =
            wave.iter().map(|&at| Box::pin(self.publish_one(&self.batch.events[at], properties.clone()))).collect();
        // Being polled for the first time puts a message into the connection's queue.
        let polled: Vec<_> =
            poll_fn(|context| Poll::Ready(pending.iter_mut().map(|message| message.as_mut().poll(context)).collect())).await;
        // A tenth of the time is left to answer in.
        let (begin, patience) = (Instant::now(), CONFIRM.min(self.batch.time_left() * 9 / 10));
        let mut answers = Vec::with_capacity(wave.len());
        for (message, polled) in pending.into_iter().zip(polled) {
            let answer = match polled {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => self.wait(message, begin, patience).await,
            };
            answers.push(answer.map_or_else(|| Err(self.silent(patience)), |answer| answer.map_err(|error| self.failed(&error))));
        }
        answers
    }

    /// Waits for an answer until `patience` after `begin`; not as long when the server has said that it takes no messages now.
    async fn wait<T>(&self, mut answer: impl Future<Output = T> + Unpin, begin: Instant, patience: Duration) -> Option<T> {
        match timeout_at(begin + BLOCKED.min(patience), &mut answer).await {
            Ok(answer) => Some(answer),
            Err(_) if self.link.is_blocked() => None,
            Err(_) => timeout_at(begin + patience, answer).await.ok(),
        }
    }

    async fn publish_one(&self, event: &Event, properties: BasicProperties) -> lapin::Result<Confirmation> {
        let settings = self.settings;
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let properties = properties.with_message_id(event.id.to_string().into());
        let (exchange, key) = (settings.topology.exchange.as_str().into(), settings.routing_key.render_event(event).into());
        self.link.channel.basic_publish(exchange, key, options, &event.body, properties).await?.await
    }

    /// What all messages of a batch have in common. Of the optional properties the original sets these and no more.
    fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        if let Some(export) = &self.batch.export {
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

    fn failed(&self, error: &lapin::Error) -> Trouble {
        let place = self.settings.server.place();
        let reason = format!("RabbitMQ at {place}: publishing failed: {}{}", say(error), hint(error));
        let concerns_all = matches!(error.kind(), ErrorKind::ProtocolError(problem) if problem.get_id() == ACCESS_REFUSED);
        Trouble { largest: largest_named(error), concerns_all, ..Trouble::new(reason) }
    }

    /// Says that no queue would have got an event. With a fanout exchange none gets any; otherwise it may be the routing key.
    fn unroutable(&self) -> Trouble {
        let (server, topology) = (&self.settings.server, &self.settings.topology);
        let concerns_all = topology.kind == ExchangeKind::Fanout;
        Trouble { concerns_all, ..Trouble::new(unroutable(server, &topology.exchange)) }
    }

    /// Notes that a queue refused an event, and says so.
    fn refused(&self) -> String {
        let reason = full(&self.settings.server, &self.settings.topology.exchange);
        if self.refusals.note_queue(&reason) && self.settings.order != Order::Strict {
            tracing::warn!(
                server = self.settings.server.place(),
                "A queue refused an event; from now on an event waits for the confirm of the one before it in its conversation"
            );
        }
        reason
    }

    /// Says that the server did not answer.
    fn silent(&self, patience: Duration) -> Trouble {
        let server = &self.settings.server;
        let reason = if self.link.is_blocked() { blocked(server) } else { unconfirmed(server, patience) };
        Trouble { is_final: true, concerns_all: true, ..Trouble::new(reason) }
    }
}

/// Puts the events at `places` into groups that may be under way together: of every conversation, the first holds the first event
/// and those behind it that may go with it, the second the next of these, and so on.
fn waves(events: &[Arc<Event>], places: Vec<usize>, order: Order) -> Vec<Vec<usize>> {
    let mut waves: Vec<Vec<usize>> = Vec::new();
    // How far each conversation has come: its newest group, and where the events in that are kept.
    let mut newest: HashMap<&str, (usize, Option<Kept>)> = HashMap::new();
    for at in places {
        let event = &events[at];
        let kept = order.kept(event.body.len());
        let number = match newest.get(event.conversation.as_str()) {
            None => 0,
            Some(&(number, before)) if kept.is_some() && kept == before => number,
            Some(&(number, _)) => number + 1,
        };
        newest.insert(&event.conversation, (number, kept));
        match waves.get_mut(number) {
            Some(wave) => wave.push(at),
            None => waves.push(vec![at]),
        }
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

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

    use super::*;

    /// Which events go together, each written as its conversation and the bytes of its body.
    fn grouped(events: &[(&str, usize)], order: Order) -> String {
        let event = |(place, &(conversation, size)): (usize, &(&str, usize))| {
            let event = NewEvent::new(Kind::Event, conversation, "user", vec![b'x'; size]);
            Arc::new(event.recorded(JournalId::random(), Timestamp(1), place as u64 + 1))
        };
        let events: Vec<_> = events.iter().enumerate().map(event).collect();
        let waves = waves(&events, (0..events.len()).collect(), order);
        let wave = |wave: &Vec<usize>| wave.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        waves.iter().map(wave).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn what_may_be_kept_apart_does_not_go_together() {
        let events =
            [("a", 10), ("b", 4096), ("a", 3072), ("a", 4096), ("b", 9000), ("a", 10), ("b", 3073), ("b", 4095), ("b", 10)];
        assert_eq!(grouped(&events, Order::Free), "0 1 2 3 4 5 6 7 8");
        assert_eq!(grouped(&events, Order::Strict), "0 1 | 2 4 | 3 6 | 5 7 | 8");
        assert_eq!(grouped(&events, Order::ByPlace), "0 1 2 4 | 3 6 | 5 7 | 8");
    }
}
