//! Queues to read events from.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{SelectAll, Stream, once};
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::runtime::Handle;
use trunkline_core::{Place, Reader, Received, Source};

use super::explain::say;
use super::link::{Link, channel, exchange};
use super::server::Server;

/// The most that one call of [`Reader::receive`] gives.
const MOST: usize = 512;

/// Reads from queues that exist. See the [module](crate::amqp).
#[derive(Debug)]
pub struct AmqpSource {
    server: Server,
    queues: Vec<String>,
    prefetch: u16,
}

impl AmqpSource {
    pub(super) fn new(server: Server, queues: Vec<String>, prefetch: u16) -> Self {
        Self { server, queues, prefetch }
    }

    /// Looks for a queue.
    async fn find(&self, channel: &Channel, queue: &str) -> Result<(), String> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let there = channel.queue_declare(queue.into(), passive, FieldTable::default());
        exchange(&self.server, &format!("read from the queue `{queue}`"), there).await.map(drop)
    }
}

#[async_trait]
impl Source for AmqpSource {
    fn place(&self) -> Place {
        let word = if self.queues.len() == 1 { "queue" } else { "queues" };
        format!("{word} {} at {}", self.queues.join(", "), self.server.place()).into()
    }

    async fn open_at(&self, _position: Option<&str>) -> Result<Box<dyn Reader>, String> {
        let link = Link::open(&self.server).await?;
        let mut next = link.channel.clone();
        let mut deliveries = SelectAll::new();
        let mut queues = Vec::new();
        for (index, queue) in self.queues.iter().enumerate() {
            // A channel for each: an acknowledgement of several messages counts for all that its channel has given.
            if index > 0 {
                next = channel(&self.server, &link.connection).await?;
            }
            self.find(&next, queue).await?;
            let ahead = next.basic_qos(self.prefetch, BasicQosOptions::default());
            exchange(&self.server, "limit what is sent ahead", ahead).await?;
            let consume =
                next.basic_consume(queue.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
            let consumer = exchange(&self.server, &format!("read from the queue `{queue}`"), consume).await?;
            let given = consumer.map(move |delivery| (index, Some(delivery))).chain(once(async move { (index, None) }));
            deliveries.push(Box::pin(given) as Given);
            queues.push(Queue { name: queue.as_str().into(), _channel: next.clone(), last: None });
        }
        Ok(Box::new(AmqpReader { server: self.server.clone(), link: Some(link), deliveries, queues }))
    }

    async fn is_ready(&self) -> Result<(), String> {
        let link = Link::open(&self.server).await?;
        let finding = async {
            for queue in &self.queues {
                self.find(&link.channel, queue).await?;
            }
            Ok(())
        };
        let found = finding.await;
        link.close().await;
        found
    }
}

/// The deliveries of a queue, with its number; without one when the server has ended it.
type Given = Pin<Box<dyn Stream<Item = (usize, Option<lapin::Result<Delivery>>)> + Send>>;

struct AmqpReader {
    server: Server,
    /// There until this is dropped.
    link: Option<Link>,
    deliveries: SelectAll<Given>,
    queues: Vec<Queue>,
}

impl Drop for AmqpReader {
    /// Says goodbye, whereupon the server gives to others what was not settled, and that alone: cut short, it might not have seen
    /// the last acknowledgement.
    fn drop(&mut self) {
        if let (Some(link), Ok(runtime)) = (self.link.take(), Handle::try_current()) {
            runtime.spawn(link.close());
        }
    }
}

struct Queue {
    name: Arc<str>,
    _channel: Channel,
    /// The last message that was given to the caller and is not settled.
    last: Option<Delivery>,
}

#[async_trait]
impl Reader for AmqpReader {
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String> {
        let mut received = Vec::new();
        let mut next = self.deliveries.next().await;
        while let Some((index, delivery)) = next {
            let queue = &mut self.queues[index];
            let delivery = delivery.ok_or_else(|| "the queue was deleted, or the server has ended reading from it".to_owned());
            let delivery = delivery.and_then(|delivery| delivery.map_err(|error| say(&error)));
            let mut delivery =
                delivery.map_err(|problem| format!("queue `{}` at {}: {problem}", queue.name, self.server.place()))?;
            received.push(Received {
                body: std::mem::take(&mut delivery.data).into(),
                id: delivery.properties.message_id().as_ref().map(|id| id.as_str().into()),
                origin: format!("queue {}, delivery {}", queue.name, delivery.delivery_tag),
            });
            queue.last = Some(delivery);
            if received.len() == MOST {
                break;
            }
            next = self.deliveries.next().now_or_never().flatten();
        }
        Ok((!received.is_empty()).then_some(received))
    }

    async fn settle(&mut self) -> Result<(), String> {
        for queue in &mut self.queues {
            if let Some(last) = queue.last.take() {
                let action = format!("acknowledge what came from the queue `{}`", queue.name);
                let acknowledged = last.ack(BasicAckOptions { multiple: true });
                exchange(&self.server, &action, acknowledged).await?;
            }
        }
        Ok(())
    }
}
