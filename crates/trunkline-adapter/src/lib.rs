//! What the crates with adapters have in common: the tables by which files name them.
//!
//! An adapter is a broker, a source, a channel or an assistant. A [`Table`] has a row for each kind that is known, built into this
//! program or not, and whoever reads a file finds it there. Building one from its section touches nothing outside the process.

mod broker;
mod source;
mod table;

pub use broker::{BrokerSpec, BuildBroker, Concurrency};
pub use source::{BuildSource, ReadBy, SourceSpec};
pub use table::{Spec, Table, Unknown};
