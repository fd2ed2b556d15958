//! `export`, interrupted by whatever there is, and resumed.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStderr, Command};
use std::time::Duration;

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use trunkline_testkit::{python, sql_events};

use crate::common::{Ran, project};
use crate::export::{SQL, ended, export, project_with_many, result, rows, spawn, tracker_store, until};

/// The id of the only export that is not finished.
fn unfinished(directory: &Path) -> String {
    let files = fs::read_dir(directory.join(".trunkline/exports")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    // One that was just being written may lie beside it.
    let ids: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    ids[0].clone()
}

/// What the first signal is answered with.
const ENDING: &str = "trunkline: ending after the batch under way; again to end now\n";

fn interrupt(child: &Child) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
}

/// Reads until a line is `expected`.
fn read_until(errors: &mut BufReader<ChildStderr>, expected: &str) {
    let mut lines = String::new();
    while !lines.ends_with(expected) {
        assert_ne!(errors.read_line(&mut lines).unwrap(), 0, "{lines}");
    }
}

/// Nothing is written to the database as long as this is kept.
fn locked(database: &Path) -> Connection {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_mins(1)).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}

#[test]
fn an_export_that_was_killed_goes_on_without_repeating_what_was_confirmed() {
    let (directory, events) = project_with_many(1_000, &SQL.replace('}', ", batch: {events: 2}}"));
    let database = directory.path().join("events.db");
    let mut child = spawn(directory.path(), &["--minimum-timestamp", "50"]);
    until("something arrives", || rows(&database) >= 60);
    let lock = locked(&database);
    let before = rows(&database);
    assert!((60..951).contains(&before), "{before} rows before the kill");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(lock);
    let id = unfinished(directory.path());
    let report = result(&export(directory.path(), &["--json", "--resume", &id]));
    let arrived = sql_events(&database);
    let repeated = arrived.len() - 951;
    assert!(repeated <= 2, "{repeated} events were repeated");
    assert_eq!((&report["export_id"], &report["total_events"]), (&id.clone().into(), &951.into()));
    assert_eq!(report["events"], arrived.len() - before);
    let mut unique = Vec::new();
    for event in arrived {
        if !unique.contains(&event) {
            unique.push(event);
        }
    }
    assert_eq!(unique, events[49..]);
    let error = export(directory.path(), &["--resume", &id]).failed();
    assert!(error.contains(&format!("there is no unfinished export {id}")) && error.contains("there are: none"), "{error}");
}

#[test]
fn an_export_that_was_interrupted_ends_in_order_and_repeats_nothing() {
    let (directory, events) = project_with_many(1_000, &SQL.replace('}', ", batch: {events: 2}}"));
    let database = directory.path().join("events.db");
    let mut child = spawn(directory.path(), &[]);
    until("something arrives", || rows(&database) >= 60);
    let lock = locked(&database);
    interrupt(&child);
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    read_until(&mut errors, ENDING);
    drop(lock);
    let mut ran = ended(child);
    errors.read_to_string(&mut ran.err).unwrap();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let report = result(&ran);
    assert_eq!((&report["finished"], &report["events"]), (&false.into(), &rows(&database).into()));
    let id = report["export_id"].as_str().unwrap();
    assert!(ran.err.contains(&format!("it was interrupted; go on with: trunkline export --resume {id}")), "{ran:?}");
    let ran = export(directory.path(), &["--resume", id]);
    assert!(ran.out.ends_with("; 1000 in all runs of it)\n"), "{ran:?}");
    assert_eq!(sql_events(&database), events);
}

/// A broker that puts the text of every event into the file `asked`, and of what it takes into `arrived`. It does not take those for
/// which there is a file `hold TEXT` now, and does not answer before somebody writes to the pipe `hang TEXT`.
const BROKER: &str = r#"
import json, os, sys

def say(message):
    print(json.dumps(message), flush=True)

def add(file, text):
    with open(file, "a") as lines:
        lines.write(f"{text}\n")

for line in sys.stdin:
    message = json.loads(line)
    if message["type"] == "hello":
        say({"type": "hello", "version": 1})
    elif message["type"] == "ready":
        say({"type": "ready", "ready": True})
    elif message["type"] == "publish":
        text = message["event"]["text"]
        add("asked", text)
        if os.path.exists(f"hang {text}"):
            open(f"hang {text}").read()
        if os.path.exists(f"hold {text}"):
            say({"type": "outcome", "id": message["id"], "outcome": "retry", "reason": "it is held"})
        else:
            add("arrived", text)
            say({"type": "outcome", "id": message["id"], "outcome": "delivered"})
"#;

/// A project that publishes to [`BROKER`], so many events at once.
struct Held(TempDir);

impl Held {
    /// With a journal of these events, each `conversation:text`.
    fn with_journal(events: &[&str], batch: usize, retry: &str) -> Self {
        let events = events.iter().map(|event| {
            let (conversation, text) = event.split_once(':').unwrap();
            format!(r#"{{"sender_id": "{conversation}", "event": "user", "timestamp": 1.5, "text": "{text}"}}"#)
        });
        let held = Self(project(&events.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>()));
        held.write_endpoints(batch, retry, "");
        held
    }

    /// With a tracker store of these events.
    fn with_tracker_store(rows: &[(&str, f64, &str)]) -> Self {
        let held = Self(tempfile::tempdir().unwrap());
        tracker_store(&held.path().join("rasa.db"), rows);
        held.write_endpoints(1, "", "tracker_store: {type: SQL, db: rasa.db}\n");
        held
    }

    fn write_endpoints(&self, batch: usize, retry: &str, rest: &str) {
        fs::write(self.path().join("broker.py"), BROKER).unwrap();
        let endpoints = format!(
            "event_broker:\n  type: exec\n  command: [\"{}\", broker.py]\n  batch: {{events: {batch}}}\n  \
             retry: {{initial: 10 ms{retry}}}\n{rest}",
            python().display()
        );
        fs::write(self.path().join("endpoints.yml"), endpoints).unwrap();
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn hold(&self, text: &str) {
        fs::write(self.path().join(format!("hold {text}")), "").unwrap();
    }

    fn let_go(&self, text: &str) {
        fs::remove_file(self.path().join(format!("hold {text}"))).unwrap();
    }

    fn lines(&self, file: &str) -> Vec<String> {
        fs::read_to_string(self.path().join(file)).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Waits until the broker was asked to take it.
    fn until_asked(&self, text: &str) {
        until(&format!("it is asked to take {text}"), || self.lines("asked").iter().any(|line| line == text));
    }

    /// Interrupts an export when it has come to an event that is held, and gives its id.
    fn export_up_to(&self, text: &str, arguments: &[&str]) -> String {
        self.hold(text);
        let child = spawn(self.path(), arguments);
        self.until_asked(text);
        interrupt(&child);
        let ran = ended(child);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        result(&ran)["export_id"].as_str().unwrap().to_owned()
    }

    fn resume(&self, id: &str) -> Ran {
        export(self.path(), &["--json", "--resume", id])
    }
}

#[test]
fn a_conversation_that_retention_removed_meanwhile_ends_nothing() {
    let held = Held::with_journal(&["ann:a1", "ann:a2", "bob:b1", "bob:b2", "eve:e1"], 1, "");
    let id = held.export_up_to("b2", &["--conversation-ids", "ann,bob,eve"]);
    let database = |name: &str| Connection::open(held.path().join(".trunkline").join(name)).unwrap();
    database("journal.db").execute("DELETE FROM events WHERE conversation = 'bob'", ()).unwrap();
    database("index.db").execute("DELETE FROM names WHERE name = 'bob'", ()).unwrap();
    let ran = held.resume(&id);
    assert_eq!((ran.code, &result(&ran)["total_events"]), (Some(0), &4.into()), "{ran:?}");
    assert_eq!(held.lines("arrived"), ["a1", "a2", "b1", "e1"]);
}

#[test]
fn an_export_of_a_tracker_store_goes_on_where_it_was() {
    let user = |text: &str| format!(r#"{{"event": "user", "timestamp": 1.5, "text": "{text}"}}"#);
    let texts = ["a1", "b1", "b2", "e1"].map(user);
    let rows = [
        ("ann", 1.0, &*texts[0]),
        ("ann", 2.0, "no JSON"),
        ("bob", 3.0, &*texts[1]),
        ("bob", 4.0, &*texts[2]),
        ("eve", 5.0, &*texts[3]),
    ];
    let held = Held::with_tracker_store(&rows);
    let id = held.export_up_to("b2", &[]);
    let store = Connection::open(held.path().join("rasa.db")).unwrap();
    store.execute("DELETE FROM events WHERE sender_id = 'bob'", ()).unwrap();
    // What has come meanwhile is not part of it.
    store.execute("INSERT INTO events SELECT 9, 'zoe', type_name, 6.0, NULL, NULL, data FROM events WHERE id = 1", ()).unwrap();

    let endpoints = held.path().join("endpoints.yml");
    let text = fs::read_to_string(&endpoints).unwrap();
    fs::write(&endpoints, text.replace("rasa.db", "other.db")).unwrap();
    let error = held.resume(&id).failed();
    assert!(error.contains("the export began with the SQLite database `") && error.contains("other.db`"), "{error}");
    fs::write(&endpoints, text).unwrap();

    // From another directory it is the same database.
    let elsewhere = tempfile::tempdir().unwrap();
    let ran = export(elsewhere.path(), &["--json", "--project", held.path().to_str().unwrap(), "--resume", &id]);
    let report = result(&ran);
    // What could not be read in the first run is not forgotten in the second, nor counted twice.
    assert_eq!((ran.code, &report["unreadable"], &report["total_events"]), (Some(1), &1.into(), &3.into()), "{ran:?}");
    assert_eq!(held.lines("arrived"), ["a1", "b1", "e1"]);
}

#[test]
fn what_was_confirmed_alone_does_not_come_again() {
    let held = Held::with_journal(&["ann:n1", "ann:n2", "ann:n3"], 512, "");
    held.hold("n1");
    held.hold("n2");
    let child = spawn(held.path(), &[]);
    held.until_asked("n1");
    held.let_go("n1");
    held.until_asked("n2");
    interrupt(&child);
    let ran = ended(child);
    assert_eq!((ran.code, &result(&ran)["events"]), (Some(3), &1.into()), "{ran:?}");
    held.let_go("n2");
    let ran = held.resume(result(&ran)["export_id"].as_str().unwrap());
    assert_eq!((ran.code, &result(&ran)["events"]), (Some(0), &2.into()), "{ran:?}");
    assert_eq!(held.lines("arrived"), ["n1", "n2", "n3"]);
}

#[test]
fn an_event_that_is_never_taken_is_refused_after_its_attempts() {
    let held = Held::with_journal(&["ann:n1", "a\\u001b[2Jn:n2", "ann:n3"], 512, ", attempts: 3");
    held.hold("n2");
    let ran = export(held.path(), &["--json"]);
    let report = result(&ran);
    assert_eq!((ran.code, &report["events"], &report["rejected"]), (Some(1), &2.into(), &1.into()), "{ran:?}");
    assert_eq!(report["rejected_events"][0]["conversation"], "a\u{1b}[2Jn");
    assert_eq!(held.lines("arrived"), ["n1", "n3"]);
    assert!(held.lines("asked").iter().filter(|text| *text == "n2").count() >= 3);
    // What others wrote does not act upon the terminal.
    assert!(ran.err.contains("conversation `a\\u{1b}[2Jn` was refused: it is held"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn the_first_signal_waits_for_the_batch_under_way_and_the_second_does_not() {
    for signals in [1, 2] {
        let held = Held::with_journal(&["ann:n1", "ann:n2"], 1, "");
        let pipe = held.path().join("hang n1");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let mut child = spawn(held.path(), &[]);
        held.until_asked("n1");
        interrupt(&child);
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        read_until(&mut errors, ENDING);
        if signals == 1 {
            fs::write(&pipe, "").unwrap();
        } else {
            interrupt(&child);
        }
        let ran = ended(child);
        let report: Value = result(&ran);
        assert_eq!((ran.code, &report["events"]), (Some(3), &(2 - signals).into()), "{ran:?}");
    }
}
