//! Where the database is: the options that brokers, sources and the tracker store share.

use std::path::Path;

use trunkline_config::{Secret, Section};

use super::Location;
use super::dialect::Dialect;
use super::options;
use super::server::Server;
use super::url::{Parts, split_host};

/// Rasa's variable for the schema in PostgreSQL.
const SCHEMA_VARIABLE: &str = "POSTGRESQL_SCHEMA";

const ESCAPE_AT: &str = "in a complete URL, write `@` in a password as `%40`";

/// Where a database is.
#[derive(Clone, Debug)]
pub(super) enum DatabasePlace {
    Sqlite(Location),
    Server(Box<Server>),
}

impl DatabasePlace {
    /// Reads `dialect`, `url`, `port`, `db`, `username`, `password` and `query`. A relative file starts at `directory`.
    pub(super) fn read(
        section: &Section<'_>,
        directory: &Path,
        default_db: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        let given = Given::read(section);
        let mut place = match given.url.as_deref().and_then(|url| url.split_once("://")) {
            Some((dialect, rest)) => {
                for key in given.keys().filter(|key| *key != "url") {
                    section.warning(key, format!("`{key}` has no effect beside a complete `url`"), None);
                }
                match Dialect::read(section, "url", dialect)? {
                    Dialect::Sqlite => Self::Sqlite(location_of_url(section, rest)?),
                    dialect => Self::Server(Box::new(server_of_url(section, dialect, rest, directory)?)),
                }
            }
            None => match Dialect::read(section, "dialect", given.dialect.as_deref().unwrap_or("sqlite")) {
                Some(Dialect::Sqlite) => Self::Sqlite(given.location(section, default_db)?),
                Some(dialect) => Self::Server(Box::new(given.server(section, dialect, directory)?)),
                None => {
                    // So that its keys are not called unknown beside the error that counts.
                    section.node("query");
                    return None;
                }
            },
        };
        match &mut place {
            Self::Sqlite(Location::File(path)) => *path = directory.join(&*path),
            Self::Sqlite(Location::Memory) => {}
            Self::Server(server) => {
                let is_postgres = server.dialect == Dialect::Postgres;
                server.schema = environment(SCHEMA_VARIABLE).filter(|schema| is_postgres && !schema.trim().is_empty());
            }
        }
        Some(place)
    }
}

/// The options as they were given.
struct Given {
    url: Option<String>,
    dialect: Option<String>,
    db: Option<String>,
    port: Option<u16>,
    username: Option<String>,
    password: Option<Secret>,
    has_query: bool,
}

impl Given {
    fn read(section: &Section<'_>) -> Self {
        Self {
            url: section.string("url"),
            dialect: section.string("dialect"),
            db: section.string("db"),
            port: section.port("port"),
            username: section.string("username"),
            password: section.secret("password"),
            has_query: section.node("query").is_some(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("url", self.url.is_some()),
            ("dialect", self.dialect.is_some()),
            ("db", self.db.is_some()),
            ("port", self.port.is_some()),
            ("username", self.username.is_some()),
            ("password", self.password.is_some()),
            ("query", self.has_query),
        ];
        keys.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key)
    }

    fn location(&self, section: &Section<'_>, default_db: &str) -> Option<Location> {
        let mut is_file = true;
        for key in self.keys().filter(|key| !matches!(*key, "dialect" | "db")) {
            is_file = false;
            let message = format!("`{key}` has no meaning for SQLite, whose database is a file");
            section.error(key, message, Some("name the file with `db`, or set `dialect` to that of a server"));
        }
        let location = match self.db.as_deref().unwrap_or(default_db) {
            "" => {
                section.unexpected("db", "the name of a file, or `:memory:`", None);
                return None;
            }
            ":memory:" => Location::Memory,
            path => Location::File(path.into()),
        };
        is_file.then_some(location)
    }

    fn server(self, section: &Section<'_>, dialect: Dialect, directory: &Path) -> Option<Server> {
        // Everything is read before the first `?`, so that all problems are found.
        let options = options::read_section(section, dialect, directory);
        let place = self.url.as_deref().map_or(Some((None, None)), split_host);
        if place.is_none() {
            section.unexpected("url", "a host, `host:port` or `[address]:port`", None);
        }
        let host = place.as_ref().and_then(|(host, _)| host.as_deref());
        let has_user = host.is_some_and(|host| host.contains('@'));
        if has_user {
            section.error("url", "the host in `url` has an `@` in it", Some("name the user with `username` and `password`"));
        }
        let port = place.as_ref().and_then(|(_, port)| port.as_deref()).map(|port| port_of_url(section, port));
        if port.is_some() && self.port.is_some() {
            section.warning("port", "`port` has no effect beside the port in `url`", None);
        }
        let database = match self.db.filter(|db| !db.is_empty()) {
            Some(database) => Some(database),
            None => section.required("db", |section, key| {
                section.unexpected(key, "the name of a database", None);
                None
            }),
        };
        if dialect == Dialect::MySql && self.username.is_none() {
            section.required_string("username");
            return None;
        }
        if has_user {
            return None;
        }
        Some(Server {
            dialect,
            host: place?.0.unwrap_or_else(|| "localhost".to_owned()),
            port: match port {
                Some(in_url) => in_url?,
                None => self.port.unwrap_or_else(|| default_port(dialect)),
            },
            database: database?,
            username: self.username,
            password: self.password,
            schema: None,
            options: options?,
        })
    }
}

/// What a complete URL of SQLite names: `sqlite:///relative.db`, `sqlite:////absolute.db`, or `sqlite://` for memory.
fn location_of_url(section: &Section<'_>, rest: &str) -> Option<Location> {
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

fn server_of_url(section: &Section<'_>, dialect: Dialect, rest: &str, directory: &Path) -> Option<Server> {
    const SHAPE: &str = "`dialect://username:password@host:port/database`";
    let Some(parts) = Parts::parse(rest) else {
        section.error("url", format!("expected {SHAPE}"), Some("close the address of version 6 with `]`"));
        return None;
    };
    let options = options::read_url(section, dialect, &parts.query, directory);
    let port = parts.port.as_deref().map_or(Some(default_port(dialect)), |port| port_of_url(section, port));
    // Not the text itself, which is likely to be part of the password.
    let has_two = [&parts.host, &parts.database].into_iter().flatten().any(|part| part.contains('@'));
    if has_two {
        section.error("url", "a second `@` stands in `url`", Some(ESCAPE_AT));
    }
    if parts.database.is_none() {
        section.error("url", "no database is named in the URL", Some("write it as in `dialect://host/database`"));
    }
    if dialect == Dialect::MySql && parts.username.is_none() {
        section.error("url", "no user is named in the URL", Some("write it as in `dialect://username:password@host/database`"));
        return None;
    }
    if has_two {
        return None;
    }
    Some(Server {
        dialect,
        host: parts.host.unwrap_or_else(|| "localhost".to_owned()),
        port: port?,
        database: parts.database?,
        username: parts.username,
        password: parts.password.map(Secret::new),
        schema: None,
        options: options?,
    })
}

fn port_of_url(section: &Section<'_>, port: &str) -> Option<u16> {
    let number = port.parse().ok().filter(|port| *port != 0);
    if number.is_none() {
        // Not the text itself, which may be part of a password with a `@` in it.
        section.error("url", "the port in `url` is no number from 1 to 65535", Some(ESCAPE_AT));
    }
    number
}

fn default_port(dialect: Dialect) -> u16 {
    if dialect == Dialect::MySql { 3306 } else { 5432 }
}
