//! What every broker owes to the delivery that calls it, checked alike for all adapters on their real receivers.
//!
//! An adapter's tests make a [`Subject`]: a receiver of its own (a queue, a table, a file) and a way to read it without the
//! adapter. [`contract_tests!`](crate::contract_tests) makes a test of each check that needs no fault; those that do are
//! called with what brings the fault about:
//!
//! ```ignore
//! trunkline_testkit::contract_tests!(Queue::new(services::port("rabbitmq")).await);
//!
//! #[tokio::test]
//! async fn a_server_that_is_killed_under_load() {
//!     let server = Private::start("rabbitmq").await;
//!     let queue = Queue::new(server.port("rabbitmq")).await;
//!     contract::fault_under_load(&queue, async { server.kill().await; server.start_again().await }).await;
//! }
//!
//! #[tokio::test]
//! async fn a_server_that_is_down_for_a_while() {
//!     let server = Private::start("rabbitmq").await;
//!     contract::outage(&Queue::new(server.port("rabbitmq")).await, server.kill(), server.start_again()).await;
//! }
//! ```
//!
//! Time is limited everywhere, generously: what goes over the limit hangs.

mod arrived;
mod checks;
mod delivery;
mod faults;
mod journal;
#[cfg(test)]
mod tests;

pub use arrived::Arrived;
pub use checks::{
    a_batch_that_was_given_up_is_published_again, a_fresh_broker_goes_on, a_large_batch_arrives, a_replay_arrives_again,
    an_export_moves_no_cursor, awkward_conversations_and_long_texts_arrive, real_events_arrive_in_order_and_byte_for_byte,
    what_is_delivered_survives_closing,
};
pub use faults::{fault_under_load, full, outage, poison, refused};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use trunkline_core::Broker;

/// An adapter and an empty receiver that nobody else writes to. Each check wants one of its own.
#[async_trait]
pub trait Subject: Sync {
    /// A new broker on the receiver, as after a restart of our process.
    fn broker(&self) -> Arc<dyn Broker>;

    /// All that the receiver has, in its order, read without the adapter. Called once, at the end of a check.
    ///
    /// When the receiver has several parts, as partitions, they may follow one another in any order.
    async fn arrived(&self) -> Vec<Arrived>;

    /// Whether the broker stores our cursor with its data, and so nothing arrives twice.
    fn is_exactly_once(&self) -> bool;

    /// How long the broker may take for a call; less than the delivery's own minute for one that uses all it gets when nobody is
    /// there.
    fn patience(&self) -> Duration {
        delivery::CALL_LIMIT
    }
}

/// Makes a test of each check that needs no fault, of the subject that the expression gives. It may `.await`.
#[macro_export]
macro_rules! contract_tests {
    ($subject:expr) => {
        $crate::contract_tests!(
            $subject;
            real_events_arrive_in_order_and_byte_for_byte,
            a_large_batch_arrives,
            awkward_conversations_and_long_texts_arrive,
            a_fresh_broker_goes_on,
            a_replay_arrives_again,
            an_export_moves_no_cursor,
            a_batch_that_was_given_up_is_published_again,
            what_is_delivered_survives_closing
        );
    };
    ($subject:expr; $($check:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                $crate::contract::$check(&$subject).await;
            }
        )+
    };
}
