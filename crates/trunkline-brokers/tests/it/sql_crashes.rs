//! Rows and cursor agree, whenever the process or the machine stops.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::Connection;
use trunkline_brokers::SqlBroker;
use trunkline_brokers::sql::Location;
use trunkline_core::{Broker as _, Outcome};

use crate::common::{batch, journal, key, rest, runtime};

fn broker(path: &Path) -> SqlBroker {
    SqlBroker::sqlite(Location::File(path.to_owned()))
}

fn texts(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let exists: bool =
        connection.query_row("SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'events'", (), |row| row.get(0)).unwrap();
    if !exists {
        return Vec::new();
    }
    let mut statement = connection.prepare("SELECT data FROM events ORDER BY id").unwrap();
    let rows = statement.query_map((), |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Copies the database as it is on the disk now, the write-ahead log cut to `part` 256ths of its length.
fn copy(from: &Path, to: &Path, part: u64) {
    for name in ["events.db", "events.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
    if let Ok(wal) = fs::OpenOptions::new().write(true).open(to.join("events.db-wal")) {
        wal.set_len(wal.metadata().unwrap().len() * part / 256).unwrap();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Publish(usize),
    /// Dropped after the answer, before an event that was rejected is recorded as a dead letter.
    PublishAndCrash(usize),
    /// Dropped without being closed.
    Restart,
    /// Go on with what is on the disk, the write-ahead log cut.
    PowerCut(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..5_usize).prop_map(Step::Publish),
        1 => (1..5_usize).prop_map(Step::PublishAndCrash),
        1 => Just(Step::Restart),
        2 => (0..=256_u64).prop_map(Step::PowerCut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn each_event_is_in_the_table_or_a_dead_letter_once_and_the_cursor_agrees(
        steps in prop::collection::vec(any_step(), 1..20),
        rollback: bool,
        choosy: bool,
    ) {
        let (key, journal) = (key(), journal(100));
        let is_refused = |event: &trunkline_core::Event| choosy && event.conversation == "user0";
        let mut letters = BTreeSet::new();
        let mut directory = tempfile::tempdir().unwrap();
        let path = |directory: &tempfile::TempDir| directory.path().join("events.db");
        if rollback {
            // A database that exists keeps its rollback journal.
            Connection::open(path(&directory)).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        }
        runtime().block_on(async {
            let mut current = broker(&path(&directory));
            if choosy {
                assert_eq!(current.position(&key).await, Ok(None), "that creates the table");
                Connection::open(path(&directory)).unwrap().execute_batch(
                    "CREATE TRIGGER choosy BEFORE INSERT ON events WHEN new.sender_id = 'user0'
                     BEGIN SELECT RAISE(ABORT, 'no'); END; PRAGMA wal_checkpoint(TRUNCATE)",
                ).unwrap();
            }
            for step in steps {
                match step {
                    Step::Publish(count) | Step::PublishAndCrash(count) => {
                        let rest = rest(&current, &journal, &key).await;
                        let rest = rest.iter().filter(|event| !letters.contains(&event.offset));
                        let events: Vec<_> = rest.take(count).cloned().collect();
                        let outcomes = current.publish(&batch(&events, &key)).await;
                        let stop = events.iter().position(|event| is_refused(event));
                        for (index, outcome) in outcomes.iter().enumerate() {
                            match (outcome, stop) {
                                (Outcome::Reject { .. }, Some(stop)) => assert_eq!(index, stop),
                                (Outcome::Retry { .. }, Some(stop)) => assert!(index > stop),
                                (outcome, _) => assert_eq!(*outcome, Outcome::Delivered),
                            }
                        }
                        if let Step::PublishAndCrash(_) = step {
                            drop(current);
                            current = broker(&path(&directory));
                        } else if let Some(stop) = stop {
                            letters.insert(events[stop].offset);
                        }
                    }
                    Step::Restart => {
                        drop(current);
                        current = broker(&path(&directory));
                    }
                    Step::PowerCut(part) => {
                        let survivor = tempfile::tempdir().unwrap();
                        copy(directory.path(), survivor.path(), part);
                        current = broker(&path(&survivor));
                        directory = survivor;
                    }
                }
                let done = journal.len() - rest(&current, &journal, &key).await.len();
                let (refused, taken): (Vec<_>, Vec<_>) = journal[..done].iter().partition(|event| is_refused(event));
                let expected: Vec<_> = taken.iter().map(|event| event.body_str().to_owned()).collect();
                assert_eq!(texts(&path(&directory)), expected);
                assert!(refused.iter().all(|event| letters.contains(&event.offset)), "an event was lost");
            }
        });
    }
}
