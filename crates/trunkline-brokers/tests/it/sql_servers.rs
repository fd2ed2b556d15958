//! The SQL broker on PostgreSQL and MariaDB: what stands in the table, and what happens when the table is in the way.

use std::sync::Arc;

use trunkline_core::{Broker, CursorKey, Event, Outcome};

use crate::common::{batch, deliver, event, journal, key, reason, replay, rest};
use crate::servers::{Database, KINDS, Kind, bodies, build};

#[tokio::test]
async fn rows_have_the_columns_of_the_original_and_stand_in_order() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(7));
        for events in journal.chunks(3) {
            deliver(&*broker, &batch(events, &key)).await;
        }
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        let conversations: Vec<_> = journal.iter().map(|event| event.conversation.to_string()).collect();
        assert_eq!(database.strings("SELECT sender_id FROM events ORDER BY id").await, conversations, "{kind:?}");
        let columns = database
            .strings(kind.pick(
                "SELECT column_name || ' ' || data_type || ' ' || coalesce(character_maximum_length, 0) || ' ' || is_nullable
                     || ' ' || coalesce(column_default, '') FROM information_schema.columns
                 WHERE table_name = 'events' ORDER BY ordinal_position",
                "SELECT concat(column_name, ' ', column_type, ' ', is_nullable, ' ', extra) FROM information_schema.columns
                 WHERE table_schema = database() AND table_name = 'events' ORDER BY ordinal_position",
            ))
            .await;
        let expected = kind.pick(
            ["id integer 0 NO nextval('events_id_seq'::regclass)", "sender_id character varying 255 YES ", "data text 0 YES "],
            ["id int(11) NO auto_increment", "sender_id varchar(255) YES ", "data text YES "],
        );
        assert_eq!(columns, expected);
        broker.close().await;
        database.drop().await;
    }
}

#[tokio::test]
async fn batches_of_any_size_are_inserted_in_order() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(10_513));
        for range in [0..1, 1..513, 513..10_513] {
            deliver(&*broker, &batch(&journal[range], &key)).await;
        }
        assert!(database.texts().await == bodies(&journal), "{kind:?}");
        assert_eq!(broker.position(&key).await, Ok(Some(journal[10_512].offset + 1)));
        database.drop().await;
    }
}

#[tokio::test]
async fn a_batch_that_is_larger_than_a_packet_of_the_server_is_one_transaction() {
    let database = Database::create(Kind::MariaDb).await;
    let (broker, key) = (database.broker(), key());
    let text = "x".repeat(60_000);
    // 18 MB, where a packet has 16 MiB.
    let journal: Vec<_> = (1..=300).map(|offset| event(offset, "u", &text)).collect();
    deliver(&*broker, &batch(&journal, &key)).await;
    assert!(database.texts().await == bodies(&journal));
    database.drop().await;
}

#[tokio::test]
async fn a_text_that_the_column_does_not_hold_is_rejected_and_never_cut_off() {
    let database = Database::create(Kind::MariaDb).await;
    let (broker, key) = (database.broker(), key());
    let long = "x".repeat(70_000);
    let journal: Vec<_> = (1..=5).map(|offset| event(offset, "u", if offset == 3 { &long } else { "x" })).collect();
    let outcomes = broker.publish(&batch(&journal, &key)).await;
    assert_eq!(outcomes[..2], Outcome::Delivered.all(2));
    assert!(
        matches!(&outcomes[2], Outcome::Reject { reason } if reason.contains("Data too long for column 'data'")),
        "{outcomes:?}"
    );
    // A packet that the server does not take at all.
    let huge = "x".repeat(17_000_000);
    let journal = [event(6, "u", "x"), event(7, "u", &huge), event(8, "u", "x")];
    let outcomes = broker.publish(&batch(&journal, &key)).await;
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert!(matches!(&outcomes[1], Outcome::Reject { reason } if reason.contains("max_allowed_packet of 16777216 bytes")));
    assert_eq!(broker.position(&key).await, Ok(Some(7)));
    deliver(&*broker, &batch(&journal[2..], &key)).await;
    assert_eq!(database.texts().await.len(), 4);
    database.drop().await;
}

#[tokio::test]
async fn letters_of_every_alphabet_are_stored_as_conversations() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key) = (database.broker(), key());
        let names = ["Ünïcode №7", "用户", "🍕'\"\\%", "a\tb\nc", &"é".repeat(255)];
        let journal: Vec<_> = (1..).zip(names).map(|(offset, name)| event(offset, name, name)).collect();
        deliver(&*broker, &batch(&journal, &key)).await;
        assert_eq!(database.strings("SELECT sender_id FROM events ORDER BY id").await, names, "{kind:?}");
        assert_eq!(database.texts().await, bodies(&journal));
        database.drop().await;
    }
}

#[tokio::test]
async fn a_table_of_the_original_is_used_as_it_is() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        // As SQLAlchemy creates it.
        let id = kind.pick("id SERIAL NOT NULL", "id INTEGER NOT NULL AUTO_INCREMENT");
        database
            .execute(&format!(
                "CREATE TABLE events (\n\t{id}, \n\tsender_id VARCHAR(255), \n\tdata TEXT, \n\tPRIMARY KEY (id)\n);
                 INSERT INTO events (sender_id, data) VALUES ('old', '{{}}')"
            ))
            .await;
        let (broker, key, journal) = (database.broker(), key(), journal(2));
        assert_eq!(broker.is_ready().await, Ok(()));
        deliver(&*broker, &batch(&journal, &key)).await;
        assert_eq!(broker.is_ready().await, Ok(()));
        assert_eq!(database.texts().await, [&["{}".to_owned()], bodies(&journal).as_slice()].concat());
        database.drop().await;
    }
}

#[tokio::test]
async fn columns_that_can_be_left_out_are_welcome() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let id = kind.pick("BIGINT GENERATED BY DEFAULT AS IDENTITY", "BIGINT UNSIGNED AUTO_INCREMENT");
        database
            .execute(&format!(
                "CREATE TABLE events (note VARCHAR(10), id {id} PRIMARY KEY, sender_id TEXT, data VARCHAR(5000),
                 seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            ))
            .await;
        let journal = journal(2);
        deliver(&*database.broker(), &batch(&journal, &key())).await;
        assert_eq!(database.texts().await, bodies(&journal));
        database.drop().await;
    }
}

#[tokio::test]
async fn the_table_of_rasas_tracker_store_is_refused_and_left_alone() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let id = kind.pick("SERIAL", "INTEGER AUTO_INCREMENT");
        database
            .execute(&format!(
                "CREATE TABLE events (id {id} NOT NULL PRIMARY KEY, sender_id VARCHAR(255) NOT NULL,
                 type_name VARCHAR(255) NOT NULL, timestamp FLOAT, intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT)"
            ))
            .await;
        let (broker, key) = (database.broker(), key());
        let outcomes = broker.publish(&batch(&journal(2), &key)).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })));
        let expected = kind.pick(
            "cannot be used: the table found is events (id integer PRIMARY KEY, sender_id character varying(255) NOT NULL, \
             type_name character varying(255) NOT NULL, timestamp double precision, intent_name character varying(255), \
             action_name character varying(255), data text), expected is events (id SERIAL PRIMARY KEY, sender_id VARCHAR(255), \
             data TEXT); Rasa's SQL tracker store has a table of the same name, so give the event broker a database of its own",
            "cannot be used: the table found is events (id int(11) PRIMARY KEY, sender_id varchar(255) NOT NULL, \
             type_name varchar(255) NOT NULL, timestamp float, intent_name varchar(255), action_name varchar(255), data text), \
             expected is events (id INTEGER AUTO_INCREMENT PRIMARY KEY, sender_id VARCHAR(255), data TEXT); Rasa's SQL tracker \
             store has a table of the same name, so give the event broker a database of its own",
        );
        let place =
            format!("the {} database `{}` at localhost:{}", kind.pick("PostgreSQL", "MySQL"), database.name, database.port);
        assert_eq!(reason(&outcomes[0]), format!("{place} {expected}"));
        assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcomes[0]));
        assert_eq!(tables(&database).await, ["events"]);
        database.drop().await;
    }
}

async fn tables(database: &Database) -> Vec<String> {
    let schema = database.kind.pick("table_schema NOT IN ('pg_catalog', 'information_schema')", "table_schema = database()");
    let name = database.kind.pick("table_name::text", "table_name");
    database.strings(&format!("SELECT {name} FROM information_schema.tables WHERE {schema} ORDER BY table_name")).await
}

#[tokio::test]
async fn what_our_rows_do_not_fit_into_is_refused() {
    let of_both = [
        ("CREATE VIEW events AS SELECT 1 AS id, 'u' AS sender_id, '{}' AS data", "`events` is a view"),
        ("CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT)", "the table found is events (id int"),
        ("CREATE TABLE events (id INTEGER, sender_id TEXT, data TEXT)", "the table found is events (id int"),
    ];
    let of_postgres = [
        ("CREATE TABLE events (id SERIAL PRIMARY KEY, data TEXT)", "(id integer PRIMARY KEY, data text), expected"),
        ("CREATE TABLE events (id SERIAL PRIMARY KEY, sender_id TEXT, data JSONB)", "data jsonb), expected"),
        ("CREATE MATERIALIZED VIEW events AS SELECT 1 AS id", "`events` is a materialized view"),
        ("CREATE TABLE events (id SERIAL PRIMARY KEY, sender_id TEXT, data TEXT, n INT NOT NULL)", "n integer NOT NULL)"),
    ];
    let of_mariadb = [
        ("CREATE TABLE events (id INT PRIMARY KEY AUTO_INCREMENT, data TEXT)", "(id int(11) PRIMARY KEY, data text), expected"),
        ("CREATE TABLE events (id INT PRIMARY KEY AUTO_INCREMENT, sender_id TEXT, data BLOB)", "data blob), expected"),
        (
            "CREATE TABLE events (id INT PRIMARY KEY AUTO_INCREMENT, sender_id TEXT, data TEXT) ENGINE = MyISAM",
            "storage engine MyISAM, which has no transactions",
        ),
        (
            "CREATE TABLE events (id INT PRIMARY KEY AUTO_INCREMENT, sender_id TEXT, data TEXT, n INT NOT NULL)",
            "n int(11) NOT NULL)",
        ),
    ];
    for kind in KINDS {
        let database = Database::create(kind).await;
        let own: &[_] = kind.pick(&of_postgres, &of_mariadb);
        for (sql, expected) in of_both.iter().chain(own) {
            database.execute(sql).await;
            let broker = database.broker();
            let outcomes = broker.publish(&batch(&journal(1), &key())).await;
            assert!(reason(&outcomes[0]).contains(expected), "{sql}: {outcomes:?}");
            assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcomes[0]));
            assert_eq!(tables(&database).await.len(), usize::from(!sql.contains("MATERIALIZED")));
            let word = if sql.contains("MATERIALIZED") {
                "MATERIALIZED VIEW"
            } else if sql.contains("VIEW") {
                "VIEW"
            } else {
                "TABLE"
            };
            database.execute(&format!("DROP {word} events")).await;
        }
        database.drop().await;
    }
}

/// How a table may refuse the rows of one conversation.
fn refusals(kind: Kind) -> &'static [&'static str] {
    const POSTGRES: &[&str] = &[
        "ALTER TABLE events ADD CONSTRAINT choosy CHECK (sender_id <> 'poison')",
        "CREATE FUNCTION choosy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF new.sender_id = 'poison' THEN RAISE 'not this one'; END IF; RETURN new; END $$;
         CREATE TRIGGER choosy BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION choosy()",
        // Speaks up at the commit only, if nobody asks before.
        "CREATE FUNCTION choosy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF new.sender_id = 'poison' THEN RAISE 'not this one'; END IF; RETURN new; END $$;
         CREATE CONSTRAINT TRIGGER choosy AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION choosy()",
        "ALTER TABLE events ALTER sender_id TYPE VARCHAR(5)",
    ];
    const MARIADB: &[&str] = &[
        "ALTER TABLE events ADD CONSTRAINT choosy CHECK (sender_id <> 'poison')",
        "CREATE TRIGGER choosy BEFORE INSERT ON events FOR EACH ROW
             IF new.sender_id = 'poison' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF",
        "ALTER TABLE events MODIFY sender_id VARCHAR(5)",
    ];
    kind.pick(POSTGRES, MARIADB)
}

/// Events at the offsets from 1 on.
fn conversations(names: &[&str]) -> Vec<Arc<Event>> {
    (1..).zip(names).map(|(offset, name)| event(offset, name, "x")).collect()
}

/// Demands that the event at `index` was refused, those before it inserted and those behind it not tried.
fn assert_stopped_at(outcomes: &[Outcome], index: usize, count: usize) {
    assert_eq!(outcomes.len(), count);
    assert_eq!(outcomes[..index], Outcome::Delivered.all(index));
    assert!(
        matches!(&outcomes[index], Outcome::Reject { reason } if reason.starts_with("the table `events` refused the row: ")),
        "{outcomes:?}"
    );
    let untried = Outcome::retry("not tried, because an event before it was refused");
    assert_eq!(outcomes[index + 1..], untried.all(count - index - 1));
}

#[tokio::test]
async fn a_batch_stops_with_the_cursor_at_the_row_that_the_table_refuses() {
    for kind in KINDS {
        for refusal in refusals(kind) {
            let database = Database::create(kind).await;
            let (broker, key) = (database.broker(), key());
            let journal = conversations(&["u", "poison", "poison", "u", "u", "poison", "u"]);
            assert_eq!(broker.position(&key).await, Ok(None), "that creates the table");
            database.execute(refusal).await;
            for (from, stopped, position) in [(0, 1, 2), (2, 0, 3), (3, 2, 6)] {
                let outcomes = broker.publish(&batch(&journal[from..], &key)).await;
                assert_stopped_at(&outcomes, stopped, journal.len() - from);
                assert_eq!(broker.position(&key).await, Ok(Some(position)), "{refusal}");
            }
            deliver(&*broker, &batch(&journal[6..], &key)).await;
            assert_eq!(broker.position(&key).await, Ok(Some(8)), "{refusal}");
            let expected: Vec<_> = journal.iter().filter(|event| event.conversation != "poison").cloned().collect();
            assert_eq!(database.texts().await, bodies(&expected), "{refusal}");
            database.drop().await;
        }
    }
}

#[tokio::test]
async fn the_refused_row_of_a_large_batch_is_found_wherever_it_stands() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key) = (database.broker(), key());
        broker.position(&key).await.unwrap();
        database.execute(refusals(kind)[0]).await;
        let mut from = 0;
        let mut names = vec!["u"; 1000];
        for poisoned in [0, 1, 255, 256, 511, 998, 999] {
            names[poisoned] = "poison";
        }
        let journal = conversations(&names);
        while from < journal.len() {
            let outcomes = broker.publish(&batch(&journal[from..], &key)).await;
            match journal[from..].iter().position(|event| event.conversation == "poison") {
                Some(stopped) => {
                    assert_stopped_at(&outcomes, stopped, journal.len() - from);
                    from += stopped + 1;
                }
                None => from = journal.len(),
            }
        }
        assert_eq!(database.texts().await.len(), 993);
        database.drop().await;
    }
}

#[tokio::test]
async fn an_event_that_was_refused_right_before_a_crash_is_not_behind_the_cursor() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        for (poisoned, key) in (0..3).map(|poisoned| (poisoned, key())) {
            let before = database.broker();
            let mut names = ["u"; 3];
            names[poisoned] = "poison";
            let journal = conversations(&names);
            before.position(&key).await.unwrap();
            if poisoned == 0 {
                database.execute(refusals(kind)[0]).await;
            }
            assert_stopped_at(&before.publish(&batch(&journal, &key)).await, poisoned, 3);
            drop(before);
            let after = database.broker();
            assert_eq!(after.position(&key).await, Ok(Some(journal[poisoned].offset)));
            let rest = rest(&*after, &journal, &key).await;
            assert_stopped_at(&after.publish(&batch(rest, &key)).await, 0, rest.len());
        }
        assert_eq!(database.texts().await.len(), 1 + 2);
        database.drop().await;
    }
}

#[tokio::test]
async fn a_replay_is_inserted_and_leaves_the_cursor_where_it_is_unless_it_stands_at_the_event() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key) = (database.broker(), key());
        let journal = conversations(&["u", "v", "poison"]);
        broker.position(&key).await.unwrap();
        database.execute(refusals(kind)[0]).await;
        assert_stopped_at(&broker.publish(&batch(&journal, &key)).await, 2, 3);
        assert_stopped_at(&broker.publish(&replay(&journal[1..], &key)).await, 1, 2);
        assert_eq!(broker.position(&key).await, Ok(Some(3)));
        database.execute("ALTER TABLE events DROP CONSTRAINT choosy").await;
        deliver(&*broker, &replay(&journal[2..], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(4)));
        deliver(&*broker, &replay(&journal[..1], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(4)));
        let expected: Vec<_> = [0, 1, 1, 2, 0].map(|index: usize| journal[index].clone()).into();
        assert_eq!(database.texts().await, bodies(&expected), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn subscriptions_and_journals_have_cursors_of_their_own() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, first, journal) = (database.broker(), key(), journal(4));
        let second = CursorKey { subscription: "Other".into(), ..first.clone() };
        let third = CursorKey { subscription: "other".into(), ..first.clone() };
        deliver(&*broker, &batch(&journal[..1], &first)).await;
        deliver(&*broker, &batch(&journal[..3], &second)).await;
        assert_eq!(broker.position(&first).await, Ok(Some(journal[0].offset + 1)));
        assert_eq!(broker.position(&second).await, Ok(Some(journal[2].offset + 1)));
        assert_eq!(broker.position(&third).await, Ok(None));
        assert_eq!(broker.position(&key()).await, Ok(None));
        database.drop().await;
    }
}

#[tokio::test]
async fn events_of_a_journal_restored_from_a_backup_are_not_taken_for_those_already_there() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (key, journal) = (key(), journal(6));
        deliver(&*database.broker(), &batch(&journal, &key)).await;
        let broker = database.broker();
        assert_eq!(broker.position(&key).await, Ok(Some(journal[5].offset + 1)));
        // The offsets are given out again; the last batch even ends where the cursor stood.
        let anew: Vec<_> = journal[2..].iter().map(|old| event(old.offset, "new", "after the restore")).collect();
        deliver(&*broker, &batch(&anew[..1], &key)).await;
        assert_eq!(broker.position(&key).await, Ok(Some(anew[0].offset + 1)));
        deliver(&*broker, &batch(&anew, &key)).await;
        assert_eq!(database.texts().await, [bodies(&journal), bodies(&anew)].concat(), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_table_that_was_moved_away_is_begun_anew() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(4));
        deliver(&*broker, &batch(&journal[..2], &key)).await;
        database.execute("ALTER TABLE events RENAME TO old_events").await;
        let outcomes = broker.publish(&batch(&journal[2..], &key)).await;
        // PostgreSQL knows the statement's table by number, and has it in the cache.
        if outcomes != Outcome::Delivered.all(2) {
            assert!(reason(&outcomes[0]).contains("was the table changed?"), "{outcomes:?}");
            deliver(&*broker, &batch(&journal[2..], &key)).await;
        }
        assert_eq!(database.texts().await, bodies(&journal[2..]));
        database.drop().await;
    }
}

#[tokio::test]
async fn a_table_that_was_altered_makes_no_dead_letters() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key, journal) = (database.broker(), key(), journal(4));
        deliver(&*broker, &batch(&journal[..2], &key)).await;
        database
            .execute(kind.pick("ALTER TABLE events ADD n INT NOT NULL DEFAULT 0", "ALTER TABLE events ADD n INT NOT NULL"))
            .await;
        if kind == Kind::Postgres {
            database.execute("ALTER TABLE events ALTER n DROP DEFAULT").await;
        }
        let expected = format!("cannot be used: the table found is events (id {} PRIMARY KEY", kind.pick("integer", "int(11)"));
        for batch in [batch(&journal[2..], &key), replay(&journal[2..], &key)] {
            let outcomes = broker.publish(&batch).await;
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");
            assert!(reason(&outcomes[0]).contains(&expected), "{outcomes:?}");
        }
        assert!(broker.is_ready().await.unwrap_err().contains(&expected));
        database.execute("ALTER TABLE events DROP n").await;
        deliver(&*broker, &batch(&journal[2..], &key)).await;
        assert_eq!(database.texts().await, bodies(&journal), "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_table_in_which_cursors_could_not_be_stored_is_refused() {
    const COLUMNS: &str = "journal VARCHAR(32) NOT NULL, subscription VARCHAR(255) NOT NULL, next_offset BIGINT NOT NULL";
    const BY_BYTES: &str = "journal VARCHAR(32) COLLATE utf8mb4_bin, subscription VARCHAR(200) COLLATE utf8mb4_bin, \
         next_offset BIGINT NOT NULL, writer VARCHAR(32) COLLATE utf8mb4_bin NOT NULL, PRIMARY KEY (journal, subscription)";
    let without_writer = format!("({COLUMNS}, PRIMARY KEY (journal, subscription))");
    let without_key = format!("({COLUMNS}, writer VARCHAR(32) NOT NULL)");
    let with_another_key = format!("({COLUMNS}, writer VARCHAR(32) NOT NULL, PRIMARY KEY (journal))");
    let of_both = [
        (without_writer.as_str(), "the table found is trunkline_cursors (journal"),
        (&without_key, "the table found is trunkline_cursors (journal"),
        (&with_another_key, "the table found is trunkline_cursors (journal"),
    ];
    let blind =
        format!("({}) CHARACTER SET utf8mb4", BY_BYTES.replace("(200) COLLATE utf8mb4_bin", "(200) COLLATE utf8mb4_general_ci"));
    let (my_isam, aria) = (format!("({BY_BYTES}) ENGINE = MyISAM"), format!("({BY_BYTES}) ENGINE = Aria"));
    let of_mariadb = [
        (blind.as_str(), "subscription varchar(200) COLLATE utf8mb4_general_ci PRIMARY KEY"),
        (&my_isam, "the table `trunkline_cursors` has the storage engine MyISAM, which has no transactions"),
        (&aria, "convert it with `ALTER TABLE trunkline_cursors ENGINE = InnoDB`"),
    ];
    for kind in KINDS {
        let database = Database::create(kind).await;
        let own: &[(&str, &str)] = kind.pick(&[], &of_mariadb);
        for (table, expected) in of_both.iter().chain(own) {
            database.execute(&format!("CREATE TABLE trunkline_cursors {table}")).await;
            let broker = database.broker();
            let outcomes = broker.publish(&batch(&journal(1), &key())).await;
            assert!(reason(&outcomes[0]).contains(expected), "{table}: {outcomes:?}");
            assert_eq!(broker.is_ready().await.unwrap_err(), reason(&outcomes[0]));
            assert_eq!(tables(&database).await, ["trunkline_cursors"]);
            database.execute("DROP TABLE trunkline_cursors").await;
        }
        database.drop().await;
    }
}

/// The statements of the manual for a dialect.
fn statements(heading: &str) -> String {
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/brokers/sql.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let from = manual.split(&format!("{heading}:\n\n```sql\n")).nth(1).expect("the heading is in the manual");
    from.split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn tables_made_by_hand_as_the_manual_says_are_used() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        database.execute(&statements(kind.pick("PostgreSQL", "MySQL and MariaDB"))).await;
        let (broker, key, journal) = (database.broker(), key(), journal(2));
        assert_eq!(broker.is_ready().await, Ok(()));
        deliver(&*broker, &batch(&journal, &key)).await;
        assert_eq!(database.texts().await, bodies(&journal));
        database.drop().await;
    }
}

#[tokio::test]
async fn asking_whether_it_is_ready_creates_nothing() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let broker = database.broker();
        assert_eq!(broker.is_ready().await, Ok(()));
        assert_eq!(tables(&database).await, [""; 0]);
        assert_eq!(rest(&*broker, &journal(2), &key()).await.len(), 2);
        assert_eq!(tables(&database).await, ["events", "trunkline_cursors"]);
        assert_eq!(broker.is_ready().await, Ok(()));
        assert_eq!(database.texts().await, [""; 0]);
        database.drop().await;
    }
}

#[tokio::test]
async fn the_schema_of_the_environment_is_used_in_postgresql() {
    let database = Database::create(Kind::Postgres).await;
    let of_schema = |schema| build(&database.yaml(), Some(schema)).0.unwrap();
    let missing = of_schema("rasa").is_ready().await.unwrap_err();
    assert!(
        missing.ends_with("has no schema `rasa`, which POSTGRESQL_SCHEMA names; create it, or change the variable"),
        "{missing}"
    );
    // What stands in another schema is not in the way.
    database.execute("CREATE SCHEMA rasa; CREATE TABLE events (id TEXT)").await;
    let (broker, journal) = (of_schema("rasa"), journal(2));
    assert_eq!(broker.is_ready().await, Ok(()));
    deliver(&*broker, &batch(&journal, &key())).await;
    assert_eq!(database.strings("SELECT data FROM rasa.events ORDER BY id").await, bodies(&journal));
    assert!(of_schema("public").is_ready().await.unwrap_err().contains("the table found is events (id text)"));
    database.drop().await;
}

#[tokio::test]
async fn a_commit_is_answered_when_it_is_on_the_disk_whatever_the_database_says() {
    let database = Database::create(Kind::Postgres).await;
    database.execute(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name)).await;
    let (broker, key) = (database.broker(), key());
    broker.position(&key).await.unwrap();
    // The trigger sees the setting of the session that inserts.
    database
        .execute(
            "CREATE FUNCTION choosy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE 'synchronous_commit is %', current_setting('synchronous_commit'); END $$;
             CREATE TRIGGER choosy BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION choosy()",
        )
        .await;
    let outcomes = broker.publish(&batch(&journal(1), &key)).await;
    assert!(reason(&outcomes[0]).ends_with("synchronous_commit is on"), "{outcomes:?}");
    database.drop().await;
}

#[tokio::test]
async fn ids_that_the_server_gives_out_twice_or_no_more_are_no_fault_of_the_row() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let (broker, key) = (database.broker(), key());
        broker.position(&key).await.unwrap();
        match kind {
            Kind::Postgres => database.execute("INSERT INTO events (id) VALUES (2)").await,
            Kind::MariaDb => database.execute("ALTER TABLE events AUTO_INCREMENT = 2147483647").await,
        }
        let outcomes = broker.publish(&batch(&journal(2), &key)).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { .. })), "{outcomes:?}");
        assert!(reason(&outcomes[0]).contains("`events.id`"), "{outcomes:?}");
        database.drop().await;
    }
}
