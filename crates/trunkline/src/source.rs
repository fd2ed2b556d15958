//! What a source of one's own needs, so that its crate depends on `trunkline` alone.
//!
//! A source is a type that implements [`Source`], and a row of the table that says how it is made from its section of `sources` in
//! `trunkline.yml`. What its [`Reader`] receives is appended to the journal, and then settled: nothing is lost when the process dies in
//! between, and what comes again under the same id is appended once.

pub use async_trait::async_trait;
pub use trunkline_adapter::{BuildSource, ReadBy, SourceSpec};
pub use trunkline_config::{Secret, Section, TimeUnit, UnknownKeys};
pub use trunkline_core::{Place, Reader, Received, Source};
