//! Following a table.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use rusqlite::Connection;
use sqlx::Executor as _;
use trunkline_adapter::ReadBy;
use trunkline_brokers::sql_source_from_section;
use trunkline_core::{Broker as _, Reader, Received, Source};

use crate::common::{batch, deliver, journal, key, reason, replay};
use crate::servers::{Database, KINDS, Kind, Private, bodies, read};

fn source(yaml: &str) -> Arc<dyn Source> {
    let (source, said) = read(yaml, |section| sql_source_from_section(section, Path::new("/nowhere"), ReadBy::Gateway));
    assert_eq!(said, [""; 0]);
    source.unwrap()
}

fn of(database: &Database, more: &str) -> Arc<dyn Source> {
    source(&format!("{}\npoll: 20ms\n{more}", database.yaml()))
}

/// Receives until there are so many.
async fn receive(reader: &mut dyn Reader, count: usize) -> Vec<Received> {
    let mut received = Vec::new();
    while received.len() < count {
        received.extend(reader.receive().await.unwrap().unwrap());
    }
    assert_eq!(received.len(), count);
    received
}

fn texts(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| String::from_utf8(received.body.to_vec()).unwrap()).collect()
}

fn file(path: &Path, more: &str) -> Arc<dyn Source> {
    source(&format!("db: {}\npoll: 20ms\n{more}", path.display()))
}

#[tokio::test]
async fn rows_of_a_file_are_read_as_they_come_and_again_until_they_are_settled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let broker = trunkline_brokers::SqlBroker::sqlite(trunkline_brokers::sql::Location::File(path.clone()));
    let (key, journal) = (key(), journal(700));
    let source = file(&path, "");
    assert!(source.open().await.is_err_and(|said| said.starts_with("there is no database")));
    deliver(&broker, &batch(&journal[..600], &key)).await;
    let mut reader = source.open().await.unwrap();
    let first = receive(&mut *reader, 600).await;
    assert_eq!(texts(&first), bodies(&journal[..600]));
    assert_eq!(first[6].origin, "row 7");
    drop(reader);
    // Not settled, so it comes again, with the same ids.
    let mut reader = source.open().await.unwrap();
    assert_eq!(receive(&mut *reader, 600).await, first);
    reader.settle().await.unwrap();
    deliver(&broker, &batch(&journal[600..], &key)).await;
    assert_eq!(texts(&receive(&mut *reader, 100).await), bodies(&journal[600..]));
    // A reader of another group, and one that remembers nothing, begin at the beginning.
    for more in ["group: other", "position: none"] {
        assert_eq!(receive(&mut *file(&path, more).open().await.unwrap(), 700).await[..600], first);
    }
    let mut reader = source.open().await.unwrap();
    assert_eq!(texts(&receive(&mut *reader, 100).await), bodies(&journal[600..]));
}

#[tokio::test]
async fn a_reader_that_remembers_nothing_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT);
             INSERT INTO events VALUES (5, 'u', '{}'), (9, 'u', NULL)",
        )
        .unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let mut reader = file(&path, "position: none").open().await.unwrap();
    let received = receive(&mut *reader, 2).await;
    assert_eq!(texts(&received), ["{}", ""]);
    reader.settle().await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn rows_of_a_server_are_read_as_they_come_and_again_until_they_are_settled() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(700));
        let source = of(&database, "");
        assert!(source.open().await.is_err_and(|said| said.ends_with("it appears with the first event that is published")));
        deliver(&*broker, &batch(&journal[..600], &key)).await;
        let mut reader = source.open().await.unwrap();
        let first = receive(&mut *reader, 600).await;
        assert_eq!(texts(&first), bodies(&journal[..600]));
        drop(reader);
        let mut reader = source.open().await.unwrap();
        assert_eq!(receive(&mut *reader, 600).await, first);
        reader.settle().await.unwrap();
        // While it waits.
        let waiting = tokio::spawn(async move { (receive(&mut *reader, 100).await, reader) });
        deliver(&*broker, &batch(&journal[600..], &key)).await;
        assert_eq!(texts(&waiting.await.unwrap().0), bodies(&journal[600..]));
        assert_eq!(receive(&mut *of(&database, "position: none").open().await.unwrap(), 700).await[..600], first);
        assert_eq!(receive(&mut *of(&database, "group: other").open().await.unwrap(), 700).await[..600], first);
        let mut reader = source.open().await.unwrap();
        assert_eq!(texts(&receive(&mut *reader, 100).await), bodies(&journal[600..]));
        database.drop().await;
    }
}

#[tokio::test]
async fn rows_that_are_committed_after_later_ones_are_not_missed() {
    join_all(KINDS.map(async |kind| {
        let database = Database::create(kind).await;
        database.broker().position(&key()).await.unwrap();
        let mut reader = of(&database, "").open().await.unwrap();
        let insert = |text: &str| format!("INSERT INTO events (data) VALUES ('{text}')");
        database.execute(&insert("1")).await;
        // Takes the second id, and commits after the third.
        match kind {
            Kind::Postgres => {
                let mut slow = database.postgres().await;
                slow.execute("BEGIN").await.unwrap();
                slow.execute(sqlx::AssertSqlSafe(insert("2"))).await.unwrap();
                database.execute(&insert("3")).await;
                assert_eq!(texts(&receive(&mut *reader, 1).await), ["1"]);
                not_yet(&mut *reader).await;
                slow.execute("COMMIT").await.unwrap();
            }
            Kind::MariaDb => {
                let mut slow = database.mariadb().await;
                slow.execute("START TRANSACTION").await.unwrap();
                slow.execute(sqlx::AssertSqlSafe(insert("2"))).await.unwrap();
                database.execute(&insert("3")).await;
                assert_eq!(texts(&receive(&mut *reader, 1).await), ["1"]);
                not_yet(&mut *reader).await;
                slow.execute("COMMIT").await.unwrap();
            }
        }
        assert_eq!(texts(&receive(&mut *reader, 2).await), ["2", "3"]);
        database.drop().await;
    }))
    .await;
}

/// Demands that nothing is given for longer than a gap is watched by itself; it is the transaction that holds it back.
async fn not_yet(reader: &mut dyn Reader) {
    let patience = std::time::Duration::from_secs(4);
    assert!(tokio::time::timeout(patience, reader.receive()).await.is_err());
}

#[tokio::test]
async fn gaps_that_nobody_fills_are_passed() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(50));
        deliver(&*broker, &replay(&journal, &key)).await;
        database.execute("DELETE FROM events WHERE id < 7 OR id % 3 = 0").await;
        let expected: Vec<_> =
            (1_usize..).zip(&journal).filter(|(id, _)| *id >= 7 && id % 3 != 0).map(|(_, event)| event.clone()).collect();
        let mut reader = of(&database, "").open().await.unwrap();
        assert_eq!(texts(&receive(&mut *reader, expected.len()).await), bodies(&expected));
        database.drop().await;
    }
}

#[tokio::test]
async fn writers_side_by_side_are_read_completely_and_once() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        database.broker().position(&key()).await.unwrap();
        let mut reader = of(&database, "").open().await.unwrap();
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let database = database.clone();
                tokio::spawn(async move {
                    let (broker, key, journal) = (database.broker(), key(), journal(300));
                    for events in journal.chunks(3) {
                        deliver(&*broker, &batch(events, &key)).await;
                    }
                })
            })
            .collect();
        let mut received = texts(&receive(&mut *reader, 1200).await);
        for writer in writers {
            writer.await.unwrap();
        }
        let mut there = database.texts().await;
        assert_eq!(received.len(), there.len());
        received.sort();
        there.sort();
        assert_eq!(received, there, "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn tables_of_another_name_are_read_and_those_without_events_refused() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let id = kind.pick("SERIAL", "INTEGER AUTO_INCREMENT");
        database
            .execute(&format!(
                "CREATE TABLE mine (id {id} PRIMARY KEY, data TEXT); INSERT INTO mine (data) VALUES ('x');
                 CREATE TABLE other (id {id} PRIMARY KEY); CREATE TABLE events (id {id} PRIMARY KEY, type_name TEXT, data TEXT)"
            ))
            .await;
        let schema = kind.pick("public", &database.name);
        for table in ["mine".to_owned(), format!("{schema}.mine")] {
            let source = of(&database, &format!("position: none\ntable: {table}"));
            assert_eq!(texts(&receive(&mut *source.open().await.unwrap(), 1).await), ["x"]);
        }
        let said = async |table: &str| of(&database, &format!("table: {table}")).open().await.err().unwrap();
        assert!(said("other").await.ends_with("has the columns id, expected are id and data"));
        assert!(said("events").await.ends_with("is that of a tracker store, whose events `trunkline export` reads"));
        assert!(
            said("missing").await.starts_with(&format!("there is no table missing in the {}", kind.pick("PostgreSQL", "MySQL")))
        );
        database.drop().await;
    }
}

#[tokio::test]
async fn tables_that_one_group_reads_have_positions_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let sql = |id: &str| {
        format!(
            "CREATE TABLE one ({id} PRIMARY KEY, data TEXT); CREATE TABLE two ({id} PRIMARY KEY, data TEXT);
             INSERT INTO one (data) VALUES ('1'), ('2'), ('3'); INSERT INTO two (data) VALUES ('a'), ('b')"
        )
    };
    Connection::open(&path).unwrap().execute_batch(&sql("id INTEGER")).unwrap();
    let read = async |source: &dyn Fn(&str) -> Arc<dyn Source>| {
        for (table, expected) in [("one", &["1", "2", "3"][..]), ("two", &["a", "b"])] {
            let mut reader = source(table).open().await.unwrap();
            assert_eq!(texts(&receive(&mut *reader, expected.len()).await), expected);
            reader.settle().await.unwrap();
        }
    };
    read(&|table| file(&path, &format!("table: {table}"))).await;
    for kind in KINDS {
        let database = Database::create(kind).await;
        database.execute(&sql(kind.pick("id SERIAL", "id INTEGER AUTO_INCREMENT"))).await;
        read(&|table| of(&database, &format!("table: {table}"))).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_left_and_the_one_in_its_place_read_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let (key, journal) = (key(), journal(8));
    let publish = async |events| {
        let location = trunkline_brokers::sql::Location::File(path.clone());
        let broker = trunkline_brokers::SqlBroker::sqlite(location);
        deliver(&broker, &replay(events, &key)).await;
        broker.close().await;
    };
    publish(&journal[..3]).await;
    let source = file(&path, "");
    let mut reader = source.open().await.unwrap();
    receive(&mut *reader, 3).await;
    reader.settle().await.unwrap();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::rename(&path, path.with_file_name(format!("old-{}", path.file_name().unwrap().display()))).unwrap();
    }
    let expected = format!("the database `{}` was moved away or replaced", path.display());
    assert_eq!(reader.receive().await, Err(expected.clone()));
    publish(&journal[3..]).await;
    assert_eq!(reader.settle().await, Err(expected));
    let mut reader = source.open().await.unwrap();
    assert_eq!(texts(&receive(&mut *reader, 5).await), bodies(&journal[3..]));
}

#[tokio::test]
async fn sessions_do_not_depend_on_the_defaults_of_the_server() {
    let server = Private::start(Kind::MariaDb, "server").await;
    let database = Database { kind: Kind::MariaDb, port: server.port(), name: "trunkline".to_owned() };
    server
        .administrate(
            "SET GLOBAL autocommit = 0; SET GLOBAL tx_isolation = 'SERIALIZABLE'; SET GLOBAL completion_type = 'CHAIN';
             SET GLOBAL sql_mode = ''",
        )
        .await;
    let (broker, key, journal) = (database.broker(), key(), journal(7));
    deliver(&*broker, &batch(&journal[..2], &key)).await;
    let source = of(&database, "");
    let mut reader = source.open().await.unwrap();
    assert_eq!(receive(&mut *reader, 2).await.len(), 2);
    // What is committed later is seen, and what is stored is there for others.
    deliver(&*broker, &batch(&journal[2..4], &key)).await;
    assert_eq!(receive(&mut *reader, 2).await.len(), 2);
    reader.settle().await.unwrap();
    deliver(&*broker, &batch(&journal[4..6], &key)).await;
    let mut reader = source.open().await.unwrap();
    assert_eq!(texts(&receive(&mut *reader, 2).await), bodies(&journal[4..6]));
    drop(reader);
    // The trigger sees the settings of the session that inserts.
    database
        .execute(
            "CREATE TRIGGER choosy BEFORE INSERT ON events FOR EACH ROW BEGIN
                 SET @settings = concat_ws(' ', @@autocommit + 0, @@tx_isolation, @@lock_wait_timeout, @@completion_type);
                 SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @settings; END",
        )
        .await;
    let outcomes = broker.publish(&batch(&journal[6..], &key)).await;
    assert!(reason(&outcomes[0]).ends_with("refused the row: 1 REPEATABLE-READ 10 NO_CHAIN"), "{outcomes:?}");
}

#[test]
fn options_that_make_no_sense_are_errors() {
    let said = |yaml: &str| read(yaml, |section| sql_source_from_section(section, Path::new("/nowhere"), ReadBy::Gateway)).1;
    assert_eq!(said("table: 'events; DROP TABLE events'").len(), 1);
    assert_eq!(said("table: a.b.c").len(), 1);
    assert_eq!(
        said("position: nowhere\ngroup: ''\npoll: 1ms"),
        [
            "error: section.position: expected one of stored, none, found \"nowhere\"",
            "error: section.group: expected 1 to 255 characters, found \"\"",
            "error: section.poll: expected at least 10 ms, found \"1ms\"",
        ]
    );
}
