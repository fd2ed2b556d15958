//! What the journal promises, on real files.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use trunkline_core::{Clock, NewEvent, Offset, Timestamp};
use trunkline_journal::{
    Append, DeadLetterState, Death, Journal, Limits, NewDeadLetter, OfflineJournal, OpenError, Options, Progress, Retention,
    Status, Unsettled,
};

fn event(conversation: &str, number: usize) -> NewEvent {
    let text = format!(r#"{{"sender_id": "{conversation}", "event": "slot", "timestamp": 1.5, "name": "n", "value": {number}}}"#);
    NewEvent::parse(text.as_bytes(), None, 1.0).unwrap()
}

fn open(directory: &Path) -> Journal {
    Journal::open(directory, Options::default()).unwrap()
}

/// A clock that stands until it is moved.
fn standing_clock() -> (Clock, Arc<AtomicU64>) {
    let millis = Arc::new(AtomicU64::new(1_000_000_000));
    let shared = Arc::clone(&millis);
    (Clock::from_fn(move || Duration::from_millis(shared.load(Ordering::Relaxed))), millis)
}

async fn bodies(journal: &Journal) -> Vec<String> {
    let (mut next, mut found) = (1, Vec::new());
    while next <= journal.head() {
        let chunk = journal.read(next, Limits::default()).await.unwrap();
        assert!(chunk.next > next && chunk.damaged.is_empty());
        found.extend(chunk.events.iter().map(|event| event.body_str().to_owned()));
        next = chunk.next;
    }
    found
}

fn many(events: usize) -> Limits {
    Limits { events, ..Limits::default() }
}

/// Runs `sql` on the journal's file, behind its back.
fn tamper(directory: &Path, file: &str, sql: &str) {
    rusqlite::Connection::open(directory.join(file)).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_back_in_order_from_memory_and_from_disk() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    let mut expected = Vec::new();
    for number in 0..50 {
        let (one, two) = (event("a", number), event("b", number));
        expected.extend([one.clone(), two.clone()].map(|event| String::from_utf8(event.body.to_vec()).unwrap()));
        let appended = journal.append(Append::many(vec![one, two])).await.unwrap();
        assert_eq!(
            (appended.first, appended.last, appended.duplicate),
            (2 * number as Offset + 1, 2 * number as Offset + 2, false)
        );
    }
    assert_eq!(bodies(&journal).await, expected);
    journal.close().await;
    assert!(journal.append(Append::one(event("a", 0))).await.is_err());

    let journal = open(directory.path());
    assert_eq!(journal.head(), 100);
    assert_eq!(bodies(&journal).await, expected);
    let chunk = journal.read(90, Limits { events: 3, bytes: usize::MAX }).await.unwrap();
    assert_eq!((chunk.events[0].offset, chunk.events.len(), chunk.next), (90, 3, 93));
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_stable_across_restarts() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    journal.append(Append::one(event("a", 1))).await.unwrap();
    let before = journal.event(1).await.unwrap().unwrap();
    journal.close().await;
    let journal = open(directory.path());
    assert_eq!(*journal.event(1).await.unwrap().unwrap(), *before);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_share_commits_and_keep_each_senders_order() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    let senders: Vec<_> = (0..32)
        .map(|sender| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for number in 0..50 {
                    journal.append(Append::one(event(&format!("c{sender}"), number))).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(journal.head(), 1600);
    for sender in 0..32 {
        let chunk = journal.conversation(&format!("c{sender}"), 1, many(1000)).await.unwrap();
        let numbers: Vec<_> = chunk.events.iter().map(|event| event.body.clone()).collect();
        let expected: Vec<_> = (0..50).map(|number| event(&format!("c{sender}"), number).body).collect();
        assert_eq!(numbers, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_append_of_an_identity_is_answered_with_the_first() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    let append = |number| Append::many(vec![event("a", number), event("a", number + 1)]).with_identity("key-1");
    let first = journal.append(append(0)).await.unwrap();
    assert_eq!((first.first, first.last, first.duplicate), (1, 2, false));
    let second = journal.append(append(5)).await.unwrap();
    assert_eq!((second.last, second.duplicate), (2, true));
    assert_eq!(journal.head(), 2);
    journal.close().await;

    let journal = open(directory.path());
    assert!(journal.append(append(7)).await.unwrap().duplicate);
    assert_eq!(journal.find("key-1").await.unwrap(), Some(2));
    assert_eq!(journal.find("key-2").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_identity_in_flight_many_times_is_recorded_once() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(Append::one(event("a", 1)).with_identity("same")).await.unwrap() })
        })
        .collect();
    let mut recorded = 0;
    for task in tasks {
        let appended = task.await.unwrap();
        assert_eq!(appended.last, 1);
        recorded += usize::from(!appended.duplicate);
    }
    assert_eq!((recorded, journal.head()), (1, 1));
    let twice = vec![Append::one(event("a", 1)).with_identity("x"), Append::one(event("a", 2)).with_identity("x")];
    let answers = journal.append_all(twice).await.unwrap();
    assert_eq!((answers[0].duplicate, answers[1].duplicate, answers[1].last), (false, true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_forgotten_after_the_window() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let options = Options { clock, deduplication_window: Duration::from_mins(1), ..Options::default() };
    let journal = Journal::open(directory.path(), options).unwrap();
    let append = || Append::one(event("a", 1)).with_identity("key");
    journal.append(append()).await.unwrap();
    millis.fetch_add(60_000, Ordering::Relaxed);
    assert!(journal.append(append()).await.unwrap().duplicate);
    millis.fetch_add(1, Ordering::Relaxed);
    assert!(!journal.append(append()).await.unwrap().duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_forgotten_after_so_many_events() {
    let directory = TempDir::new().unwrap();
    let journal = Journal::open(directory.path(), Options { deduplication_events: 3, ..Options::default() }).unwrap();
    let append = || Append::one(event("a", 1)).with_identity("key");
    journal.append(append()).await.unwrap();
    journal.append(Append::many(vec![event("a", 2), event("a", 3)])).await.unwrap();
    assert!(journal.append(append()).await.unwrap().duplicate);
    journal.append(Append::one(event("a", 4))).await.unwrap();
    assert!(!journal.append(append()).await.unwrap().duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_with_the_pid_of_the_first() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    let refused = Journal::open(directory.path(), Options::default()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::InUse { holder: Some(pid), .. } if *pid == std::process::id().to_string()),
        "{refused}"
    );
    assert!(OfflineJournal::is_in_use(directory.path()));
    journal.close().await;
    drop(journal);
    assert!(!OfflineJournal::is_in_use(directory.path()));
    open(directory.path()).close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_left_out_and_reported_by_its_offset() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    for number in 0..10 {
        journal.append(Append::one(event("a", number))).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    tamper(directory.path(), "journal.db", "UPDATE events SET body = replace(body, '1.5', '1.6') WHERE offset = 4");
    tamper(directory.path(), "journal.db", "UPDATE events SET conversation = 'b' WHERE offset = 7");

    let journal = open(directory.path());
    let chunk = journal.read(1, Limits::default()).await.unwrap();
    assert_eq!((chunk.damaged.as_slice(), chunk.events.len(), chunk.next), ([4, 7].as_slice(), 8, 11));
    let verification = OfflineJournal::open(directory.path()).unwrap().verify(&mut |_, _| ()).unwrap();
    assert_eq!((verification.damaged.as_slice(), verification.is_sound()), ([4, 7].as_slice(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_page_costs_the_records_on_it() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    for number in 0..2000 {
        journal.append_all(vec![Append::one(event("a", number))]).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    let path = directory.path().join("journal.db");
    let mut file = std::fs::read(&path).unwrap();
    let middle = file.len() / 4096 / 2 * 4096;
    file[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, file).unwrap();

    let journal = open(directory.path());
    let (mut next, mut events, mut damaged) = (1, 0, 0);
    while next <= journal.head() {
        let chunk = journal.read(next, Limits::default()).await.unwrap();
        (events, damaged, next) = (events + chunk.events.len(), damaged + chunk.damaged.len(), chunk.next);
    }
    assert_eq!(events + damaged, 2000);
    assert!((1..=60).contains(&damaged), "{damaged} records lost with one page");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_file_is_made_anew_when_missing_damaged_or_of_another_journal() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    for number in 0..300 {
        let identity = format!("id-{number}");
        journal.append(Append::one(event(&format!("c{}", number % 3), number)).with_identity(identity)).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    let index = directory.path().join("index.db");
    let other = TempDir::new().unwrap();
    open(other.path()).close().await;
    let ways: [&dyn Fn(); 4] = [
        &|| std::fs::remove_file(&index).unwrap(),
        &|| std::fs::write(&index, b"this is no database, this is no database, this is no database").unwrap(),
        &|| assert!(std::fs::copy(other.path().join("index.db"), &index).is_ok()),
        &|| tamper(directory.path(), "index.db", "PRAGMA user_version = 99"),
    ];
    for destroy in ways {
        destroy();
        let journal = open(directory.path());
        assert_eq!(journal.find("id-7").await.unwrap(), Some(8));
        assert_eq!(journal.conversation("c1", 1, many(1000)).await.unwrap().events.len(), 100);
        assert!(journal.append(Append::one(event("c0", 1)).with_identity("id-299")).await.unwrap().duplicate);
        assert_eq!(journal.conversations(10).await.unwrap().len(), 3);
        journal.close().await;
        assert_eq!(OfflineJournal::open(directory.path()).unwrap().conversations(10).unwrap()[0].events, 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_indexed_yet_is_found_too_also_from_another_process() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    for number in 0..20 {
        journal.append(Append::one(event("a", number))).await.unwrap();
    }
    assert_eq!(
        journal.conversation("a", 5, many(3)).await.unwrap().events.iter().map(|event| event.offset).collect::<Vec<_>>(),
        [5, 6, 7]
    );
    let offline = OfflineJournal::open(directory.path()).unwrap();
    assert_eq!(offline.conversation("a", 5, many(100)).unwrap().events.len(), 16);
    assert_eq!(offline.read(1, Limits::default()).unwrap().events.len(), 20);
    let mut found = 0;
    let mut next = 1;
    while next <= offline.head().unwrap() {
        let page = offline.conversation("a", next, many(3)).unwrap();
        (found, next) = (found + page.events.len(), page.next);
    }
    assert_eq!(found, 20);
    let last = journal.last_of_conversation("a", 100, |event, _| event.offset < 10).await.unwrap().unwrap();
    assert_eq!(last.0.offset, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_by_time_finds_the_first_event_at_or_after() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let journal = Journal::open(directory.path(), Options { clock: clock.clone(), ..Options::default() }).unwrap();
    let start = clock.now();
    for number in 0..50 {
        journal.append(Append::one(event("a", number))).await.unwrap();
        millis.fetch_add(if number % 2 == 0 { 0 } else { 1000 }, Ordering::Relaxed);
    }
    assert_eq!(journal.offset_at(Timestamp(0)).await.unwrap(), 1);
    assert_eq!(journal.offset_at(start).await.unwrap(), 1);
    assert_eq!(journal.offset_at(Timestamp(start.0 + 1)).await.unwrap(), 3);
    assert_eq!(journal.offset_at(Timestamp(start.0 + 5000)).await.unwrap(), 11);
    assert_eq!(journal.offset_at(Timestamp(start.0 + 1_000_000)).await.unwrap(), 51);
    // A clock that is set back does not bring events out of order.
    millis.fetch_sub(60_000, Ordering::Relaxed);
    journal.append(Append::one(event("a", 0))).await.unwrap();
    let times: Vec<_> = journal.read(1, Limits::default()).await.unwrap().events.iter().map(|event| event.time).collect();
    assert!(times.is_sorted());
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_and_dead_letters_survive_a_restart() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    journal.append(Append::one(event("a", 1))).await.unwrap();
    let progress = Progress { position: 9, unsettled: vec![Unsettled { offset: 4, attempts: 2, since: 77 }] };
    journal.save_progress("sql", progress.clone()).await.unwrap();
    let letter = NewDeadLetter {
        subscription: "sql".to_owned(),
        event: journal.event(1).await.unwrap().unwrap(),
        reason: "no".to_owned(),
        attempts: 3,
        state: DeadLetterState::Dead,
    };
    assert_eq!(journal.add_dead_letters(vec![letter.clone(), letter]).await.unwrap(), [1, 2]);
    journal.close().await;
    let journal = open(directory.path());
    assert_eq!(journal.subscriptions().await.unwrap()[0].progress, progress);
    let letters = journal.dead_letters(Some("sql".to_owned()), 9).await.unwrap();
    assert_eq!((letters.len(), letters[0].reason.as_str(), letters[0].attempts), (2, "no", 3));
    assert_eq!(letters[0].event, journal.event(1).await.unwrap().unwrap());
    assert!(journal.set_dead_letter(1, DeadLetterState::Replay, None).await.unwrap());
    assert!(journal.delete_dead_letter(2).await.unwrap() && !journal.delete_dead_letter(2).await.unwrap());
    let replayed = journal.dead_letter(1).await.unwrap().unwrap();
    assert_eq!((replayed.state, replayed.reason.as_str(), replayed.attempts), (DeadLetterState::Replay, "no", 3));
    let death = Death { reason: "still no".to_owned(), attempts: 2 };
    assert!(journal.set_dead_letter(1, DeadLetterState::Dead, Some(death)).await.unwrap());
    let dead = journal.dead_letter(1).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.reason.as_str(), dead.attempts), (DeadLetterState::Dead, "still no", 5));
    assert!(dead.died >= replayed.died);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_in_short_by_what_they_wait_for() {
    use DeadLetterState::{Dead, Held, Replay};
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    journal.append(Append::many((0..6).map(|number| event(&format!("c{number}"), number)).collect())).await.unwrap();
    let mut letters = Vec::new();
    for (offset, state, subscription) in
        [(5, Replay, "sql"), (1, Held, "sql"), (4, Dead, "sql"), (2, Replay, "sql"), (3, Replay, "file"), (6, Held, "sql")]
    {
        let event = journal.event(offset).await.unwrap().unwrap();
        letters.push(NewDeadLetter { subscription: subscription.to_owned(), event, reason: String::new(), attempts: 1, state });
    }
    journal.add_dead_letters(letters).await.unwrap();
    let open = async |replays| {
        let letters = journal.open_dead_letters("sql", replays).await.unwrap();
        letters.into_iter().map(|letter| (letter.id, letter.offset, letter.conversation, letter.state)).collect::<Vec<_>>()
    };
    let expected =
        [(2, 1, "c0".into(), Held), (6, 6, "c5".into(), Held), (4, 2, "c1".into(), Replay), (1, 5, "c4".into(), Replay)];
    assert_eq!(open(usize::MAX).await, expected);
    assert_eq!(open(1).await, expected[..3]);
    assert_eq!(journal.dead_letters(None, 2).await.unwrap().iter().map(|letter| letter.id).collect::<Vec<_>>(), [1, 2]);

    let unsettled = [1, 2].map(|offset| Unsettled { offset, attempts: 0, since: 0 }).to_vec();
    let mut expected = std::collections::HashSet::new();
    for offset in [1, 2, 5, 6] {
        expected.insert(journal.event(offset).await.unwrap().unwrap().id);
    }
    assert_eq!(journal.owed_dead_letters("sql", &Progress { position: 5, unsettled }).await.unwrap(), expected);
    assert!(journal.owed_dead_letters("sql", &Progress::at(7)).await.unwrap().is_empty());
}

/// Waits until the ticks of the journal have brought about what `is_done` asks for.
async fn eventually(mut is_done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    while !is_done().await {
        assert!(tokio::time::Instant::now() < deadline, "it did not come about in 30 s");
        tick.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_age_stops_at_the_slowest_active_subscription() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let retention = Retention { max_age: Some(Duration::from_mins(1)), ..Retention::default() };
    let journal = Journal::open(directory.path(), Options { clock, retention, ..Options::default() }).unwrap();
    for number in 0..100 {
        journal.append(Append::one(event("a", number))).await.unwrap();
    }
    journal.save_progress("slow", Progress::at(41)).await.unwrap();
    journal.save_progress("gone", Progress::at(11)).await.unwrap();
    journal.keep_active(vec!["slow".to_owned()]).await.unwrap();
    millis.fetch_add(120_000, Ordering::Relaxed);
    journal.append(Append::one(event("a", 100))).await.unwrap();
    eventually(async || journal.stats().await.unwrap().first == 41).await;
    journal.save_progress("slow", Progress::at(102)).await.unwrap();
    eventually(async || journal.stats().await.unwrap().first == 101).await;
    millis.fetch_add(120_000, Ordering::Relaxed);
    eventually(async || journal.stats().await.unwrap().first == 102).await;
    journal.close().await;
    drop(journal);
    // Offsets go on although no record is left to tell them.
    let journal = open(directory.path());
    assert_eq!(journal.append(Append::one(event("a", 0))).await.unwrap().first, 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_full_of_undelivered_events_refuses_more_until_they_are_delivered() {
    let directory = TempDir::new().unwrap();
    let retention = Retention { max_bytes: 400_000, ..Retention::default() };
    let journal = Journal::open(directory.path(), Options { retention, ..Options::default() }).unwrap();
    journal.save_progress("dead", Progress::at(1)).await.unwrap();
    let big = || Append::many((0..200).map(|number| event("a", number)).collect());
    let mut appended = 0;
    eventually(async || match journal.append(big()).await {
        Ok(_) => {
            appended += 200;
            false
        }
        Err(error) => error.reason.contains("`dead`"),
    })
    .await;
    assert!(matches!(journal.status(), Status::Unavailable(_)));
    assert_eq!(journal.head(), appended);
    assert_eq!(bodies(&journal).await.len() as u64, appended);
    journal.save_progress("dead", Progress::at(appended + 1)).await.unwrap();
    eventually(async || journal.status() == Status::Available).await;
    journal.append(big()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_an_older_layout_is_brought_up_to_date() {
    let directory = TempDir::new().unwrap();
    let journal = open(directory.path());
    journal.append(Append::one(event("a", 1))).await.unwrap();
    journal.close().await;
    tamper(directory.path(), "journal.db", "DROP INDEX dead_letters_by_state; PRAGMA user_version = 1");
    let journal = open(directory.path());
    assert_eq!((journal.head(), journal.open_dead_letters("sql", 1).await.unwrap()), (1, Vec::new()));
    journal.close().await;
    tamper(directory.path(), "journal.db", "DROP INDEX dead_letters_by_state");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_past_a_subscription_only_when_told_to() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let retention = Retention { max_age: Some(Duration::from_mins(1)), past_subscriptions: true, ..Retention::default() };
    let journal = Journal::open(directory.path(), Options { clock, retention, ..Options::default() }).unwrap();
    journal.append(Append::many((0..10).map(|number| event("a", number)).collect())).await.unwrap();
    journal.save_progress("slow", Progress::at(1)).await.unwrap();
    millis.fetch_add(120_000, Ordering::Relaxed);
    eventually(async || journal.stats().await.unwrap().first == 11).await;
    let mut registry = prometheus_client::registry::Registry::default();
    journal.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("journal_removed_undelivered_events_total 10"), "{text}");
}

#[test]
fn a_journal_of_a_newer_layout_is_refused() {
    let directory = TempDir::new().unwrap();
    tamper(directory.path(), "journal.db", "PRAGMA user_version = 99");
    assert!(matches!(Journal::open(directory.path(), Options::default()), Err(OpenError::Newer { found: 99, .. })));
    assert!(matches!(OfflineJournal::open(&directory.path().join("nowhere")), Err(OpenError::Missing { .. })));
}

#[derive(Clone, Debug)]
enum Step {
    Append { conversation: u8, events: usize, identity: Option<u8> },
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let append = (0..4u8, 1..4usize, prop::option::of(0..12u8)).prop_map(|(conversation, events, identity)| Step::Append {
        conversation,
        events,
        identity,
    });
    prop::collection::vec(prop_oneof![8 => append, 1 => Just(Step::Restart)], 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The journal against a model: a list, and a map of identities.
    #[test]
    fn it_behaves_as_a_list_with_a_map_of_identities(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = TempDir::new().unwrap();
            let mut journal = open(directory.path());
            let mut model: Vec<(String, usize)> = Vec::new();
            let mut identities = std::collections::HashMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append { conversation, events, identity } => {
                        let name = format!("c{conversation}");
                        let append = Append { events: vec![event(&name, number); events], identity: identity.map(|id| format!("i{id}")) };
                        let answer = journal.append(append).await.unwrap();
                        if let Some(known) = identity.and_then(|id| identities.get(&id)) {
                            assert_eq!((answer.last, answer.duplicate), (*known, true));
                            continue;
                        }
                        assert_eq!((answer.first, answer.duplicate), (model.len() as Offset + 1, false));
                        model.extend(std::iter::repeat_n((name, number), events));
                        if let Some(id) = identity {
                            identities.insert(id, model.len() as Offset);
                        }
                    }
                    Step::Restart => {
                        journal.close().await;
                        drop(journal);
                        journal = open(directory.path());
                    }
                }
            }
            let expected: Vec<_> = model.iter().map(|(name, number)| String::from_utf8(event(name, *number).body.to_vec()).unwrap()).collect();
            assert_eq!(bodies(&journal).await, expected);
            for conversation in 0..4 {
                let name = format!("c{conversation}");
                let found = journal.conversation(&name, 1, many(1000)).await.unwrap().events.len();
                assert_eq!(found, model.iter().filter(|(other, _)| *other == name).count());
            }
        });
    }
}
