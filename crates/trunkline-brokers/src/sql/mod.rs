//! Broker `sql`: Rasa's table `events(id, sender_id, data)`. The dialect built in is SQLite.
//!
//! `Delivered` means that the row is committed and synced to disk.
//!
//! What makes a redelivery harmless: the cursor of the subscription stands in a table of ours in the same database,
//! `trunkline_cursors`, and moves in the transaction that inserts the rows. Either both are there or neither, so each
//! event is in the table exactly once across `kill -9` and power cuts. A replay inserts and does not move the cursor, unless
//! that stands at the very event.
//!
//! A row that the table refuses, through a constraint or trigger that somebody added, is rejected, and its batch stops
//! there: the rows before it are committed with the cursor at the refused event, those behind it are for the next batch. So
//! a crash before the event is recorded as a dead letter brings it again. A database that is locked, full or missing means "try again". A table `events` of
//! another shape, such as that of Rasa's SQL tracker store, is never written to.

mod dialect;
mod options;
mod place;
mod server;
mod settings;
mod sqlite;
mod tracker_store;
mod url;

pub use settings::sql_from_section;
pub use sqlite::{Location, SqlBroker};
pub use tracker_store::{Conversation, SqlTrackerStore, StoredEvent};
