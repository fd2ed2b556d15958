//! Light broker adapters, one module each, and the table of every broker that Trunkline knows.
//!
//! An adapter translates and sends; batching, retry, order across calls and dead letters belong to the delivery that
//! calls it. The adapters know nothing of each other. Each says in its module what `Delivered` means and what makes a
//! redelivery harmless:
//!
//! | type | `Delivered` means | a redelivery is harmless because |
//! | --- | --- | --- |
//! | [`exec`] | what the child process means by it | the child may know the event by its id |
//! | [`file`](mod@file) | the lines are synced to disk | the end of the file is compared with the events before anything is written |
//! | [`pika`](mod@amqp) | the server has confirmed the message | the message carries the same id |
//! | [`redis`](mod@redis) | the server has applied the write | the cursor moves in the script that writes; on a cluster with one slot for all keys |
//! | [`sql`](mod@sql) | the rows are committed | the cursor is committed with them |
//! | [`webhook`] | the receiver answered 2xx | the event's id is the same on every attempt |
//!
//! Building one from its section of `endpoints.yml` touches nothing outside the process; the first call connects.

pub mod amqp;
mod blocking;
mod cursor;
mod endpoint;
pub mod exec;
pub mod file;
mod job;
mod paths;
pub mod redis;
pub mod sql;
mod table;
pub mod webhook;

pub use self::redis::{RedisBroker, RedisSource, redis_from_section, redis_source_from_section};
pub use amqp::{AmqpBroker, AmqpSource, pika_from_section, pika_source_from_section};
pub use exec::{ExecBroker, exec_from_section, python_from_section};
pub use file::{FileBroker, file_from_section};
pub use sql::{SqlBroker, SqlTrackerStore, sql_from_section, sql_source_from_section};
pub use table::{DEFAULT_KIND, UnknownType, brokers, default_name, find, sources};
pub use webhook::{WebhookBroker, webhook_from_section};
