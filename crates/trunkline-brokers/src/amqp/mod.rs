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
//! The next event of a conversation waits for the confirm of the one before it; conversations are under way side by side, on one
//! channel. Sending all at once would not do: a classic queue keeps small messages and large ones in different files, and a server
//! that is killed may come back with a small message and without the large one that was sent before it. Nor does a queue that
//! is full and was given `overflow: reject-publish` by its owner refuse all that follows a refused message.
//!
//! A quorum queue is one log, so whatever a crash leaves of it is its beginning. There the whole batch is under way at once. With
//! `strict_order: false` the same goes for classic queues, except that an event waits for one that these keep in another file.
//! After a queue has refused an event the order is strict there too; only what was under way at that moment can be out of order.

mod address;
mod broker;
mod explain;
mod link;
mod order;
mod refusals;
mod sending;
mod server;
mod settings;
mod source;
mod tls;
mod topology;

pub use broker::AmqpBroker;
pub use server::Environment;
pub use settings::{pika_from_section, pika_source_from_section};
pub use source::AmqpSource;
