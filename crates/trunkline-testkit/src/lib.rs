//! For tests only: the real program as a process, its files, and what can go wrong around it.
#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod contract;
mod files;
pub mod http;
mod interpreters;
mod program;
mod project;
pub mod rabbitmq;
pub mod services;

pub use files::{file_events, journal_bodies, sql_events};
pub use interpreters::python;
pub use program::{Answer, Exit, Program};
pub use project::Project;
