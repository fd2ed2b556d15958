//! Dialects by the names of SQLAlchemy, through which the original connects.

use trunkline_config::{Section, closest};

/// What we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
    MySql,
}

/// Every name, the first of each being the one to show.
const BUILT_IN: [(&str, Dialect); 5] = [
    ("sqlite", Dialect::Sqlite),
    ("postgresql", Dialect::Postgres),
    ("mysql", Dialect::MySql),
    ("mariadb", Dialect::MySql),
    // SQLAlchemy's old name, and still that of every URL for other programs.
    ("postgres", Dialect::Postgres),
];

/// What is shown to a person; `postgres` goes without saying.
const NAMES: &str = "sqlite, postgresql, mysql, mariadb";

/// What SQLAlchemy knows and we do not.
const OTHERS: [&str; 12] = [
    "access",
    "bigquery",
    "clickhouse",
    "cockroachdb",
    "databricks",
    "db2",
    "firebird",
    "hana",
    "mssql",
    "oracle",
    "redshift",
    "snowflake",
];

impl Dialect {
    /// The dialect that stands at `key`, reporting one that we do not speak. A driver, as in `mysql+pymysql`, has no meaning
    /// outside Python.
    pub(super) fn read(section: &Section<'_>, key: &str, written: &str) -> Option<Self> {
        let name = written.split('+').next().unwrap_or_default().trim().to_ascii_lowercase();
        if let Some((_, dialect)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Some(*dialect);
        }
        if OTHERS.contains(&name.as_str()) {
            section.error(key, format!("dialect `{name}` is not built in; built in: {NAMES}"), None);
        } else {
            let nearest = closest(&name, BUILT_IN.iter().map(|(built_in, _)| *built_in));
            let hint = nearest.map(|name| format!("did you mean `{name}`?"));
            section.error(key, format!("unknown dialect; built in: {NAMES}"), hint.as_deref());
        }
        None
    }

    /// The name of the product, for a person.
    pub(super) fn product(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
        }
    }
}
