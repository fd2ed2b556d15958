//! The gateway as a library, without a command line.
//!
//! A person writes to a channel, an assistant answers, every event is durable before anyone is told so, and the events arrive at
//! brokers, in order, whatever dies in between. [`Project`] reads the files of a project into a [`Plan`], or a plan is made in
//! code; [`Gateway`] runs it. What the files can name stands in the tables of [`Adapters`], which makes brokers from their arguments
//! too. Channels, sources and assistants in code are values of their types, ours or one's own.

mod adapters;
mod config;
mod contradiction;
mod control;
mod gateway;
mod plan;
mod server;

pub use adapters::Adapters;
pub use config::{ArgumentsError, Overrides, Project, find_readable, listed, there_is_no};
pub use contradiction::Contradiction;
pub use control::Control;
pub use gateway::{Gateway, StartError, Stopped};
pub use plan::{ApiPlan, BrokerPlan, JournalPlan, JwtPlan, Plan, ServerPlan, SourcePlan};

// The types of a plan's members.
pub use trunkline_adapter::Concurrency;
pub use trunkline_assistants::AssistantPlan;
pub use trunkline_channels::{BodyLimits, Callback, Channel, Rest};
pub use trunkline_config::Secret;
pub use trunkline_core::{Assistant, Broker, Source};
pub use trunkline_delivery::{Backoff, BatchLimits, Filter, LaneMode, OnExhausted, Retry, Start, Subscription};
pub use trunkline_journal::{Options as JournalOptions, Retention};

/// The version of Trunkline.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Rasa whose files, wires and HTTP API are spoken here.
pub const RASA_VERSION: &str = "3.6.21";
