//! A process that publishes, and `kill -9`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rusqlite::Connection;
use trunkline_brokers::file::{Options, Rotation};
use trunkline_brokers::sql::Location;
use trunkline_brokers::{FileBroker, SqlBroker};
use trunkline_core::{Broker, CursorKey, Event, JournalId};

use crate::common::{batch, deliver, everything, journal, lines, rest, rotated, runtime};

/// Says to [`publishes_until_killed`] where to write, and so that it is the child.
const CHILD: &str = "TRUNKLINE_TEST_KILLED_PATH";

fn fixed_key() -> CursorKey {
    let journal = JournalId::parse("0123456789abcdef0123456789abcdef").unwrap();
    CursorKey { journal, subscription: "brokers/0".into() }
}

fn whole_journal() -> Vec<Arc<Event>> {
    journal(3000)
}

fn broker(path: &Path) -> Box<dyn Broker> {
    if path.extension().is_some_and(|extension| extension == "db") {
        Box::new(SqlBroker::sqlite(Location::File(path.to_owned())))
    } else if path.extension().is_some_and(|extension| extension == "rotated") {
        let rotate = Some(Rotation { size: Some(3000), compress: true, ..Rotation::default() });
        Box::new(FileBroker::with_options(path, Options { rotate, ..Options::default() }))
    } else {
        Box::new(FileBroker::new(path))
    }
}

/// Kills a publishing process after `batches` batches, again and again, and then publishes the rest.
fn publish_with_kills(path: &Path) {
    for batches in [1, 2, 5, 8, 13, 21, 3, 1] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kills::publishes_until_killed", "--nocapture"])
            .env(CHILD, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It may be a little ahead of what is seen here, and not at the end before it is killed.
        let stdin = child.stdin.as_mut().unwrap();
        stdin.write_all("go on\n".repeat(batches + 10).as_bytes()).unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(said.filter(|line| line == "delivered").take(batches).count(), batches);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    runtime().block_on(async {
        let (broker, journal) = (broker(path), whole_journal());
        let rest = rest(&*broker, &journal, &fixed_key()).await;
        assert!((1..journal.len()).contains(&rest.len()), "some is done and some is left");
        deliver(&*broker, &batch(rest, &fixed_key())).await;
        broker.close().await;
    });
}

/// The child; alone it has nothing to do.
#[test]
fn publishes_until_killed() {
    let Some(path) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    runtime().block_on(async {
        let (broker, journal) = (broker(&path), whole_journal());
        for events in rest(&*broker, &journal, &fixed_key()).await.chunks(7) {
            std::io::stdin().read_line(&mut String::new()).unwrap();
            deliver(&*broker, &batch(events, &fixed_key())).await;
            writeln!(std::io::stdout(), "delivered").unwrap();
        }
    });
}

#[test]
fn each_line_is_there_once_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rasa_event.log");
    publish_with_kills(&path);
    assert_eq!(fs::read(&path).unwrap(), lines(&whole_journal()));
}

#[test]
fn each_line_is_in_one_of_the_rotated_files_once_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.rotated");
    publish_with_kills(&path);
    assert!(rotated(&path).len() > 10);
    assert_eq!(everything(&path), lines(&whole_journal()));
}

#[test]
fn each_row_is_there_once_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    publish_with_kills(&path);
    let connection = Connection::open(&path).unwrap();
    let mut statement = connection.prepare("SELECT data FROM events ORDER BY id").unwrap();
    let rows: Vec<String> = statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(rows.iter().map(String::as_str).eq(whole_journal().iter().map(|event| event.body_str())));
}
