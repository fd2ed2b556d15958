//! The HTTP face of the real program, over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod assistants;
mod auth;
mod bad_input;
mod callback;
mod channels;
mod connections;
mod idempotency;
mod layout_2;
mod probes;
mod rest;
mod sessions;
mod support;
mod tracker_mode;
