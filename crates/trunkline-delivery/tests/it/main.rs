//! Subscriptions over real journals, with receivers that do as they are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod breaker;
mod common;
mod dead_letters;
mod exactly_once;
mod isolation;
mod order;
mod restart;
mod shutdown;
