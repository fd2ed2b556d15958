//! Rows and cursor agree on a server, whoever stops in the middle.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::Executor as _;
use trunkline_core::{Broker, CursorKey, Event, JournalId, Outcome};

use crate::common::{batch, deliver, journal, key, reason, rest, runtime};
use crate::servers::{Database, KINDS, Kind, Private, bodies, broker, until};

/// Says to [`publishes_until_killed`] to which database to publish, and so that it is the child.
const CHILD: &str = "TRUNKLINE_TEST_KILLED_SQL";

/// Publishes what is missing by the broker's own cursor, as the delivery does after a failure or a restart.
async fn deliver_rest(broker: &dyn Broker, journal: &[Arc<Event>], key: &CursorKey) {
    deliver(broker, &batch(rest(broker, journal, key).await, key)).await;
}

#[tokio::test]
async fn calls_given_up_at_any_moment_leave_each_row_there_once() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(280));
        let (mut done, mut given_up) = (0, 0);
        let mut patience = Duration::from_micros(50);
        while done < journal.len() {
            let events = &journal[done..(done + 7).min(journal.len())];
            // The delivery waits so long, and comes with the same events and some more behind them.
            if let Ok(outcomes) = tokio::time::timeout(patience, broker.publish(&batch(events, &key))).await {
                assert_eq!(outcomes, Outcome::Delivered.all(events.len()));
                done += events.len();
                patience = Duration::from_micros(50);
            } else {
                given_up += 1;
                patience = patience * 5 / 4;
            }
        }
        assert!(given_up > 50, "{given_up}");
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn an_attempt_that_commits_after_it_was_given_up_does_not_bring_its_rows_twice() {
    let database = Database::create(Kind::Postgres).await;
    let (broker, key, journal) = (database.broker(), key(), journal(6));
    deliver(&*broker, &batch(&journal[..2], &key)).await;
    // Whoever inserts has to wait.
    let mut other = database.postgres().await;
    other.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE").await.unwrap();
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let first = {
        let (broker, batch) = (Arc::clone(&broker), batch(&journal[2..4], &key));
        tokio::spawn(async move { broker.publish(&batch).await })
    };
    until("the first attempt", async || database.strings(waiting).await == ["1"]).await;
    first.abort();
    let _ = first.await;
    let second = {
        let (broker, batch) = (Arc::clone(&broker), batch(&journal[2..], &key));
        tokio::spawn(async move { broker.publish(&batch).await })
    };
    // The first is still at it, on the server, and the second waits for the cursor.
    until("the second attempt", async || database.strings(waiting).await == ["2"]).await;
    other.execute("COMMIT").await.unwrap();
    assert_eq!(second.await.unwrap(), Outcome::Delivered.all(4));
    assert_eq!(database.texts().await, bodies(&journal));
    database.drop().await;
}

#[tokio::test]
async fn the_very_first_batch_may_be_given_up_as_well() {
    let database = Database::create(Kind::Postgres).await;
    let (broker, key, journal) = (database.broker(), key(), journal(6));
    assert_eq!(broker.position(&key).await, Ok(None));
    let mut other = database.postgres().await;
    other.execute("BEGIN; LOCK TABLE events IN EXCLUSIVE MODE").await.unwrap();
    let waiting = "SELECT count(*)::text FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    for count in ["1", "2"] {
        let (broker, batch) = (Arc::clone(&broker), batch(&journal[..4], &key));
        let attempt = tokio::spawn(async move { broker.publish(&batch).await });
        until("an attempt", async || database.strings(waiting).await == [count]).await;
        attempt.abort();
        let _ = attempt.await;
    }
    other.execute("COMMIT").await.unwrap();
    deliver(&*broker, &batch(&journal, &key)).await;
    assert_eq!(database.texts().await, bodies(&journal));
    database.drop().await;
}

#[tokio::test]
async fn a_lock_of_somebody_else_means_try_again() {
    // It is waited for, and so for both at a time.
    join_all(KINDS.map(async |kind| {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(4));
        deliver(&*broker, &batch(&journal[..2], &key)).await;
        let update = "UPDATE trunkline_cursors SET next_offset = next_offset";
        // Each to the end of its session, which is the end of this block.
        let outcomes = match kind {
            Kind::Postgres => {
                let mut other = database.postgres().await;
                other.execute("BEGIN").await.unwrap();
                other.execute(update).await.unwrap();
                broker.publish(&batch(&journal[2..], &key)).await
            }
            Kind::MariaDb => {
                let mut other = database.mariadb().await;
                other.execute("START TRANSACTION").await.unwrap();
                other.execute("UPDATE trunkline_cursors SET next_offset = next_offset + 0 WHERE next_offset > 0").await.unwrap();
                broker.publish(&batch(&journal[2..], &key)).await
            }
        };
        assert!(reason(&outcomes[0]).ends_with("another session holds a lock on the tables"), "{outcomes:?}");
        deliver(&*broker, &batch(&journal[2..], &key)).await;
        assert_eq!(database.texts().await, bodies(&journal));
        database.drop().await;
    }))
    .await;
}

#[tokio::test]
async fn an_attempt_of_an_earlier_process_that_the_server_finishes_late_is_not_repeated() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (before, broker, key, journal) = (database.broker(), database.broker(), key(), journal(6));
        deliver(&*before, &batch(&journal[..2], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(journal[1].offset + 1)));
        deliver(&*before, &batch(&journal[2..4], &key)).await;
        deliver(&*broker, &batch(&journal[2..], &key)).await;
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn of_two_gateways_with_copies_of_a_journal_one_stops_and_says_so() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (one, other, key, journal) = (database.broker(), database.broker(), key(), journal(6));
        deliver(&*one, &batch(&journal[..2], &key)).await;
        assert_eq!(other.position(&key).await, Ok(Some(journal[1].offset + 1)));
        deliver(&*other, &batch(&journal[2..4], &key)).await;
        // What the other publishes may be something else under the same offsets.
        for _ in 0..2 {
            let outcomes = one.publish(&batch(&journal[2..], &key)).await;
            assert!(reason(&outcomes[0]).contains("`brokers/0` is being moved by somebody else"), "{outcomes:?}");
            assert_eq!(outcomes, Outcome::retry(reason(&outcomes[0])).all(4));
        }
        assert_eq!(database.texts().await, bodies(&journal[..4]), "{kind:?}");
        deliver(&*other, &batch(&journal[4..], &key)).await;
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn rows_that_a_server_lost_are_published_again() {
    for kind in KINDS {
        // The state that is restored is one that the process before left, or this one.
        for there in [2, 4] {
            let database = Database::create(kind).await;
            let (broker, key, journal) = (database.broker(), key(), journal(8));
            deliver(&*database.broker(), &batch(&journal[..2], &key)).await;
            assert_eq!(broker.position(&key).await, Ok(Some(journal[1].offset + 1)));
            for from in [2, 4] {
                if from == there {
                    database.execute("CREATE TABLE saved AS SELECT * FROM trunkline_cursors").await;
                }
                deliver(&*broker, &batch(&journal[from..from + 2], &key)).await;
            }
            database
                .execute(&format!(
                    "DELETE FROM trunkline_cursors; INSERT INTO trunkline_cursors SELECT * FROM saved;
                     DELETE FROM events WHERE id > {there}"
                ))
                .await;
            let (was, is) = (journal[5].offset + 1, journal[there - 1].offset + 1);
            let expected =
                format!("the cursor of the subscription `brokers/0` stood at offset {was} and went back to offset {is}");
            // It says so until it is asked where to go on.
            for _ in 0..2 {
                let outcomes = broker.publish(&batch(&journal[6..], &key)).await;
                assert!(reason(&outcomes[0]).contains(&expected), "{outcomes:?}");
                assert_eq!(outcomes, Outcome::Behind { reason: reason(&outcomes[0]).to_owned() }.all(2));
            }
            assert_eq!(database.texts().await, bodies(&journal[..there]));
            deliver_rest(&*broker, &journal, &key).await;
            assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
            database.drop().await;
        }
    }
}

#[tokio::test]
async fn a_cursor_that_was_deleted_means_to_go_on_where_the_caller_says() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(6));
        deliver(&*broker, &batch(&journal[..2], &key)).await;
        database.execute("DELETE FROM trunkline_cursors").await;
        deliver(&*broker, &batch(&journal[2..4], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(journal[3].offset + 1)));
        // The next process may be told to publish some of it again.
        database.execute("DELETE FROM trunkline_cursors").await;
        let broker = database.broker();
        deliver(&*broker, &batch(&journal[3..], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(journal[5].offset + 1)));
        assert_eq!(database.texts().await, [bodies(&journal[..4]), bodies(&journal[3..])].concat(), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ended_meanwhile_is_made_anew_at_once() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(9));
        for events in journal.chunks(3) {
            deliver(&*broker, &batch(events, &key)).await;
            database.end_sessions().await;
        }
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn each_row_is_there_once_after_the_server_was_killed_under_load() {
    for kind in KINDS {
        let server = Private::start(kind, "server").await;
        let database = Database::create_at(kind, server.port()).await;
        let (broker, key, journal) = (database.broker(), key(), Arc::new(journal(200_000)));
        let publishing = {
            let (broker, key, journal) = (Arc::clone(&broker), key.clone(), Arc::clone(&journal));
            tokio::spawn(async move {
                let mut done = 0;
                while done < journal.len() {
                    let events = &journal[done..(done + 64).min(journal.len())];
                    let outcomes = broker.publish(&batch(events, &key)).await;
                    if outcomes == Outcome::Delivered.all(events.len()) {
                        done += events.len();
                    } else {
                        assert!(matches!(outcomes[0], Outcome::Retry { .. }), "{outcomes:?}");
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                done
            })
        };
        for _ in 0..3 {
            until("the tables", async || broker.position(&key).await.is_ok()).await;
            let before = count(&database).await;
            until("progress", async || count(&database).await > before + 500).await;
            server.kill().await;
            server.start_again().await;
        }
        publishing.abort();
        let _ = publishing.await;
        until("the server", async || broker.is_ready().await.is_ok()).await;
        let there = database.texts().await;
        assert!(there == bodies(&journal[..there.len()]), "{kind:?}: {} rows", there.len());
        let until_here = &journal[..there.len() + 100];
        deliver_rest(&*broker, until_here, &key).await;
        assert!(database.texts().await == bodies(until_here), "{kind:?}");
    }
}

async fn count(database: &Database) -> usize {
    let counts =
        database.strings(database.kind.pick("SELECT count(*)::text FROM events", "SELECT CAST(count(*) AS CHAR) FROM events"));
    counts.await.first().and_then(|count| count.parse().ok()).unwrap_or_default()
}

fn fixed_key() -> CursorKey {
    let journal = JournalId::parse("0123456789abcdef0123456789abcdef").unwrap();
    CursorKey { journal, subscription: "brokers/0".into() }
}

/// The child; alone it has nothing to do.
#[test]
fn publishes_until_killed() {
    let Ok(yaml) = std::env::var(CHILD) else { return };
    runtime().block_on(async {
        let (broker, journal) = (broker(&yaml), journal(3000));
        for events in rest(&*broker, &journal, &fixed_key()).await.chunks(7) {
            std::io::stdin().read_line(&mut String::new()).unwrap();
            deliver(&*broker, &batch(events, &fixed_key())).await;
            writeln!(std::io::stdout(), "delivered").unwrap();
        }
    });
}

#[tokio::test]
async fn each_row_is_there_once_after_kill_9() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        for batches in [1, 2, 5, 8, 13, 21, 3, 1] {
            let yaml = database.yaml();
            let kill = move || {
                let mut child = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "sql_server_crashes::publishes_until_killed", "--nocapture"])
                    .env(CHILD, yaml)
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
            };
            tokio::task::spawn_blocking(kill).await.unwrap();
        }
        let (broker, journal) = (database.broker(), journal(3000));
        assert!(
            (1..journal.len()).contains(&rest(&*broker, &journal, &fixed_key()).await.len()),
            "some is done and some is left"
        );
        deliver_rest(&*broker, &journal, &fixed_key()).await;
        assert!(database.texts().await == bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}
