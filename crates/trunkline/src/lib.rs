//! Trunkline, the event gateway for conversational assistants: the command line, and what adapters of one's own need.
//!
//! [`main`] is the command line. A program of a few lines that calls [`main_with`] is the same with a broker, a source, a channel or an
//! assistant of its own beside ours; see the modules of these names, and `examples/`. [`gateway`] is the gateway itself, for a program
//! that puts one together in code; `trunkline-gateway` is that without the command line.

pub mod assistant;
pub mod broker;
pub mod channel;
mod cli;
pub mod source;

pub use cli::{main, main_with};
pub use trunkline_gateway as gateway;
pub use trunkline_gateway::{
    Adapters, BrokerPlan, Gateway, JournalPlan, Overrides, Plan, Project, RASA_VERSION, ServerPlan, SourcePlan, StartError,
    Stopped, VERSION,
};

/// Every kind of broker, source, channel and assistant that this build has. A program of one's own adds to it, and gives it to
/// [`main_with`].
pub fn adapters() -> Adapters {
    let adapters = Adapters::default();
    #[cfg(feature = "kafka")]
    let adapters = adapters.with_broker(trunkline_kafka::BROKER).with_source(trunkline_kafka::SOURCE);
    adapters
}
