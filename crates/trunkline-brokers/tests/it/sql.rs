//! The SQL broker: what stands in the table, and what happens when the table or the database is in the way.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use trunkline_brokers::SqlBroker;
use trunkline_brokers::sql::Location;
use trunkline_core::{Broker, Event, Outcome};

use crate::common::{batch, deliver, event, journal, key, reason, replay, rest};

fn broker(path: &Path) -> SqlBroker {
    SqlBroker::sqlite(Location::File(path.to_owned()))
}

fn rows(path: &Path) -> Vec<(i64, String, String)> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT id, sender_id, data FROM events ORDER BY id").unwrap();
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

fn texts(path: &Path) -> Vec<String> {
    rows(path).into_iter().map(|(_, _, data)| data).collect()
}

fn bodies(events: &[Arc<Event>]) -> Vec<String> {
    events.iter().map(|event| event.body_str().to_owned()).collect()
}

fn execute(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

fn pragma(path: &Path, name: &str) -> String {
    Connection::open(path).unwrap().pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn rows_have_the_columns_of_the_original_and_stand_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(7));
    for events in journal.chunks(3) {
        deliver(&broker, &batch(events, &key)).await;
    }
    broker.close().await;
    let expected: Vec<_> =
        (1..).zip(&journal).map(|(id, event)| (id, event.conversation.to_string(), event.body_str().to_owned())).collect();
    assert_eq!(rows(&path), expected);
    assert_eq!(pragma(&path, "journal_mode"), "wal");
}

#[tokio::test]
async fn a_database_of_the_original_is_used_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    // As SQLAlchemy creates it.
    execute(
        &path,
        "CREATE TABLE events (\n\tid INTEGER NOT NULL, \n\tsender_id VARCHAR(255), \n\tdata TEXT, \n\tPRIMARY KEY (id)\n);
         INSERT INTO events (sender_id, data) VALUES ('old', '{}');",
    );
    let (broker, key, journal) = (broker(&path), key(), journal(2));
    assert_eq!(broker.is_ready().await, Ok(()));
    deliver(&broker, &batch(&journal, &key)).await;
    broker.close().await;
    assert_eq!(texts(&path), [&["{}".to_owned()], bodies(&journal).as_slice()].concat());
    assert_eq!(pragma(&path, "journal_mode"), "delete");
}

#[tokio::test]
async fn columns_that_can_be_left_out_are_welcome() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    execute(
        &path,
        "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT, note TEXT,
         seen TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
    );
    let journal = journal(2);
    deliver(&broker(&path), &batch(&journal, &key())).await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn the_table_of_rasas_tracker_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rasa.db");
    execute(
        &path,
        "CREATE TABLE events (id INTEGER NOT NULL PRIMARY KEY, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL,
         timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT)",
    );
    let (broker, key) = (broker(&path), key());
    let outcomes = broker.publish(&batch(&journal(2), &key)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })));
    assert_eq!(
        reason(&outcomes[0]),
        format!(
            "the database `{}` cannot be used: the table found is events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255) NOT NULL, \
             type_name VARCHAR(255) NOT NULL, timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT), \
             expected is events (id INTEGER PRIMARY KEY, sender_id VARCHAR(255), data TEXT); Rasa's SQL tracker store has a table \
             of the same name, so give the event broker a database of its own",
            path.display()
        )
    );
    assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcomes[0]));
    let connection = Connection::open(&path).unwrap();
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).unwrap();
    assert_eq!(tables, 1);
}

#[tokio::test]
async fn what_our_rows_do_not_fit_into_is_refused() {
    for (sql, expected) in [
        ("CREATE VIEW events AS SELECT 1 AS id, 'u' AS sender_id, '{}' AS data", "`events` is a view"),
        ("CREATE TABLE events (id TEXT PRIMARY KEY, sender_id TEXT, data TEXT)", "id TEXT PRIMARY KEY"),
        ("CREATE TABLE events (id INTEGER PRIMARY KEY, data TEXT)", "(id INTEGER PRIMARY KEY, data TEXT), expected"),
        (
            "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT) WITHOUT ROWID",
            "`events` is a table WITHOUT ROWID, where a table events (id INTEGER PRIMARY KEY",
        ),
        (
            "CREATE TABLE events (id INTEGER, sender_id TEXT, data TEXT, PRIMARY KEY (id, sender_id))",
            "(id INTEGER PRIMARY KEY, sender_id TEXT PRIMARY KEY, data TEXT), expected",
        ),
        ("CREATE TABLE events (id BIGINT PRIMARY KEY, sender_id TEXT, data TEXT)", "(id BIGINT PRIMARY KEY, sender_id"),
        ("CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id NUMERIC, data TEXT)", "sender_id NUMERIC, data TEXT), expected"),
        (
            "CREATE TABLE trunkline_cursors (journal TEXT, subscription TEXT, next_offset INTEGER, writer TEXT)",
            "the table found is trunkline_cursors (journal TEXT, subscription TEXT, next_offset INTEGER, writer TEXT), expected",
        ),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        execute(&path, sql);
        let broker = broker(&path);
        let outcomes = broker.publish(&batch(&journal(1), &key())).await;
        assert!(reason(&outcomes[0]).contains(expected), "{outcomes:?}");
        assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcomes[0]));
    }
}

/// Makes the table refuse the rows of one conversation.
async fn refuse_poison(broker: &SqlBroker, path: &Path, on_failure: &str) {
    assert_eq!(broker.position(&key()).await, Ok(None), "that creates the table");
    execute(
        path,
        &format!(
            "CREATE TRIGGER choosy BEFORE INSERT ON events WHEN new.sender_id = 'poison'
             BEGIN SELECT RAISE({on_failure}, 'not this one'); END"
        ),
    );
}

/// Events at the offsets from 1 on.
fn conversations(names: &[&str]) -> Vec<Arc<Event>> {
    (1..).zip(names).map(|(offset, name)| event(offset, name, "x")).collect()
}

/// What becomes of a batch whose event at `index` is refused.
fn stopped_at(index: usize, count: usize) -> Vec<Outcome> {
    let mut outcomes = Outcome::Delivered.all(index);
    outcomes.push(Outcome::Reject { reason: "the table `events` refused the row: not this one".to_owned() });
    outcomes.resize(count, Outcome::retry("not tried, because an event before it was refused"));
    outcomes
}

#[tokio::test]
async fn a_batch_stops_with_the_cursor_at_the_row_that_the_table_refuses() {
    for on_failure in ["ABORT", "ROLLBACK", "FAIL"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let (broker, key) = (broker(&path), key());
        let journal = conversations(&["u", "poison", "poison", "u", "u", "poison", "u"]);
        refuse_poison(&broker, &path, on_failure).await;
        for (from, stopped, position) in [(0, 1, 2), (2, 0, 3), (3, 2, 6)] {
            let outcomes = broker.publish(&batch(&journal[from..], &key)).await;
            assert_eq!(outcomes, stopped_at(stopped, journal.len() - from), "{on_failure}");
            assert_eq!(broker.position(&key).await, Ok(Some(position)), "{on_failure}");
        }
        deliver(&broker, &batch(&journal[6..], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(8)), "{on_failure}");
        broker.close().await;
        let expected: Vec<_> = journal.iter().filter(|event| event.conversation != "poison").cloned().collect();
        assert_eq!(texts(&path), bodies(&expected), "{on_failure}");
    }
}

#[tokio::test]
async fn an_event_that_was_refused_right_before_a_crash_is_not_behind_the_cursor() {
    for on_failure in ["ABORT", "ROLLBACK", "FAIL"] {
        for poisoned in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("events.db");
            let (before, key) = (broker(&path), key());
            let mut names = ["u"; 3];
            names[poisoned] = "poison";
            let journal = conversations(&names);
            refuse_poison(&before, &path, on_failure).await;
            assert_eq!(before.publish(&batch(&journal, &key)).await, stopped_at(poisoned, 3));
            drop(before);
            let after = broker(&path);
            assert_eq!(after.position(&key).await, Ok(Some(journal[poisoned].offset)));
            let rest = rest(&after, &journal, &key).await;
            assert_eq!(after.publish(&batch(rest, &key)).await, stopped_at(0, rest.len()));
            assert_eq!(texts(&path), bodies(&journal[..poisoned]));
        }
    }
}

#[tokio::test]
async fn a_replayed_event_that_the_cursor_stands_at_does_not_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key) = (broker(&path), key());
    let journal = conversations(&["u", "poison"]);
    refuse_poison(&broker, &path, "ABORT").await;
    assert_eq!(broker.publish(&batch(&journal, &key)).await, stopped_at(1, 2));
    assert_eq!(broker.publish(&replay(&journal[1..], &key)).await, stopped_at(0, 1));
    assert_eq!(broker.position(&key).await, Ok(Some(2)));
    execute(&path, "DROP TRIGGER choosy");
    deliver(&broker, &replay(&journal[1..], &key)).await;
    assert_eq!(broker.position(&key).await, Ok(Some(3)));
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn a_locked_database_means_try_again_and_later_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let outcomes = broker.publish(&batch(&journal[2..], &key)).await;
    let expected = format!("the database `{}` is locked by another process", path.display());
    assert_eq!(outcomes, Outcome::retry(&expected).all(2));
    assert_eq!(broker.is_ready().await, Err(expected));
    other.execute_batch("ROLLBACK").unwrap();
    deliver(&broker, &batch(&journal[2..], &key)).await;
    broker.close().await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn a_replay_is_inserted_and_leaves_the_cursor_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(4));
    deliver(&broker, &batch(&journal, &key)).await;
    deliver(&broker, &replay(&journal[..1], &key)).await;
    assert_eq!(broker.position(&key).await, Ok(Some(journal[3].offset + 1)));
    broker.close().await;
    assert_eq!(texts(&path), [bodies(&journal), bodies(&journal[..1])].concat());
}

#[tokio::test]
async fn events_of_a_call_that_was_given_up_are_not_inserted_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(6));
    let first = batch(&journal[..4], &key);
    tokio::select! {
        biased;
        _ = broker.publish(&first) => panic!("no database is that fast"),
        () = std::future::ready(()) => {}
    }
    deliver(&broker, &batch(&journal, &key)).await;
    broker.close().await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn a_row_refused_in_a_call_that_was_given_up_is_rejected_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key) = (broker(&path), key());
    let journal = conversations(&["u", "poison", "u", "poison"]);
    refuse_poison(&broker, &path, "ABORT").await;
    let first = batch(&journal[..3], &key);
    tokio::select! {
        biased;
        _ = broker.publish(&first) => panic!("no database is that fast"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(broker.publish(&batch(&journal, &key)).await, stopped_at(1, 4));
    assert_eq!(broker.publish(&batch(&journal[2..], &key)).await, stopped_at(1, 2));
    broker.close().await;
    assert_eq!(texts(&path), bodies(&[journal[0].clone(), journal[2].clone()]));
}

#[tokio::test]
async fn subscriptions_and_journals_have_cursors_of_their_own() {
    let broker = SqlBroker::sqlite(Location::Memory);
    let (first, journal) = (key(), journal(4));
    let second = trunkline_core::CursorKey { subscription: "other".into(), ..first.clone() };
    deliver(&broker, &batch(&journal[..1], &first)).await;
    deliver(&broker, &batch(&journal[..3], &second)).await;
    assert_eq!(broker.position(&first).await, Ok(Some(journal[0].offset + 1)));
    assert_eq!(broker.position(&second).await, Ok(Some(journal[2].offset + 1)));
    assert_eq!(broker.position(&key()).await, Ok(None));
}

#[tokio::test]
async fn a_database_that_was_moved_away_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    for name in ["events.db", "events.db-wal", "events.db-shm"] {
        std::fs::rename(directory.path().join(name), directory.path().join(format!("old-{name}"))).unwrap();
    }
    deliver(&broker, &batch(&journal[2..], &key)).await;
    broker.close().await;
    assert_eq!(texts(&path), bodies(&journal[2..]));
}

#[tokio::test]
async fn a_table_that_was_altered_makes_no_dead_letters() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    execute(
        &path,
        "ALTER TABLE events RENAME TO old;
         CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT, n INT NOT NULL)",
    );
    for batch in [batch(&journal[2..], &key), replay(&journal[2..], &key)] {
        let outcomes = broker.publish(&batch).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");
        assert!(
            reason(&outcomes[0]).contains("cannot be used: the table found is events (id INTEGER PRIMARY KEY"),
            "{outcomes:?}"
        );
    }
    execute(&path, "DROP TABLE events; ALTER TABLE old RENAME TO events");
    deliver(&broker, &batch(&journal[2..], &key)).await;
    assert_eq!(texts(&path), bodies(&journal));
}

/// Demands that the whole batch was answered with a loss, from this offset back to that one.
fn assert_behind(outcomes: &[Outcome], was: &Event, is: &Event) {
    let (was, is) = (was.offset + 1, is.offset + 1);
    let expected = format!("the cursor of the subscription `brokers/0` stood at offset {was} and went back to offset {is}");
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::Behind { reason } if reason.contains(&expected)), "{outcomes:?}");
    }
}

#[tokio::test]
async fn rows_that_were_lost_are_published_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(8));
    deliver(&broker, &batch(&journal[..4], &key)).await;
    execute(&path, "CREATE TABLE saved AS SELECT * FROM trunkline_cursors");
    deliver(&broker, &batch(&journal[4..6], &key)).await;
    execute(
        &path,
        "DELETE FROM trunkline_cursors; INSERT INTO trunkline_cursors SELECT * FROM saved; DELETE FROM events WHERE id > 4",
    );
    // It says so until it is asked where to go on.
    for _ in 0..2 {
        assert_behind(&broker.publish(&batch(&journal[6..], &key)).await, &journal[5], &journal[3]);
    }
    assert_eq!(texts(&path), bodies(&journal[..4]));
    deliver(&broker, &batch(rest(&broker, &journal, &key).await, &key)).await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn a_cursor_that_was_deleted_means_to_go_on_where_the_caller_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (broker, key, journal) = (broker(&path), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    execute(&path, "DELETE FROM trunkline_cursors");
    deliver(&broker, &batch(&journal[2..], &key)).await;
    assert_eq!(broker.position(&key).await, Ok(Some(journal[3].offset + 1)));
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn what_was_written_after_a_backup_is_published_again_when_that_is_put_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let backup = directory.path().join("backup.db");
    let (key, journal) = (key(), journal(8));
    deliver(&broker(&path), &batch(&journal[..2], &key)).await;
    execute(&path, &format!("VACUUM INTO '{}'", backup.display()));
    let broker = broker(&path);
    deliver(&broker, &batch(rest(&broker, &journal[..6], &key).await, &key)).await;
    for name in ["events.db-wal", "events.db-shm"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
    }
    std::fs::rename(&backup, &path).unwrap();
    assert_behind(&broker.publish(&batch(&journal[6..], &key)).await, &journal[5], &journal[1]);
    deliver(&broker, &batch(rest(&broker, &journal, &key).await, &key)).await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn of_two_gateways_with_copies_of_a_journal_one_stops_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (one, other, key, journal) = (broker(&path), broker(&path), key(), journal(6));
    deliver(&one, &batch(&journal[..2], &key)).await;
    assert_eq!(other.position(&key).await, Ok(Some(journal[1].offset + 1)));
    deliver(&other, &batch(&journal[2..4], &key)).await;
    for _ in 0..2 {
        let outcomes = one.publish(&batch(&journal[2..], &key)).await;
        assert!(reason(&outcomes[0]).contains("`brokers/0` is being moved by somebody else"), "{outcomes:?}");
        assert_eq!(outcomes, Outcome::retry(reason(&outcomes[0])).all(4));
    }
    deliver(&other, &batch(&journal[4..], &key)).await;
    assert_eq!(texts(&path), bodies(&journal));
}

#[tokio::test]
async fn events_of_a_journal_restored_from_a_backup_are_not_taken_for_those_already_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (key, journal) = (key(), journal(6));
    deliver(&broker(&path), &batch(&journal, &key)).await;
    let broker = broker(&path);
    assert_eq!(broker.position(&key).await, Ok(Some(journal[5].offset + 1)));
    // The offsets are given out again; the last batch even ends where the cursor stood.
    let anew: Vec<_> = journal[2..].iter().map(|old| event(old.offset, "new", "after the restore")).collect();
    deliver(&broker, &batch(&anew[..1], &key)).await;
    assert_eq!(broker.position(&key).await, Ok(Some(anew[0].offset + 1)));
    deliver(&broker, &batch(&anew, &key)).await;
    assert_eq!(texts(&path), [bodies(&journal), bodies(&anew)].concat());
}

#[tokio::test]
async fn what_is_no_database_or_has_no_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone").join("events.db");
    let missing = broker(&path);
    let expected = format!("the directory `{}` does not exist", directory.path().join("gone").display());
    assert!(missing.is_ready().await.unwrap_err().contains(&expected));
    let outcomes = missing.publish(&batch(&journal(1), &key())).await;
    assert!(reason(&outcomes[0]).contains(&expected), "{outcomes:?}");

    let path = directory.path().join("events.db");
    std::fs::write(&path, "this is a text and no database, and it is long enough to be seen as one".repeat(20)).unwrap();
    let outcomes = broker(&path).publish(&batch(&journal(1), &key())).await;
    assert!(reason(&outcomes[0]).contains("file is not a database"), "{outcomes:?}");
}

#[tokio::test]
async fn asking_whether_it_is_ready_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let broker = broker(&directory.path().join("events.db"));
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(rest(&broker, &journal(2), &key()).await.len(), 2);
}
