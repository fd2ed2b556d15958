//! The gateway as a library, without a command line.
//!
//! A person writes to a channel, an assistant answers, every event is durable before anyone is told so, and the events arrive at
//! brokers, in order, whatever dies in between. [`Project`] reads the files of a project into a [`Plan`], or a plan is made in
//! code; [`Gateway`] runs it. What the files can name stands in the tables of [`Adapters`].

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

/// The version of Trunkline.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of Rasa whose files, wires and HTTP API are spoken here.
pub const RASA_VERSION: &str = "3.6.21";
