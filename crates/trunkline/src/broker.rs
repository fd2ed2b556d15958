//! What a broker of one's own needs, so that its crate depends on `trunkline` alone.
//!
//! A broker is a type that implements [`Broker`], and a row of the table that says how it is made from its section of
//! `endpoints.yml`. A program of a few lines adds the row to ours and is the whole `trunkline` command line with one broker
//! more; `examples/brokers/rust` is a complete one.
//!
//! ```no_run
//! use std::path::Path;
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use trunkline::broker::{Batch, Broker, BrokerSpec, Outcome, Section, UnknownKeys, async_trait};
//!
//! /// Says what happens, and keeps nothing.
//! struct Crier { greeting: String }
//!
//! #[async_trait]
//! impl Broker for Crier {
//!     async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
//!         for event in &batch.events {
//!             eprintln!("{} {}", self.greeting, event.body_str());
//!         }
//!         Outcome::Delivered.all(batch.events.len())
//!     }
//!
//!     async fn is_ready(&self) -> Result<(), String> {
//!         Ok(())
//!     }
//! }
//!
//! /// `{type: crier, greeting: Hear, hear!}`; what is wrong with the section goes to the section, which knows its place.
//! fn crier(section: &Section<'_>, _project: &Path) -> Option<Arc<dyn Broker>> {
//!     section.unknown_keys(UnknownKeys::Refuse);
//!     Some(Arc::new(Crier { greeting: section.required_string("greeting")? }))
//! }
//!
//! fn main() -> ExitCode {
//!     let crier = BrokerSpec::new("crier", "standard error, for those who like to watch", crier);
//!     trunkline::main_with(&trunkline::adapters().with_broker(crier))
//! }
//! ```

pub use async_trait::async_trait;
pub use trunkline_adapter::{BrokerSpec, BuildBroker, Concurrency};
pub use trunkline_config::{Secret, Section, TimeUnit, UnknownKeys};
pub use trunkline_core::{
    Batch, Broker, CursorKey, EXPORT_HEADER, Event, EventId, JournalId, Kind, Offset, Outcome, Place, Shape, Template,
    TemplateError, Timestamp,
};
