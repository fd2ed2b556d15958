//! The commands, as people and scripts run them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod consume;
mod dead_letters;
mod export;
mod project;
mod reading;
mod resume;
