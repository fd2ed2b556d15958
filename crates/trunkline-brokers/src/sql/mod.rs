//! Broker `sql`: Rasa's table `events(id, sender_id, data)` in SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! `Delivered` means that the row is committed, and on the server's disk as far as a session can demand it: SQLite syncs,
//! PostgreSQL commits with `synchronous_commit`, and in MySQL and MariaDB the server's `innodb_flush_log_at_trx_commit` decides.
//!
//! What makes a redelivery harmless: the cursor of the subscription stands in a table of ours in the same database,
//! `trunkline_cursors`, and moves in the transaction that inserts the rows. Either both are there or neither, so each
//! event is in the table exactly once across `kill -9` and power cuts on either side. The same transaction compares the cursor
//! with what was seen last: an attempt that was given up may still be under way on a server, and of the two only one finds the
//! cursor in its place. A cursor that went back means that the database has lost rows, which are then published again
//! ([`Outcome::Behind`](trunkline_core::Outcome::Behind)); one that another gateway moves stops us. A replay inserts and does not
//! move the cursor, unless that stands at the very event.
//!
//! A row that the table refuses, through a constraint or trigger that somebody added, is rejected, and its batch stops
//! there: the rows before it are committed with the cursor at the refused event, those behind it are for the next batch. So
//! a crash before the event is recorded as a dead letter brings it again. A database that is locked, full or missing means
//! "try again", and so does a table that was altered and takes no rows of ours any more. A table `events` of another shape, such
//! as that of Rasa's SQL tracker store, is never written to.
//!
//! Where what is: `settings.rs` reads the section, with `place.rs` (which database), `dialect.rs`, `url.rs` and `options.rs`;
//! `sqlite/` is an adapter of its own; `broker.rs` is the one for servers, over what `session.rs` demands of `postgres/` and
//! `mysql/`; both say by `shape.rs`, `refused.rs` and `cursors.rs` what is wrong with a table, a row or a cursor. `source.rs`
//! reads a table on and on, by `following.rs`, and `tracker_store.rs` the history of a Rasa server, both in all dialects.

mod broker;
mod connect;
mod cursors;
mod dialect;
mod following;
mod history;
mod mysql;
mod options;
mod place;
mod postgres;
mod refused;
mod server;
mod session;
mod settings;
mod shape;
mod source;
mod sqlite;
mod tracker_store;
mod url;

pub use broker::ServerBroker;
pub use settings::{sql_from_section, sql_from_section_in};
pub use source::{SqlSource, sql_source_from_section};
pub use sqlite::{Location, SqlBroker};
pub use tracker_store::{Conversation, SqlTrackerStore, StoredEvent};
