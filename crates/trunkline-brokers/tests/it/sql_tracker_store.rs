//! Reading the tracker store of a Rasa server.

use std::path::Path;

use rusqlite::Connection;
use trunkline_brokers::SqlTrackerStore;
use trunkline_brokers::sql::StoredEvent;

use crate::servers::{Database, KINDS, Kind, read};

/// The table as SQLAlchemy creates it for Rasa, with 300 events of `ann` whose order is not that of the ids, and a few others.
fn table(id: &str) -> String {
    let rows: Vec<String> = (1..=300)
        .map(|n| format!("('ann', 'user', {}.25, NULL, NULL, '{{\"event\": \"user\", \"n\": {n}}}')", 1_000_000 - n))
        .chain(["Ann", "bob", "bob"].iter().enumerate().map(|(n, who)| {
            format!("('{who}', 'action', 5.5, 'greet', 'action_listen', '{{\"event\": \"action\", \"n\": {n}}}')")
        }))
        .collect();
    format!(
        "CREATE TABLE events ({id}, sender_id VARCHAR(255) NOT NULL, type_name VARCHAR(255) NOT NULL, timestamp FLOAT,
             intent_name VARCHAR(255), action_name VARCHAR(255), data TEXT, PRIMARY KEY (id));
         CREATE INDEX ix_events_sender_id ON events (sender_id);
         INSERT INTO events (sender_id, type_name, timestamp, intent_name, action_name, data) VALUES {}",
        rows.join(", ")
    )
}

fn store(yaml: &str, schema: Option<&str>) -> SqlTrackerStore {
    let environment = |name: &str| schema.filter(|_| name == "POSTGRESQL_SCHEMA").map(str::to_owned);
    let (store, said) = read(yaml, |section| SqlTrackerStore::from_section_in(section, Path::new("/nowhere"), &environment));
    assert_eq!(said, [""; 0]);
    store.unwrap()
}

async fn history(store: &SqlTrackerStore, sender_id: &str) -> Vec<StoredEvent> {
    let mut conversation = store.conversation(sender_id).await.unwrap();
    let (mut events, count) = (Vec::new(), conversation.remaining());
    while let Some(page) = conversation.next_page().await.unwrap() {
        assert!(page.len() <= 256);
        events.extend(page);
    }
    assert_eq!(events.len(), count);
    events
}

async fn assert_is_read(store: &SqlTrackerStore) {
    assert_eq!(store.conversations().await.unwrap(), ["ann", "Ann", "bob"]);
    let ann = history(store, "ann").await;
    assert_eq!(ann.len(), 300);
    for (event, n) in ann.iter().zip((1..=300).rev()) {
        assert_eq!(event.id, n);
        assert_eq!(event.data, format!("{{\"event\": \"user\", \"n\": {n}}}"));
        // MySQL's FLOAT has 24 bits.
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let expected = 1_000_000.25 - n as f64;
        assert!((event.timestamp.unwrap() - expected).abs() < 0.26, "{event:?}");
    }
    let bob = history(store, "bob").await;
    let expected = [302, 303].map(|id| StoredEvent {
        id,
        timestamp: Some(5.5),
        data: format!("{{\"event\": \"action\", \"n\": {}}}", id - 301),
    });
    assert_eq!(bob, expected);
    assert_eq!(history(store, "nobody").await, []);
}

#[tokio::test]
async fn conversations_are_read_page_by_page_in_the_order_of_their_time_from_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rasa.db");
    Connection::open(&path).unwrap().execute_batch(&table("id INTEGER NOT NULL")).unwrap();
    assert_is_read(&store(&format!("dialect: sqlite\ndb: {}", path.display()), None)).await;
}

#[tokio::test]
async fn conversations_are_read_page_by_page_in_the_order_of_their_time_from_a_server() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        let id = kind.pick("id SERIAL NOT NULL", "id INTEGER NOT NULL AUTO_INCREMENT");
        database.execute(&table(id)).await;
        let yaml = format!("{}\nlogin_db: postgres", database.yaml());
        assert_is_read(&store(&yaml, None)).await;
        database.drop().await;
    }
}

#[tokio::test]
async fn the_schema_of_the_environment_is_used() {
    let database = Database::create(Kind::Postgres).await;
    let sql = table("id SERIAL NOT NULL");
    database.execute(&format!("CREATE TABLE events (id TEXT); CREATE SCHEMA rasa; SET search_path TO rasa; {sql}")).await;
    assert_is_read(&store(&database.yaml(), Some("rasa"))).await;
    database.drop().await;
}

#[tokio::test]
async fn what_is_no_tracker_store_is_named_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rasa.db");
    let of_file = store(&format!("db: {}", path.display()), None);
    let place = format!("`{}`", path.display());
    assert_eq!(of_file.conversations().await.unwrap_err(), format!("there is no database {place}"));
    assert!(!path.exists());
    let connection = Connection::open(&path).unwrap();
    let has_no_table = "has no table `events`; is it the one that Rasa's tracker store writes to?";
    assert_eq!(of_file.conversations().await.unwrap_err(), format!("the SQLite database {place} {has_no_table}"));
    connection.execute_batch("CREATE TABLE events (id INTEGER PRIMARY KEY, sender_id TEXT, data TEXT)").unwrap();
    let is_the_brokers = "has the columns id, sender_id, data, expected are id, sender_id, timestamp, data; the table of Rasa's \
                          event broker has the same name; is this the database of the tracker store?";
    assert_eq!(
        of_file.conversations().await.unwrap_err(),
        format!("the table `events` in the SQLite database {place} {is_the_brokers}")
    );
    for kind in KINDS {
        let database = Database::create(kind).await;
        let store = store(&database.yaml(), None);
        assert!(store.conversations().await.unwrap_err().ends_with(has_no_table));
        let id = kind.pick("SERIAL", "INTEGER AUTO_INCREMENT");
        database.execute(&format!("CREATE TABLE events (id {id} PRIMARY KEY, sender_id TEXT, data TEXT)")).await;
        assert!(store.conversations().await.unwrap_err().ends_with(is_the_brokers));
        database.drop().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let store = store(&format!("dialect: postgresql\nurl: localhost:{closed}\ndb: rasa"), None);
    assert_eq!(store.to_string(), format!("the PostgreSQL database `rasa` at localhost:{closed}"));
    let said = store.conversations().await.unwrap_err();
    assert!(said.starts_with(&format!("{store} cannot be reached: the connection was refused")), "{said}");
}

#[tokio::test]
async fn a_question_to_a_large_table_may_take_its_time() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        // The only conversation is called after the limit of the session that asks.
        let view = "CREATE VIEW events AS SELECT 1 AS id, statement_limit() AS sender_id, 1e0 AS timestamp, '{}' AS data";
        match kind {
            Kind::Postgres => {
                let function = "CREATE FUNCTION statement_limit() RETURNS text LANGUAGE sql
                                AS $$ SELECT current_setting('statement_timeout') $$";
                database.execute(&format!("{function}; {view}")).await;
            }
            Kind::MariaDb => {
                let function = "CREATE FUNCTION statement_limit() RETURNS text RETURN round(@@max_statement_time)";
                database.execute(function).await;
                database.execute(view).await;
            }
        }
        assert_eq!(store(&database.yaml(), None).conversations().await.unwrap(), ["0"], "{kind:?}");
        database.drop().await;
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ended_meanwhile_is_made_anew_at_once() {
    for kind in KINDS {
        let database = Database::create(kind).await;
        database.execute(&table(kind.pick("id SERIAL NOT NULL", "id INTEGER NOT NULL AUTO_INCREMENT"))).await;
        let store = store(&database.yaml(), None);
        let mut conversation = store.conversation("ann").await.unwrap();
        for expected in [Some(256), Some(44), None] {
            database.end_sessions().await;
            assert_eq!(conversation.next_page().await.unwrap().map(|page| page.len()), expected);
        }
        database.end_sessions().await;
        assert_eq!(history(&store, "bob").await.len(), 2);
        database.drop().await;
    }
}
