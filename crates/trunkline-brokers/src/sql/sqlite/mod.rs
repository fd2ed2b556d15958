//! SQLite, through rusqlite on a blocking thread.

mod broker;
mod database;
mod history;
mod reader;
mod rows;
mod schema;

pub use broker::SqlBroker;
pub use database::Location;
pub(super) use history::History;
pub(super) use reader::open_read_only;
pub(super) use rows::SqliteRows;
