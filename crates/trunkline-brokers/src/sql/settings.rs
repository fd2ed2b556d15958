//! The section `type: sql`.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::{Section, UnknownKeys};
use trunkline_core::Broker;

use super::place::DatabasePlace;
use super::{ServerBroker, SqlBroker};
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

/// Rasa's default.
const DEFAULT_DB: &str = "events.db";

/// Builds the broker from its section; a relative `db` starts at `directory`.
///
/// A key that is unknown is an error, as in the original. A `url` with `://` in it is the whole address; the other
/// options then have no effect, as in the original, and are answered by a warning.
///
/// The environment variable `POSTGRESQL_SCHEMA` names the schema in PostgreSQL.
pub fn sql_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    sql_from_section_in(section, directory, &|name| std::env::var(name).ok())
}

/// The same with another environment than that of the process.
pub fn sql_from_section_in(
    section: &Section<'_>,
    directory: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    warn_of_idle_keys(section, ENDPOINT_KEYS);
    Some(match DatabasePlace::read(section, directory, DEFAULT_DB, environment)? {
        DatabasePlace::Sqlite(location) => Arc::new(SqlBroker::sqlite(location)),
        DatabasePlace::Server(server) => Arc::new(ServerBroker::new(*server)),
    })
}
