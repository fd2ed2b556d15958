//! From a section of `endpoints.yml` to a broker.

use std::path::Path;
use std::sync::Arc;

use trunkline_adapter::ReadBy;
use trunkline_brokers::{brokers, find, sources};
use trunkline_config::{Diagnostics, Document, Severity, UnknownKeys};
use trunkline_core::Broker;

use crate::common::{batch, deliver, journal, key};

/// Builds the broker of `yaml` as the binary does, in `directory`; with what was said about it, as `severity: path: message (hint)`.
pub(crate) fn build(yaml: &str, directory: &Path) -> (Option<Arc<dyn Broker>>, Vec<String>) {
    let diagnostics = Diagnostics::new();
    let text = format!("event_broker:\n  {}\n", yaml.replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let broker = document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| {
            for shared in ["name", "filter", "lanes"] {
                section.node(shared);
            }
            find(&brokers(), &section.string("type").unwrap()).unwrap().build.unwrap()(section, directory)
        })
    });
    let said = diagnostics.sorted().into_iter().map(|diagnostic| {
        let severity = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        let hint = diagnostic.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{severity}: {}: {}{hint}", diagnostic.path, diagnostic.message)
    });
    (broker.flatten(), said.collect())
}

pub(crate) fn said(yaml: &str) -> Vec<String> {
    build(yaml, Path::new("/nowhere")).1
}

#[tokio::test]
async fn defaults_are_those_of_the_original_and_lie_in_the_directory_of_the_project() {
    for (yaml, name) in [
        ("type: file", "rasa_event.log"),
        ("type: FILE\npath: other.log\nname: mine\nlanes: 1", "other.log"),
        ("type: rasa.core.brokers.file.FileEventBroker", "rasa_event.log"),
        ("type: sql", "events.db"),
        ("type: SQL\ndialect: sqlite\ndb: other.db", "other.db"),
        ("type: sql\nurl: sqlite:///relative.db", "relative.db"),
        ("type: sql\nurl: sqlite+pysqlite:///relative.db", "relative.db"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let (broker, said) = build(yaml, directory.path());
        assert_eq!(said, [""; 0], "{yaml}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "building touches nothing");
        deliver(&*broker.unwrap(), &batch(&journal(1), &key())).await;
        assert!(directory.path().join(name).is_file(), "{yaml}");
    }
}

#[tokio::test]
async fn absolute_paths_and_memory_lie_where_they_say() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let there = elsewhere.path().display();
    for yaml in [
        format!("type: file\npath: {there}/a"),
        format!("type: sql\ndb: {there}/b"),
        format!("type: sql\nurl: sqlite:///{there}/c"),
        "type: sql\ndb: ':memory:'".to_owned(),
        "type: sql\nurl: sqlite://".to_owned(),
        "type: sql\nurl: 'sqlite:///:memory:'".to_owned(),
    ] {
        let (broker, said) = build(&yaml, directory.path());
        assert_eq!(said, [""; 0], "{yaml}");
        deliver(&*broker.unwrap(), &batch(&journal(1), &key())).await;
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(["a", "b", "c"].iter().all(|name| elsewhere.path().join(name).is_file()));
}

#[test]
fn unknown_keys_are_errors_that_suggest_the_right_one() {
    assert_eq!(
        said("type: file\nlogger_file: x"),
        ["error: event_broker.logger_file: unknown key `logger_file` (did you mean `path`?)"]
    );
    assert_eq!(said("type: file\npaht: x"), ["error: event_broker.paht: unknown key `paht` (did you mean `path`?)"]);
    assert_eq!(
        said("type: sql\ndatabse: x\nlogin_db: y"),
        [
            "error: event_broker.databse: unknown key `databse` (known keys are db, dialect, filter, lanes, name, password, port, query, type, url, username)",
            "error: event_broker.login_db: unknown key `login_db` (known keys are db, dialect, filter, lanes, name, password, port, query, type, url, username)",
        ]
    );
}

#[test]
fn keys_of_an_http_endpoint_are_warned_of() {
    assert_eq!(
        said("type: file\nurl: localhost\ntoken: x"),
        [
            "warning: event_broker.url: `url` has no effect on this type of broker",
            "warning: event_broker.token: `token` has no effect on this type of broker",
        ]
    );
}

#[test]
fn dialects_that_are_not_built_in_are_answered_by_name() {
    assert_eq!(
        said("type: sql\ndialect: oracle\nurl: localhost\nport: '1521'\nusername: u\npassword: p\nquery: {a: b}"),
        ["error: event_broker.dialect: dialect `oracle` is not built in; built in: sqlite, postgresql, mysql, mariadb"]
    );
    assert_eq!(
        said("type: sql\nurl: mssql+pyodbc://u:p@host/db"),
        ["error: event_broker.url: dialect `mssql` is not built in; built in: sqlite, postgresql, mysql, mariadb"]
    );
    assert_eq!(
        said("type: sql\ndialect: postgre"),
        ["error: event_broker.dialect: unknown dialect; built in: sqlite, postgresql, mysql, mariadb (did you mean `postgres`?)"]
    );
}

#[test]
fn options_of_a_server_are_errors_beside_sqlite_and_idle_beside_a_complete_url() {
    let hint = "(name the file with `db`, or set `dialect` to that of a server)";
    assert_eq!(
        said("type: sql\nurl: localhost\nport: 5432"),
        [
            format!("error: event_broker.url: `url` has no meaning for SQLite, whose database is a file {hint}"),
            format!("error: event_broker.port: `port` has no meaning for SQLite, whose database is a file {hint}"),
        ]
    );
    assert_eq!(
        said("type: sql\nurl: sqlite:///x.db\ndb: y.db"),
        ["warning: event_broker.db: `db` has no effect beside a complete `url`"]
    );
}

#[test]
fn urls_that_name_no_file_are_errors() {
    let said = said("type: sql\nurl: sqlite://x.db");
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("error: event_broker.url: expected `sqlite:///relative.db`"), "{said:?}");
    assert_eq!(build("type: sql\nurl: sqlite:///x.db?mode=ro", Path::new("/nowhere")).1.len(), 1);
    assert_eq!(build("type: sql\ndb: ''", Path::new("/nowhere")).1.len(), 1);
    assert_eq!(build("type: file\npath: ''", Path::new("/nowhere")).1.len(), 1);
}

#[test]
fn a_password_is_never_shown() {
    let diagnostics = Diagnostics::new();
    let text = "event_broker:\n  type: sql\n  password: hunter2\n";
    let document = Document::parse("endpoints.yml", text, &|_| None, &diagnostics).unwrap();
    document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| {
            section.node("type");
            trunkline_brokers::sql_from_section(section, Path::new("/nowhere")).is_some()
        })
    });
    assert!(diagnostics.has_errors());
    assert!(!diagnostics.render(trunkline_config::Style::Plain).contains("hunter2"));
}

#[test]
fn the_examples_of_the_manual_are_accepted() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers");
    for page in ["file.md", "webhook.md"] {
        let text = std::fs::read_to_string(manual.join(page)).unwrap();
        let examples: Vec<&str> = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(examples.len() >= 2, "{page}");
        for example in examples {
            let diagnostics = Diagnostics::new();
            let document = Document::parse(page, example, &|_| None, &diagnostics).unwrap();
            let read = document.read(UnknownKeys::Warn, &diagnostics, |root| {
                let brokers = root.sections("event_broker", |section| {
                    for shared in ["name", "filter", "retry"] {
                        section.node(shared);
                    }
                    find(&brokers(), &section.string("type").unwrap()).unwrap().build.unwrap()(section, manual.as_path())
                        .is_some()
                });
                let sources = root.sections("sources", |section| {
                    sources().find(&section.string("type").unwrap()).unwrap().build.unwrap()(
                        section,
                        manual.as_path(),
                        ReadBy::Person,
                    )
                    .is_some()
                });
                [brokers, sources].concat()
            });
            assert!(diagnostics.is_empty() && read == [true], "{page}: {diagnostics:?}");
        }
    }
}
