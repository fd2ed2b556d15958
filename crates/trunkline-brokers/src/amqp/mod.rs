//! Broker and source `pika`: RabbitMQ, over AMQP 0-9-1.
//!
//! What is on the wire is what Rasa's `PikaEventBroker` puts there: an exchange of type fanout, durable queues bound to it,
//! persistent messages without a content type. Added is the `message_id`, which is our event id.
//!
//! `Delivered` means that the server has confirmed the message: every queue behind the exchange has taken it, a durable queue
//! on disk (a quorum queue on the disks of a majority). A message that no queue would get comes back and is not delivered.
//!
//! A redelivery is the same message with the same `message_id`; a consumer that must have each event once remembers those.
//!
//! # Order
//!
//! The messages of a batch are all under way at once on one channel, in their order, and so are the confirms awaited. What ends
//! a channel ends it for all that follows: when the connection is cut or the server killed, what has arrived is the beginning of
//! what was sent, and nothing is out of order when the rest is sent again.
//!
//! A queue that is full and was given `overflow: reject-publish` by its owner is another matter. It refuses single messages, and
//! when a consumer makes room meanwhile, takes one that was sent behind a refused one. With `strict_order` the next event of a
//! conversation waits for the confirm of the one before it, which keeps the order there too, for the price of a round trip per
//! event within a conversation. It is switched on by itself as soon as a queue has refused an event; only what was under way at
//! that moment can be out of order, and is sent again in its order.

mod address;
mod broker;
mod explain;
mod link;
mod server;
mod settings;
mod source;
mod tls;
mod topology;

pub use broker::AmqpBroker;
pub use server::Environment;
pub use settings::{pika_from_section, pika_source_from_section};
pub use source::AmqpSource;
