//! What the engine of SQLite does with its files.

use std::fs;
use std::sync::Arc;

use tempfile::TempDir;
use trunkline_journal::{
    Append, By, DeadLetterState, Journal, Limits, NewDeadLetter, OpenError, Options, Progress, ReadOnlyJournal,
};

use super::common::{Opened, event, known, many, tamper};

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_stable_across_restarts() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    opened.append(Append::one(event("a", 1))).await;
    let before = opened.journal.event(1).await.unwrap().unwrap();
    opened.close().await;
    let opened = Opened::at(directory.path());
    assert_eq!(*opened.journal.event(1).await.unwrap().unwrap(), *before);
    assert_eq!((opened.journal.opened_at(), opened.journal.layout_2_to()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    let refused = Journal::open(directory.path(), Options::default()).map(drop).unwrap_err();
    assert!(
        matches!(&refused, OpenError::InUse { holder: Some(pid), .. } if *pid == std::process::id().to_string()),
        "{refused}"
    );
    assert!(ReadOnlyJournal::is_in_use(directory.path()));
    opened.close().await;
    assert!(!ReadOnlyJournal::is_in_use(directory.path()));
    Opened::at(directory.path()).close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_left_out_and_reported_by_its_offset() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    for number in 0..14 {
        opened.append(Append::one(event("a", number))).await;
    }
    opened.close().await;
    for (offset, damage) in [
        (4, "body = replace(body, '1.5', '1.6')"),
        (5, "shape = 1"),
        (7, "conversation = 'b'"),
        (8, "user = 'eve'"),
        (10, "session = 's'"),
        (12, "answers = 3"),
    ] {
        tamper(directory.path(), "journal.db", &format!("UPDATE events SET {damage} WHERE offset = {offset}"));
    }
    let opened = Opened::at(directory.path());
    let chunk = opened.journal.read(1, Limits::default()).await.unwrap();
    let damaged = [4, 5, 7, 8, 10, 12];
    assert_eq!((chunk.damaged.as_slice(), chunk.events.len(), chunk.next), (damaged.as_slice(), 8, 15));
    let verification = ReadOnlyJournal::open(directory.path()).unwrap().verify(&mut |_, _| ()).unwrap();
    assert_eq!((verification.damaged.as_slice(), verification.is_sound()), (damaged.as_slice(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_page_costs_the_records_on_it() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    let known = |number: u64| Append::one(event("a", 0)).known_by(Some(format!("k{number}")));
    for number in 1..=2000 {
        opened.append(known(number)).await;
    }
    opened.close().await;
    let path = directory.path().join("journal.db");
    let mut file = fs::read(&path).unwrap();
    let middle = file.len() / 4096 / 2 * 4096;
    file[middle..middle + 4096].fill(0xa5);
    fs::write(&path, file).unwrap();

    let opened = Opened::at(directory.path());
    let journal = &opened.journal;
    let (mut next, mut events, mut damaged) = (1, 0, Vec::new());
    while next <= journal.head() {
        let chunk = journal.read(next, Limits::default()).await.unwrap();
        (events, next) = (events + chunk.events.len(), chunk.next);
        damaged.extend(chunk.damaged);
    }
    assert_eq!(events + damaged.len(), 2000);
    assert!((1..=60).contains(&damaged.len()), "{damaged:?} lost with one page");
    let named: Vec<_> = (1..=2000).collect();
    assert_eq!(journal.events(&named).await.unwrap().len(), events);
    // Whoever sends one of them again is not held up by it for ever.
    let again = opened.append(known(damaged[0])).await;
    assert_eq!((again.duplicate, again.first), (false, 2001));
    assert!(opened.append(known(1)).await.duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_file_is_made_anew_when_missing_damaged_or_of_another_journal() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    for number in 0..300 {
        opened.append(known(&format!("c{}", number % 3), number, &format!("id-{number}"))).await;
    }
    opened.close().await;
    let index = directory.path().join("index.db");
    let other = TempDir::new().unwrap();
    Opened::at(other.path()).close().await;
    let ways: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&index).unwrap(),
        &|| fs::write(&index, b"this is no database, this is no database, this is no database").unwrap(),
        &|| assert!(fs::copy(other.path().join("index.db"), &index).is_ok()),
        &|| tamper(directory.path(), "index.db", "PRAGMA user_version = 99"),
    ];
    for destroy in ways {
        destroy();
        let opened = Opened::at(directory.path());
        let journal = &opened.journal;
        assert_eq!(journal.find("c1", "id-7").await.unwrap(), Some(8));
        assert_eq!(journal.read_by(By::Conversation("c1"), 1, many(1000)).await.unwrap().events.len(), 100);
        assert!(opened.append(known("c2", 1, "id-299")).await.duplicate);
        assert_eq!(journal.conversations(10).await.unwrap().len(), 3);
        opened.close().await;
        assert_eq!(ReadOnlyJournal::open(directory.path()).unwrap().conversations(10).unwrap()[0].events, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_indexed_yet_is_found_too_also_from_another_process() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    for number in 0..20 {
        opened.append(Append::one(event("a", number))).await;
    }
    let by = By::Conversation("a");
    let found = opened.journal.read_by(by, 5, many(3)).await.unwrap();
    assert_eq!(found.events.iter().map(|event| event.offset).collect::<Vec<_>>(), [5, 6, 7]);
    let elsewhere = ReadOnlyJournal::open(directory.path()).unwrap();
    assert_eq!(elsewhere.read_by(by, 5, many(100)).unwrap().events.len(), 16);
    assert_eq!(elsewhere.read(1, Limits::default()).unwrap().events.len(), 20);
    let mut found = 0;
    let mut next = 1;
    while next <= elsewhere.head().unwrap() {
        let page = elsewhere.read_by(by, next, many(3)).unwrap();
        (found, next) = (found + page.events.len(), page.next);
    }
    assert_eq!(found, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_reads_all_there_is() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    for number in 0..3 {
        opened.append(Append::one(event("a", number))).await;
    }
    let first = opened.journal.event(1).await.unwrap().unwrap();
    opened.journal.save_progress("sql", Progress { position: 3, unsettled: Vec::new() }).await.unwrap();
    let letter = |subscription: &str| NewDeadLetter {
        subscription: subscription.to_owned(),
        event: Arc::clone(&first),
        reason: "no".to_owned(),
        attempts: 3,
        state: DeadLetterState::Dead,
    };
    let ids = opened.journal.add_dead_letters(vec![letter("sql"), letter("file")]).await.unwrap();
    let elsewhere = ReadOnlyJournal::open(directory.path()).unwrap();
    assert_eq!((elsewhere.id(), elsewhere.head().unwrap()), (opened.journal.id(), 3));
    assert_eq!((elsewhere.event(1).unwrap().as_ref(), elsewhere.event(4).unwrap()), (Some(&first), None));
    assert_eq!(elsewhere.offset_at(first.time).unwrap(), 1);
    assert_eq!(elsewhere.subscriptions().unwrap(), opened.journal.subscriptions().await.unwrap());
    assert_eq!((elsewhere.dead_letter_count().unwrap(), elsewhere.dead_letters(None).unwrap().len()), (2, 2));
    let (listed, named) = (elsewhere.dead_letters(Some("file")).unwrap(), elsewhere.dead_letter(&ids[1]).unwrap().unwrap());
    assert_eq!((listed.len(), &listed[0].id, &named.id), (1, &ids[1], &ids[1]));
    assert_eq!((named.subscription.as_str(), &named.event), ("file", &first));
    let (stats, here) = (elsewhere.stats().unwrap(), opened.journal.stats().await.unwrap());
    assert_eq!((stats.first, stats.head, stats.first_time, stats.head_time), (1, 3, here.first_time, here.head_time));
    // Nothing more than is there.
    for from in [3, 4, 9] {
        let chunk = elsewhere.read(from, Limits::default()).unwrap();
        assert_eq!((chunk.events.len(), chunk.next), (usize::from(from == 3), from.max(4)));
    }
    opened.append(Append::one(event("b", 4))).await;
    opened.close().await;
    // What the index knows is in its file now.
    assert_eq!((elsewhere.stats().unwrap().conversations, elsewhere.stats().unwrap().indexed_to), (2, 4));
    let mut shown = Vec::new();
    assert!(elsewhere.verify(&mut |at, of| shown.push((at, of))).unwrap().is_sound());
    assert_eq!(shown, [(4, 4)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_before_and_behind_the_edge_of_the_index_are_found_in_order() {
    let directory = TempDir::new().unwrap();
    let opened = Opened::at(directory.path());
    for number in 0..40 {
        opened.append(known(if number % 4 == 0 { "b" } else { "a" }, number, &format!("id-{number}"))).await;
    }
    // What was there when the journal is opened is in the file, what comes now in memory only.
    opened.close().await;
    let opened = Opened::at(directory.path());
    for number in 40..80 {
        opened.append(known(if number % 4 == 0 { "b" } else { "a" }, number, &format!("id-{number}"))).await;
    }
    let expected: Vec<_> = (1..=80).filter(|offset| offset % 4 == 1).collect();
    let forwards = opened.journal.read_by(By::Conversation("b"), 1, many(100)).await.unwrap();
    assert_eq!(forwards.events.iter().map(|event| event.offset).collect::<Vec<_>>(), expected);
    let backwards = opened.journal.conversation_back("b", 1000, many(15)).await.unwrap();
    let newest: Vec<_> = expected.iter().rev().take(15).copied().collect();
    assert_eq!(backwards.events.iter().map(|event| event.offset).collect::<Vec<_>>(), newest);
    for (number, offset) in [(8, 9), (44, 45)] {
        assert_eq!(opened.journal.find("b", &format!("id-{number}")).await.unwrap(), Some(offset));
    }
    assert_eq!(opened.journal.conversations(10).await.unwrap()[1].events, 20);
}
