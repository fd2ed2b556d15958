//! `export`: from the journal and from a tracker store, to brokers that count.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use trunkline_testkit::{file_events, sql_events};

use crate::common::{CONVERSATION, Ran, Served, command, project, run, run_with};

pub(crate) const SQL: &str = "event_broker: {type: sql, db: events.db}\n";
pub(crate) const FILE: &str = "event_broker: {type: file, path: events.log}\n";

/// A project with these events and this `endpoints.yml`.
pub(crate) fn project_with(events: &[&str], endpoints: &str) -> TempDir {
    let directory = project(events);
    fs::write(directory.path().join("endpoints.yml"), endpoints).unwrap();
    directory
}

/// A project with so many events in five conversations.
pub(crate) fn project_with_many(count: usize, endpoints: &str) -> (TempDir, Vec<String>) {
    let events: Vec<_> = (1..=count)
        .map(|number| {
            format!(r#"{{"sender_id": "c{}", "event": "user", "timestamp": {number}.5, "text": "n{number}"}}"#, number % 5)
        })
        .collect();
    (project_with(&events.iter().map(String::as_str).collect::<Vec<_>>(), endpoints), events)
}

pub(crate) fn export(directory: &Path, arguments: &[&str]) -> Ran {
    run(directory, &[&["export"], arguments].concat())
}

/// The result of an export that was asked for it.
#[track_caller]
pub(crate) fn result(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so() {
        assert!(Instant::now() < deadline, "not so after a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// How many rows the broker has by now.
pub(crate) fn rows(path: &Path) -> usize {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    connection.and_then(|connection| connection.query_row("SELECT count(*) FROM events", (), |row| row.get(0))).unwrap_or(0)
}

pub(crate) fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    let arguments = [&["export", "--json"], arguments].concat();
    command(directory, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn the_journal_arrives_byte_for_byte_and_is_counted() {
    let directory = project_with(&CONVERSATION, FILE);
    let ran = export(directory.path(), &[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.starts_with("exported 4 events of 2 conversations to file (export id "), "{ran:?}");
    assert!(ran.err.contains("begins; if it is interrupted, go on with: trunkline export --resume "), "{ran:?}");
    assert_eq!(file_events(&directory.path().join("events.log")), CONVERSATION);
    let report = result(&export(directory.path(), &["--json"]));
    assert_eq!((&report["events"], &report["conversations"], &report["total_events"]), (&4.into(), &2.into(), &4.into()));
    assert_eq!((&report["finished"], &report["origin"], &report["problem"]), (&true.into(), &"journal".into(), &Value::Null));
    assert_eq!(file_events(&directory.path().join("events.log")).len(), 8);
    assert_eq!(fs::read_dir(directory.path().join(".trunkline/exports")).unwrap().count(), 0);
}

#[test]
fn conversations_and_times_are_selected_as_in_the_original() {
    let directory = project_with(&CONVERSATION, FILE);
    let log = directory.path().join("events.log");
    let exported = |arguments: &[&str]| {
        let _ = fs::remove_file(&log);
        let ran = export(directory.path(), arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let events = if log.exists() { file_events(&log) } else { Vec::new() };
        assert!(ran.out.starts_with(&format!("exported {} event", events.len())), "{ran:?}");
        events
    };
    let chosen = |indexes: &[usize]| indexes.iter().map(|index| CONVERSATION[*index].to_owned()).collect::<Vec<_>>();
    assert_eq!(exported(&["--conversation-ids", "ann"]), chosen(&[0, 2, 3]));
    assert_eq!(exported(&["--conversation-ids", "bob,ann,bob"]), chosen(&[1, 0, 2, 3]));
    assert_eq!(exported(&["--minimum-timestamp", "2"]), chosen(&[1, 2, 3]));
    assert_eq!(exported(&["--maximum-timestamp", "3.0"]), chosen(&[0, 1]));
    assert_eq!(exported(&["--minimum-timestamp", "2", "--maximum-timestamp", "4"]), chosen(&[1, 2]));
    assert_eq!(exported(&["--minimum-timestamp", "100"]), chosen(&[]));
    let moved = r#"{"sender_id": "ann", "event": "user", "timestamp": -9.0, "text": "two pizzas", "x": 1.50}"#;
    for option in ["--offset-timestamps-by-seconds", "--offset-timestamps-by"] {
        // What selects is the original time.
        assert_eq!(exported(&[option, "-10", "--maximum-timestamp", "2"]), [moved]);
    }

    let ran = export(directory.path(), &["--conversation-ids", "bob, ann"]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.err.contains("there is no conversation ` ann` in the journal"), "{ran:?}");
    let failed = |arguments: &[&str]| export(directory.path(), arguments).failed();
    assert!(failed(&["--conversation-ids", "eve"]).contains("none of the conversations is in the journal"));
    let error = failed(&["--minimum-timestamp", "2", "--maximum-timestamp", "1"]);
    assert!(error.contains("the maximum timestamp 1 is before the minimum timestamp 2"), "{error}");
    assert_eq!(export(directory.path(), &["--minimum-timestamp", "soon"]).code, Some(2));
}

#[test]
fn the_broker_is_chosen_and_its_filter_holds() {
    let brokers = "event_broker:\n  - {type: file, path: events.log, filter: {types: [user]}}\n  - {type: sql, db: events.db}\n";
    let directory = project_with(&CONVERSATION, brokers);
    let failed = |arguments: &[&str]| export(directory.path(), arguments).failed();
    assert!(failed(&[]).contains("there are several brokers; choose one with --broker: file, sql"));
    assert!(failed(&["--broker", "kafka"]).contains("there is no broker `kafka`; there are: file, sql"));
    assert_eq!(result(&export(directory.path(), &["--broker", "file", "--json"]))["events"], 2);
    assert_eq!(result(&export(directory.path(), &["--broker", "sql", "--json"]))["events"], 4);
    fs::write(directory.path().join("other.yml"), FILE.replace("events.log", "missing/events.log")).unwrap();
    let error = failed(&["--endpoints", "other.yml"]);
    assert!(error.contains("the broker `file` (file) is not ready: ") && error.contains("missing"), "{error}");
    fs::write(directory.path().join("other.yml"), "").unwrap();
    assert!(failed(&["--endpoints", "other.yml"]).contains("there is no broker to publish to"));
}

#[test]
fn an_export_beside_a_running_gateway_disturbs_nothing() {
    let directory = project_with(&CONVERSATION, SQL);
    let database = directory.path().join("events.db");
    fs::write(directory.path().join("endpoints.yml"), SQL.replace('}', ", start: beginning}")).unwrap();
    let served = Served::start(directory.path());
    until("the gateway delivers", || rows(&database) == 4);
    assert_eq!(result(&export(directory.path(), &["--json"]))["events"], 4);
    drop(served);
    // The cursor stands where it stood: what is new comes next, and nothing before it again.
    let _served = Served::start(directory.path());
    assert_eq!(run_with(directory.path(), &["shell", "--conversation", "eve"], "hello\n").done(), "hello\n");
    until("the gateway goes on", || sql_events(&database).iter().any(|event| event.contains("eve")));
    let events = sql_events(&database);
    assert_eq!(events[..8], [CONVERSATION, CONVERSATION].concat());
    assert!(events[8..].iter().all(|event| event.contains("eve")), "{events:?}");
}

#[test]
fn an_export_to_a_file_leaves_the_cursor_of_the_gateway_alone() {
    let directory = project_with(&CONVERSATION, &FILE.replace('}', ", start: beginning}"));
    let log = directory.path().join("events.log");
    let served = Served::start(directory.path());
    until("the gateway delivers", || log.exists() && file_events(&log).len() == 4);
    drop(served);
    assert_eq!(result(&export(directory.path(), &["--json"]))["events"], 4);
    let _served = Served::start(directory.path());
    assert_eq!(run_with(directory.path(), &["shell", "--conversation", "eve"], "hello\n").done(), "hello\n");
    until("the gateway goes on", || file_events(&log).iter().any(|line| line.contains("eve")));
    let lines = file_events(&log);
    assert_eq!(lines[..8], [CONVERSATION, CONVERSATION].concat());
    assert!(lines[8..].iter().all(|line| line.contains("eve")), "{lines:?}");
}

#[test]
fn a_broker_that_takes_nothing_is_given_up_with_the_command_that_goes_on() {
    let (directory, events) = project_with_many(10, FILE);
    // It writes the same file, and lets nobody else.
    let served = Served::start(directory.path());
    let ran = export(directory.path(), &["--give-up-after", "1", "--json"]);
    drop(served);
    let report = result(&ran);
    let (id, problem) = (report["export_id"].as_str().unwrap(), report["problem"].as_str().unwrap());
    assert_eq!((ran.code, &report["finished"], &report["events"]), (Some(1), &false.into(), &0.into()));
    assert!(problem.starts_with("the broker `file` has confirmed nothing for 1 s; at last, event "), "{problem}");
    assert!(ran.err.contains(&format!("{problem}\ngo on with: trunkline export --resume {id}\n")), "{ran:?}");
    assert_eq!(export(directory.path(), &["--resume", id]).code, Some(0));
    assert_eq!(file_events(&directory.path().join("events.log")), events);
}

#[test]
fn what_the_broker_refuses_is_listed_and_the_rest_arrives() {
    let directory = project_with(&CONVERSATION, SQL);
    let database = directory.path().join("events.db");
    assert_eq!(export(directory.path(), &["--minimum-timestamp", "100"]).code, Some(0));
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT);
             CREATE TRIGGER no_slots BEFORE INSERT ON events WHEN NEW.data LIKE '%\"slot\"%'
             BEGIN SELECT RAISE(ABORT, 'no slots here'); END",
        )
        .unwrap();
    let ran = export(directory.path(), &["--json"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report = result(&ran);
    assert_eq!((&report["events"], &report["rejected"], &report["finished"]), (&3.into(), &1.into(), &true.into()));
    let rejected = &report["rejected_events"][0];
    assert!(rejected["reason"].as_str().unwrap().contains("no slots here") && rejected["conversation"] == "ann", "{rejected}");
    assert!(ran.err.contains("of conversation `ann` was refused: "), "{ran:?}");
    assert_eq!(sql_events(&database), [CONVERSATION[0], CONVERSATION[1], CONVERSATION[3]]);
    // That nobody reads the result makes it no success.
    let mut child = spawn(directory.path(), &[]);
    drop(child.stdout.take());
    assert_eq!(ended(child).code, Some(1));
    assert_eq!(rows(&database), 6);
}

/// Rasa's tracker store with these rows: conversation, time, event.
pub(crate) fn tracker_store(path: &Path, rows: &[(&str, f64, &str)]) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE events (id INTEGER NOT NULL PRIMARY KEY, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL,
             timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT)",
        )
        .unwrap();
    for (sender, time, data) in rows {
        let sql = "INSERT INTO events (sender_id, type_name, timestamp, data) VALUES (?1, 'x', ?2, ?3)";
        connection.execute(sql, (sender, time, data)).unwrap();
    }
}

#[test]
fn a_tracker_store_is_exported_as_the_original_does() {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = format!("{FILE}tracker_store: {{type: SQL, dialect: sqlite, db: rasa.db}}\n");
    fs::write(directory.path().join("endpoints.yml"), endpoints).unwrap();
    tracker_store(
        &directory.path().join("rasa.db"),
        &[
            ("ann", 1.5, r#"{"event": "user", "timestamp": 1.5, "text": "h\u00e9", "x": 1.50}"#),
            ("bob", 2.5, r#"{"event": "restart", "timestamp": 2.5}"#),
            ("ann", 4.5, r#"{"event": "bot", "timestamp": 4.5, "text": "b", "data": {}, "metadata": {}}"#),
            ("ann", 3.5, r#"{"event": "restart", "timestamp": 3.5}"#),
            ("bob", 5.5, "no JSON"),
        ],
    );
    let ann = [
        r#"{"event": "user", "timestamp": 1.5, "text": "h\u00e9", "x": 1.50, "sender_id": "ann"}"#,
        r#"{"event": "restart", "timestamp": 3.5, "sender_id": "ann"}"#,
        r#"{"event": "bot", "timestamp": 4.5, "text": "b", "data": {}, "metadata": {}, "sender_id": "ann"}"#,
    ];
    let bob = r#"{"event": "restart", "timestamp": 2.5, "sender_id": "bob"}"#;
    let log = directory.path().join("events.log");
    let exported = |code: i32, arguments: &[&str]| {
        let _ = fs::remove_file(&log);
        let ran = export(directory.path(), arguments);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        (file_events(&log), ran.err)
    };
    let (events, errors) = exported(1, &[]);
    assert_eq!(events, [ann[0], ann[1], ann[2], bob]);
    assert!(errors.contains("row 5 of conversation `bob` is left out: no JSON"), "{errors}");
    assert_eq!(exported(0, &["--tracker-store", "--conversation-ids", "ann"]).0, ann);
    assert_eq!(
        exported(1, &["--minimum-timestamp", "2.5", "--maximum-timestamp", "4.5", "--conversation-ids", "bob,ann"]).0,
        [bob, ann[1]]
    );
    let error = export(directory.path(), &["--conversation-ids", "eve"]).failed();
    assert!(error.contains("none of the conversations is in the tracker store"), "{error}");
}

#[test]
fn what_an_export_needs_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let failed = |endpoints: &str, arguments: &[&str]| {
        fs::write(directory.path().join("endpoints.yml"), endpoints).unwrap();
        export(directory.path(), arguments).failed()
    };
    let error = failed(FILE, &[]);
    assert!(error.contains("there is no journal in ./.trunkline, and no tracker store"), "{error}");
    assert!(error.contains("tracker_store: required key is missing"), "{error}");
    let error = failed(&format!("{FILE}tracker_store: {{type: mongod}}\n"), &["--tracker-store"]);
    assert!(error.contains("a tracker store of type `mongod` cannot be read; `SQL` can"), "{error}");
    let error = failed(&format!("{FILE}tracker_store: {{type: SQL, db: none.db}}\n"), &[]);
    assert!(error.contains("none.db"), "{error}");
    let error = failed(FILE, &["--resume", &"0".repeat(32)]);
    assert!(error.contains("there is no unfinished export"), "{error}");
    assert_eq!(export(directory.path(), &["--resume", "../x"]).code, Some(2));
    assert_eq!(export(directory.path(), &["--resume", &"0".repeat(32), "--broker", "file"]).code, Some(2));
}

#[test]
fn check_connects_only_when_it_is_asked_to() {
    let directory = tempfile::tempdir().unwrap();
    let brokers = "event_broker:\n  - {type: file, path: events.log}\n  - {name: far, type: file, path: missing/events.log}\n";
    fs::write(directory.path().join("endpoints.yml"), brokers).unwrap();
    assert!(run(directory.path(), &["check"]).done().ends_with("0 errors, 0 warnings\n"));
    let ran = run(directory.path(), &["check", "--connect"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("broker     file (file): ok\n") && ran.out.contains("broker     far (file): "), "{ran:?}");
    let ran = run(directory.path(), &["check", "--connect", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(found["problems"], json!([]));
    assert_eq!(found["connections"][0], json!({"role": "broker", "name": "file", "type": "file", "ok": true, "reason": null}));
    assert_eq!(found["connections"][1]["ok"], false);
    assert!(!directory.path().join("events.log").exists());
    fs::create_dir(directory.path().join("missing")).unwrap();
    assert_eq!(run(directory.path(), &["check", "--connect"]).code, Some(0));
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: file, paht: x}\n").unwrap();
    let ran = run(directory.path(), &["check", "--connect", "--json"]);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((found["problems"].as_array().unwrap().len(), &found["connections"]), (1, &json!([])));
    let nowhere = "trunkline: nothing was connected to, because the files have errors\n";
    assert_eq!((ran.code, ran.err.as_str()), (Some(1), nowhere));
    assert!(run(directory.path(), &["check", "--connect"]).err.ends_with(nowhere));
}
