//! Databases of one test each on the real servers that `scripts/services` starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, query_scalar, raw_sql};
use trunkline_brokers::sql::sql_from_section_in;
use trunkline_config::{Diagnostics, Document, Section, Severity, UnknownKeys};
use trunkline_core::{Broker, Event};
use trunkline_testkit::services;
pub(crate) use trunkline_testkit::services::{PASSWORD, USER};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    MariaDb,
}

pub(crate) const KINDS: [Kind; 2] = [Kind::Postgres, Kind::MariaDb];

impl Kind {
    pub(crate) fn dialect(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MariaDb => "mysql+pymysql",
        }
    }

    /// The name of the server in `scripts/services`.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MariaDb => "mariadb",
        }
    }

    pub(crate) fn pick<T>(self, postgres: T, mariadb: T) -> T {
        match self {
            Self::Postgres => postgres,
            Self::MariaDb => mariadb,
        }
    }
}

/// A fresh database, dropped by [`Database::drop`].
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) name: String,
}

impl Database {
    /// On the shared server.
    pub(crate) async fn create(kind: Kind) -> Self {
        Self::create_at(kind, services::port(kind.service())).await
    }

    pub(crate) async fn create_at(kind: Kind, port: u16) -> Self {
        let name = format!("trunkline_{}", uuid::Uuid::new_v4().simple());
        let database = Self { kind, port, name };
        database.administrate(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    pub(crate) async fn drop(self) {
        // PostgreSQL's `WITH (FORCE)` fails when it meets a session that is not ours, which may be its own at tidying up.
        if self.kind == Kind::Postgres {
            self.end_sessions().await;
        }
        self.administrate(&format!("DROP DATABASE {}", self.name)).await;
    }

    async fn administrate(&self, sql: &str) {
        Self { name: "trunkline".to_owned(), ..self.clone() }.execute(sql).await;
    }

    pub(crate) async fn postgres(&self) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(self.port).username(USER).password(PASSWORD);
        options
            .database(&self.name)
            .disable_statement_logging()
            .connect()
            .await
            .expect("PostgreSQL runs (scripts/services start)")
    }

    pub(crate) async fn mariadb(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new().host("127.0.0.1").port(self.port).username(USER).password(PASSWORD);
        options.database(&self.name).disable_statement_logging().connect().await.expect("MariaDB runs (scripts/services start)")
    }

    /// Runs statements separated by `;`, in a session of their own.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Postgres => raw_sql(sql).execute(&mut self.postgres().await).await.map(drop),
            Kind::MariaDb => raw_sql(sql).execute(&mut self.mariadb().await).await.map(drop),
        }
        .unwrap();
    }

    /// The first column of what a query finds.
    pub(crate) async fn strings(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Postgres => query_scalar(sql).fetch_all(&mut self.postgres().await).await,
            Kind::MariaDb => query_scalar(sql).fetch_all(&mut self.mariadb().await).await,
        }
        .unwrap()
    }

    /// Makes the server end all sessions in this database, as it does with those that have been idle for long.
    pub(crate) async fn end_sessions(&self) {
        match self.kind {
            Kind::Postgres => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()";
                self.execute(sql).await;
            }
            Kind::MariaDb => {
                let sql = "SELECT CAST(id AS CHAR) FROM information_schema.processlist
                           WHERE db = database() AND id <> connection_id()";
                for id in self.strings(sql).await {
                    self.execute(&format!("KILL {id}")).await;
                }
            }
        }
    }

    /// The bodies in the table, in the order of the ids.
    pub(crate) async fn texts(&self) -> Vec<String> {
        self.strings("SELECT data FROM events ORDER BY id").await
    }

    /// The section for this database, without a `type`.
    pub(crate) fn yaml(&self) -> String {
        let (dialect, port, name) = (self.kind.dialect(), self.port, &self.name);
        format!("dialect: {dialect}\nurl: localhost\nport: {port}\ndb: {name}\nusername: {USER}\npassword: '{PASSWORD}'")
    }

    pub(crate) fn broker(&self) -> Arc<dyn Broker> {
        broker(&self.yaml())
    }
}

pub(crate) fn bodies(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.body_str().to_owned()).collect()
}

/// Reads a section; with what was said about it, as `severity: path: message (hint)`.
pub(crate) fn read<T>(yaml: &str, read: impl FnOnce(&Section<'_>) -> Option<T>) -> (Option<T>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("section:\n  {}\n", yaml.replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let value = document.read(UnknownKeys::Warn, &diagnostics, |root| root.section("section", read)).flatten();
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    let said: Vec<String> = said.collect();
    assert!(!diagnostics.render(trunkline_config::Style::Plain).contains(PASSWORD));
    assert!(value.is_some() || said.iter().any(|said| said.starts_with("error")), "{said:?}");
    (value, said)
}

/// Builds the broker of a section with this schema in the environment.
pub(crate) fn build(yaml: &str, schema: Option<&str>) -> (Option<Arc<dyn Broker>>, Vec<String>) {
    let environment = |name: &str| schema.filter(|_| name == "POSTGRESQL_SCHEMA").map(str::to_owned);
    read(yaml, |section| sql_from_section_in(section, Path::new("/nowhere"), &environment))
}

pub(crate) fn broker(yaml: &str) -> Arc<dyn Broker> {
    let (broker, said) = build(yaml, None);
    assert_eq!(said, [""; 0], "{yaml}");
    broker.unwrap()
}

/// A server of one's own, that may be killed. Ended when it is dropped.
pub(crate) struct Private {
    pub(crate) kind: Kind,
    server: services::Private,
}

impl Private {
    /// Starts a server that shows `certificate` (`server`, `expired`, `wrong-host`).
    pub(crate) async fn start(kind: Kind, certificate: &str) -> Self {
        let variables = [("TRUNKLINE_SERVICES_CERTIFICATE", certificate)];
        Self { kind, server: services::Private::with(kind.service(), &variables).await }
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port(self.kind.service())
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.server.tls(name)
    }

    pub(crate) async fn kill(&self) {
        self.server.kill().await;
    }

    pub(crate) async fn start_again(&self) {
        self.server.start_again().await;
    }

    /// A client of the server's package as its superuser, over its socket.
    pub(crate) async fn administrate(&self, sql: &str) {
        let directory = self.server.directory().join(self.kind.service());
        let mut command = match self.kind {
            Kind::Postgres => {
                let mut command = Command::new("psql");
                command.args(["--no-psqlrc", "--quiet", "--username=postgres", "--dbname=postgres"]);
                command.args(sql.split(';').map(|sql| format!("--command={sql}")));
                command.arg(format!("--host={}", directory.join("run").display())).arg(format!("--port={}", self.port()));
                command
            }
            Kind::MariaDb => {
                let mut command = Command::new("mariadb");
                command.args(["--no-defaults", "--user=root", "--execute", sql]);
                command.arg(format!("--socket={}", directory.join("socket").display()));
                command
            }
        };
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Asks again until the answer is yes; fails after a minute.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), asking).await.unwrap_or_else(|_| panic!("{what} did not happen"));
}
