//! What the journal promises: of every engine in `engines` and `model`, of SQLite's files in the rest.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;
mod engines;
mod faults;
mod layouts;
mod model;
mod retention;
mod sqlite;
