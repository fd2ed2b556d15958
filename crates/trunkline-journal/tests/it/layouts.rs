//! Journals of other layouts: those of older programs are read as they are, and brought up to date when they are written.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use trunkline_journal::{Append, By, DeadLetterId, Journal, Limits, OpenError, Options, ReadOnlyJournal};

use super::common::{Opened, event, known, many, tamper};

/// A copy of the journal that a program of layout 2 wrote; see the README beside it.
fn layout_2() -> TempDir {
    let directory = TempDir::new().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/layout-2");
    fs::copy(fixture.join("journal.db"), directory.path().join("journal.db")).unwrap();
    fs::create_dir(directory.path().join("positions")).unwrap();
    fs::copy(fixture.join("positions/log"), directory.path().join("positions/log")).unwrap();
    directory
}

/// Everything that was recorded is remembered for longer than the fixture will be of use.
fn options() -> Options {
    Options { deduplication_window: std::time::Duration::from_hours(24 * 365 * 1000), ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_layout_2_verifies_is_taken_over_and_goes_on() {
    let directory = layout_2();
    let opened = Opened::with(directory.path(), options());
    let journal = &opened.journal;
    assert_eq!((journal.head(), journal.opened_at(), journal.layout_2_to()), (26, 26, 26));
    let events = journal.read(1, Limits::default()).await.unwrap();
    assert_eq!((events.events.len(), events.damaged.len()), (26, 0));
    // The ids that brokers have already.
    for (offset, id) in [(1, "01a22d9f2e0879129ca6000000000001"), (26, "01a22d9f2eb079129ca600000000001a")] {
        assert_eq!(journal.event(offset).await.unwrap().unwrap().id.to_string(), id);
    }
    for (conversation, identity, offset) in [
        ("ed", "source:log:10027089-0-27ee24fda0d35ff6c0207a3810f8787f", 1),
        ("ann", "rest:3:ann:k-1", 6),
        ("ann", "turn:6", 9),
        ("ann", "turn:14:1", 16),
        ("cy", "api:events:list-1", 19),
        ("bob", "api:events:one-1", 20),
        ("dora", "api:conversation:4:dora:c-1", 24),
        ("dora", "api:messages:4:dora:m-1", 25),
    ] {
        assert_eq!(journal.find(conversation, identity).await.unwrap(), Some(offset), "{identity}");
        let again = opened.append(known(conversation, 1, identity)).await;
        assert_eq!((again.last, again.duplicate), (offset, true), "{identity}");
    }
    let subscriptions: Vec<_> = journal.subscriptions().await.unwrap().into_iter().map(|stored| stored.name).collect();
    assert_eq!(subscriptions, ["assistant", "picky"]);
    let letter = journal.dead_letter(&DeadLetterId::new("2")).await.unwrap().unwrap();
    assert_eq!((letter.event.offset, letter.event.event_type.as_str(), letter.reason.as_str()), (24, "slot", "no slots here"));
    assert_eq!(journal.position("log").await.unwrap().unwrap().split(' ').next(), Some("trunkline-position"));
    assert_eq!(journal.read_by(By::Conversation("ann"), 1, many(100)).await.unwrap().events.len(), 15);

    assert_eq!(opened.append(Append::one(event("ann", 1))).await.first, 27);
    opened.close().await;
    let verification = ReadOnlyJournal::open(directory.path()).unwrap().verify(&mut |_, _| ()).unwrap();
    assert!(verification.is_sound() && verification.records == 27, "{verification:?}");
    let opened = Opened::with(directory.path(), options());
    assert_eq!((opened.journal.layout_2_to(), opened.journal.opened_at()), (26, 27));
}

#[test]
fn a_journal_of_layout_2_is_read_as_it_is() {
    let directory = layout_2();
    tamper(directory.path(), "index.db", INDEX_OF_LAYOUT_1);
    let before = fs::read(directory.path().join("journal.db")).unwrap();
    let journal = ReadOnlyJournal::open(directory.path()).unwrap();
    assert_eq!(journal.read(1, Limits::default()).unwrap().events.len(), 26);
    assert_eq!(journal.read_by(By::Conversation("ann"), 1, many(4)).unwrap().events.last().unwrap().offset, 6);
    assert!(journal.read_by(By::User("ann"), 1, many(4)).unwrap().events.is_empty());
    assert_eq!(journal.conversations(9).unwrap()[0].conversation, "ann");
    assert_eq!(journal.dead_letters(None).unwrap().len(), 2);
    assert_eq!((journal.stats().unwrap().first, journal.stats().unwrap().conversations), (1, 1));
    assert!(journal.verify(&mut |_, _| ()).unwrap().is_sound());
    assert_eq!(fs::read(directory.path().join("journal.db")).unwrap(), before);
}

/// As programs of layout 2 wrote it; it knows one conversation, and not all of that.
const INDEX_OF_LAYOUT_1: &str = "
    CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 1), journal TEXT NOT NULL, indexed_to INTEGER NOT NULL);
    CREATE TABLE identities (hash INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (hash, offset)) WITHOUT ROWID;
    CREATE TABLE conversations (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, events INTEGER NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL);
    CREATE TABLE conversation_events (conversation INTEGER NOT NULL, offset INTEGER NOT NULL,
        PRIMARY KEY (conversation, offset)) WITHOUT ROWID;
    INSERT INTO progress VALUES (1, 'f96ccbfa31b047669666caea36449ca6', 4);
    INSERT INTO conversations VALUES (1, 'ann', 2, 3, 4);
    INSERT INTO conversation_events VALUES (1, 3), (1, 4);
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;";

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_layout_1_is_brought_up_to_date() {
    let directory = layout_2();
    tamper(directory.path(), "journal.db", "DROP INDEX dead_letters_by_state; PRAGMA user_version = 1");
    let opened = Opened::at(directory.path());
    assert_eq!((opened.journal.head(), opened.journal.open_dead_letters("sql", 1).await.unwrap()), (26, Vec::new()));
    opened.close().await;
    tamper(directory.path(), "journal.db", "DROP INDEX dead_letters_by_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_program_may_have_added_is_no_damage() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    opened
        .append(Append::one(trunkline_core::NewEvent {
            kind: trunkline_core::Kind::Unknown(40),
            shape: trunkline_core::Shape::Unknown(50),
            ..event("a", 1)
        }))
        .await;
    opened.close().await;
    let opened = Opened::at(directory.path());
    let read = opened.journal.read(1, Limits::default()).await.unwrap();
    assert_eq!((read.damaged.len(), read.events[0].kind.number(), read.events[0].shape.number()), (0, 40, 50));
}

#[test]
fn a_journal_of_a_newer_layout_is_refused() {
    let directory = TempDir::new().unwrap();
    tamper(directory.path(), "journal.db", "PRAGMA user_version = 99");
    let opened = Journal::open(directory.path(), Options::default());
    assert!(matches!(opened, Err(OpenError::Newer { found: 99, .. })));
    assert!(matches!(ReadOnlyJournal::open(&directory.path().join("nowhere")), Err(OpenError::Missing { .. })));
}
