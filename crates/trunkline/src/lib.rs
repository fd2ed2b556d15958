//! Trunkline, the event gateway for conversational assistants, as a library.
//!
//! A person writes to a channel, an assistant answers, every event is durable before anyone is told so, and the events arrive at
//! brokers, in order, whatever dies in between. [`Project`] reads the files of a project into a [`Plan`], [`Gateway`] runs it, and
//! [`main`] is the command line around both.

pub mod broker;
mod cli;
mod config;
mod conversation;
mod gateway;
mod server;
mod sources;

pub use cli::{main, main_with};
pub use config::{ApiPlan, BrokerPlan, JournalPlan, JwtPlan, Overrides, Plan, Project, ServerPlan, SourcePlan};
pub use gateway::{Gateway, StartError, Stopped};
use trunkline_brokers::Brokers;

/// The version of Trunkline.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Rasa whose files, wires and HTTP API are spoken here.
pub const RASA_VERSION: &str = "3.6.21";

/// Every broker that this build has. A program of one's own adds to it, and gives it to [`main_with`].
pub fn brokers() -> Brokers {
    let brokers = Brokers::default();
    #[cfg(feature = "kafka")]
    let brokers = trunkline_kafka::add_to(brokers);
    brokers
}
