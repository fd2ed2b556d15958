//! The exchange, the queues, and what ties them together.

use lapin::options::{ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::link::{Link, channel, exchange};
use super::server::Server;

/// What is declared on the server.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    pub(super) exchange: String,
    pub(super) kind: ExchangeKind,
    pub(super) is_durable: bool,
    pub(super) queues: Vec<String>,
    /// The `x-queue-type`, when it is given.
    pub(super) queue_type: Option<&'static str>,
    /// The key with which the queues are bound.
    pub(super) binding: String,
}

impl Topology {
    /// Creates what is missing, and readies the channel for publishing.
    pub(super) async fn declare(&self, server: &Server, link: &Link) -> Result<(), String> {
        self.declare_exchange(server, &link.channel, false).await?;
        for queue in &self.queues {
            self.declare_queue(server, &link.channel, queue, false).await?;
            self.bind(server, &link.channel, queue).await?;
        }
        let confirm = link.channel.confirm_select(ConfirmSelectOptions::default());
        exchange(server, "switch on publisher confirms", confirm).await
    }

    /// Checks that what is there already is what it should be, and creates nothing.
    pub(super) async fn check(&self, server: &Server, link: &Link) -> Result<(), String> {
        // An error closes the channel, so each question has its own.
        let asking = channel(server, &link.connection).await?;
        if self.declare_exchange(server, &asking, true).await.is_ok() {
            self.declare_exchange(server, &asking, false).await?;
        }
        for queue in &self.queues {
            let asking = channel(server, &link.connection).await?;
            if self.declare_queue(server, &asking, queue, true).await.is_ok() {
                self.declare_queue(server, &asking, queue, false).await?;
            }
        }
        Ok(())
    }

    async fn declare_exchange(&self, server: &Server, channel: &Channel, passive: bool) -> Result<(), String> {
        let options = ExchangeDeclareOptions { passive, durable: self.is_durable, ..ExchangeDeclareOptions::default() };
        let name = &self.exchange;
        let declare = channel.exchange_declare(name.as_str().into(), self.kind.clone(), options, FieldTable::default());
        exchange(server, &format!("declare the exchange `{name}`"), declare).await
    }

    async fn declare_queue(&self, server: &Server, channel: &Channel, name: &str, passive: bool) -> Result<(), String> {
        let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        if let Some(queue_type) = self.queue_type {
            arguments.insert("x-queue-type".into(), AMQPValue::LongString(queue_type.into()));
        }
        let declare = channel.queue_declare(name.into(), options, arguments);
        exchange(server, &format!("declare the queue `{name}`"), declare).await.map(drop)
    }

    async fn bind(&self, server: &Server, channel: &Channel, queue: &str) -> Result<(), String> {
        let (source, key) = (self.exchange.as_str().into(), self.binding.as_str().into());
        let bind = channel.queue_bind(queue.into(), source, key, QueueBindOptions::default(), FieldTable::default());
        exchange(server, &format!("bind the queue `{queue}` to the exchange `{}`", self.exchange), bind).await
    }
}
