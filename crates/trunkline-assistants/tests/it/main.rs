//! The assistants against real servers on loopback.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bounds;
mod common;
mod failures;
mod http;
mod rasa;
mod settings;
mod tracker;
