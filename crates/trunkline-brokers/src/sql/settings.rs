//! The section `type: sql`.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::{Section, UnknownKeys, closest};
use trunkline_core::Broker;

use super::{Location, SqlBroker};
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

/// Rasa's default.
const DEFAULT_DB: &str = "events.db";

const BUILT_IN: &str = "sqlite";

/// What SQLAlchemy, through which the original connects, knows beside SQLite.
const OTHER_DIALECTS: [&str; 7] = ["cockroachdb", "firebird", "mariadb", "mssql", "mysql", "oracle", "postgresql"];

/// Builds the broker from its section; a relative `db` starts at `directory`.
///
/// A key that is unknown is an error, as in the original. A `url` with `://` in it is the whole address; the other
/// options then have no effect, as in the original, and are answered by a warning.
pub fn sql_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    warn_of_idle_keys(section, ENDPOINT_KEYS);
    let settings = Settings {
        url: section.string("url"),
        dialect: section.string("dialect"),
        db: section.string("db"),
        port_is_given: section.integer("port", 1..=u16::MAX).is_some(),
        username_is_given: section.string("username").is_some(),
        password_is_given: section.secret("password").is_some(),
    };
    let location = match &settings.url {
        Some(url) if url.contains("://") => {
            for key in settings.given().filter(|key| *key != "url") {
                section.warning(key, format!("`{key}` has no effect beside a complete `url`"), None);
            }
            location_of_url(section, url)?
        }
        _ => settings.location(section)?,
    };
    Some(Arc::new(SqlBroker::sqlite(match location {
        Location::File(path) => Location::File(directory.join(path)),
        Location::Memory => Location::Memory,
    })))
}

/// The options as they were given. Servers have none of their own yet, so it is enough to know whether they are there.
struct Settings {
    url: Option<String>,
    dialect: Option<String>,
    db: Option<String>,
    port_is_given: bool,
    username_is_given: bool,
    password_is_given: bool,
}

impl Settings {
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("url", self.url.is_some()),
            ("dialect", self.dialect.is_some()),
            ("db", self.db.is_some()),
            ("port", self.port_is_given),
            ("username", self.username_is_given),
            ("password", self.password_is_given),
        ];
        keys.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key)
    }

    fn location(&self, section: &Section<'_>) -> Option<Location> {
        if !dialect_is_built_in(section, "dialect", self.dialect.as_deref().unwrap_or(BUILT_IN)) {
            return None;
        }
        let mut is_file = true;
        for key in self.given().filter(|key| !matches!(*key, "dialect" | "db")) {
            is_file = false;
            let message = format!("`{key}` has no meaning for SQLite, whose database is a file");
            section.error(key, message, Some("name the file with `db`, or set `dialect` to that of a server"));
        }
        let location = match self.db.as_deref().unwrap_or(DEFAULT_DB) {
            "" => {
                section.unexpected("db", "the name of a file, or `:memory:`", None);
                return None;
            }
            ":memory:" => Location::Memory,
            path => Location::File(path.into()),
        };
        is_file.then_some(location)
    }
}

/// What a complete URL names: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for memory.
fn location_of_url(section: &Section<'_>, url: &str) -> Option<Location> {
    let (dialect, rest) = url.split_once("://")?;
    if !dialect_is_built_in(section, "url", dialect) {
        return None;
    }
    match rest.strip_prefix('/') {
        Some(path) if path.contains('?') => {
            section.error("url", "options behind `?` are not supported for SQLite", Some("leave out `?` and what follows"));
            None
        }
        Some("" | ":memory:") => Some(Location::Memory),
        Some(path) => Some(Location::File(path.into())),
        None if rest.is_empty() => Some(Location::Memory),
        None => {
            let hint = "three slashes before a relative path, four for an absolute one";
            section.unexpected("url", "`sqlite:///relative.db` or `sqlite:////absolute.db`", Some(hint));
            None
        }
    }
}

/// Reports at `key` a dialect that we cannot speak. A driver, as in `mysql+pymysql`, has no meaning outside Python.
fn dialect_is_built_in(section: &Section<'_>, key: &str, written: &str) -> bool {
    let dialect = written.split('+').next().unwrap_or_default().to_ascii_lowercase();
    if dialect == BUILT_IN {
        return true;
    }
    if OTHER_DIALECTS.contains(&dialect.as_str()) {
        section.error(key, format!("dialect `{dialect}` is not built in yet; built in: {BUILT_IN}"), None);
    } else {
        let nearest = closest(&dialect, OTHER_DIALECTS.into_iter().chain([BUILT_IN]));
        let hint = nearest.map(|name| format!("did you mean `{name}`?"));
        section.error(key, format!("unknown dialect; built in: {BUILT_IN}"), hint.as_deref());
    }
    false
}
