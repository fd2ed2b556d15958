//! Partitions on real journals: what comes in through every door, and what is answered.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod channels;
mod common;
mod doors;
mod maybe;
mod sessions;
mod sources;
mod tracked;
mod tracker;
