//! The adapter: connections, and what becomes of a batch on them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;
use trunkline_core::{Batch, Broker, Outcome};

use super::explain::blocked;
use super::link::Link;
use super::refusals::Refusals;
use super::sending::Sending;
use super::settings::Settings;

/// Publishes to an exchange. See the [module](crate::amqp) for what it promises.
#[derive(Debug)]
pub struct AmqpBroker {
    settings: Settings,
    /// The connections that are not in use: as many as there were calls at the same time. A call that is given up takes its
    /// connection with it, so that none is left half used.
    links: Mutex<Vec<Link>>,
    refusals: Refusals,
}

impl AmqpBroker {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, links: Mutex::default(), refusals: Refusals::default() }
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

    /// Publishes the events without an outcome. Answers the outcome of those that still have none.
    async fn send(&self, batch: &Batch, outcomes: &mut [Option<Outcome>]) -> Outcome {
        // Half of the time is for what is under way when the other half is over.
        let last_start = Instant::now() + batch.time_left() / 2;
        let mut kept = {
            let mut links = self.links();
            links.retain(Link::is_usable);
            links.pop()
        };
        let mut largest = None;
        loop {
            let is_fresh = kept.is_none();
            let mut link = match kept.take() {
                Some(link) if link.is_blocked() => {
                    let reason = blocked(&self.settings.server);
                    self.refusals.note(&reason);
                    self.links().push(link);
                    return Outcome::retry(reason);
                }
                Some(link) => link,
                None => match self.open().await {
                    Ok(link) => link,
                    Err(reason) => {
                        // To ask whether it is ready connects, and compares, but creates nothing.
                        self.refusals.note(&reason);
                        return Outcome::Retry { after: self.settings.server.retry_delay, reason };
                    }
                },
            };
            // A limit is good for one connection: the server may have another by the next.
            link.largest = link.largest.or(largest);
            let sending = Sending { settings: &self.settings, refusals: &self.refusals, link: &link, batch, last_start };
            let trouble = match sending.run(outcomes).await {
                Ok(()) => {
                    self.links().push(link);
                    return Outcome::Delivered;
                }
                Err(trouble) => trouble,
            };
            if link.is_blocked() {
                // It goes on with this connection when it takes messages again. Until then it would not notice that one was cut,
                // and another for each attempt is the last thing that it needs.
                self.links().push(link);
                return Outcome::retry(trouble.reason);
            }
            if trouble.largest.is_some() && trouble.largest != largest {
                largest = trouble.largest;
            } else if is_fresh || trouble.is_final {
                return Outcome::retry(trouble.reason);
            }
            // What was kept may have become useless long ago, or the exchange or a queue have been deleted.
        }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = vec![None; batch.events.len()];
        let rest = self.send(batch, &mut outcomes).await;
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| rest.clone())).collect()
    }

    /// Connects as the first batch would. What is missing on the server is not created, what is there is compared. A server or a
    /// queue that did not take the last event would not take another either.
    async fn is_ready(&self) -> Result<(), String> {
        // What others publish in the meantime says nothing about the event for the sake of which this is asked.
        let refusal = self.refusals.last();
        let link = Link::open(&self.settings.server).await?;
        let checked = self.settings.topology.check(&self.settings.server, &link).await;
        link.close().await;
        checked?;
        refusal.map_or(Ok(()), Err)
    }

    async fn close(&self) {
        let links = std::mem::take(&mut *self.links());
        join_all(links.into_iter().map(Link::close)).await;
    }
}
