//! An append of which nobody knows what became of it.

use std::sync::{Arc, OnceLock};

use trunkline_conversation::{Partition, Partitions, Recorded, Unrecorded};
use trunkline_core::{Inbox as _, InboxError, Recording};
use trunkline_journal::{Faults, Journal, Limits, Options, Status};

use crate::common::{Answered, EXPIRATION, Parrot, eventually, incoming, texts, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_repeated_under_its_key_is_recorded_and_answered_once() {
    for is_recorded in [true, false] {
        let (answered, faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
        faults.lose_sight(is_recorded);
        let lost = answered.converse("ann", "hello", Some("k-1")).await.unwrap_err();
        assert!(matches!(lost, InboxError::MaybeRecorded(_)), "{lost:?}");
        eventually(async || answered.journal().status() == Status::Available).await;
        for _ in 0..2 {
            let replies = answered.converse("ann", "hello", Some("k-1")).await.unwrap();
            assert_eq!(texts(replies).await, ["hello", "hello!"]);
        }
        let turn = ["action_session_start", "session_started", "action_listen", "user", "bot", "bot", "action_listen"];
        assert_eq!(answered.types("ann").await, turn);
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_may_be_recorded_is_looked_for_and_shown_once() {
    for is_recorded in [true, false] {
        let faults: Arc<OnceLock<Faults>> = Arc::default();
        let shared = Arc::clone(&faults);
        let once = OnceLock::new();
        let before = move |_: &str| {
            if once.set(()).is_ok() {
                shared.get().unwrap().lose_sight(is_recorded);
            }
        };
        let parrot = Parrot { before: Some(Box::new(before)), ..Parrot::default() };
        let (answered, given) = Answered::in_memory(Options::default(), parrot).await;
        faults.set(given).unwrap();
        assert_eq!(answered.say("ann", "hello").await, ["hello", "hello!"]);
        let turn = ["action_session_start", "session_started", "action_listen", "user", "bot", "bot", "action_listen"];
        assert_eq!(answered.types("ann").await, turn, "{is_recorded}");
        let asked = answered.parrot.asked.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(asked, if is_recorded { 1 } else { 2 });
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_handed_in_until_all_of_it_is_on_record() {
    for is_recorded in [true, false] {
        let (answered, faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
        let list = [user("ann", "1"), user("bob", "2"), user("ann", "3")];
        faults.lose_sight(is_recorded);
        let parts = answered.carry(&list, Some("k")).await;
        assert!(parts.iter().all(|part| matches!(part.recorded, Err(Unrecorded::Maybe(_)))), "{parts:?}");
        eventually(async || answered.journal().status() == Status::Available).await;
        let parts = answered.carry(&list, Some("k")).await;
        assert!(parts.iter().all(|part| matches!(part.recorded, Ok(Recorded::Known { .. })) == is_recorded), "{parts:?}");
        assert_eq!(answered.journal().head(), 3);
        answered.stop().await;
    }
}

/// The actions and events of `ann`.
async fn types(journal: &Journal) -> Vec<String> {
    let events = journal.read(1, Limits::default()).await.unwrap().events;
    events.iter().map(|event| event.action_name().unwrap_or_else(|| event.event_type.to_string())).collect()
}

const BEGUN_ONCE: [&str; 5] = ["action_session_start", "session_started", "action_listen", "user", "user"];

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_after_a_client_that_gave_up_finds_what_it_has_sent() {
    let (journal, appender, faults) = Journal::in_memory(Options::default());
    let partitions = Partitions::one(Partition::new(appender, Recording::Gateway, EXPIRATION));
    faults.hang();
    let send = |text: &'static str| {
        let partitions = partitions.clone();
        tokio::spawn(async move { partitions.receive(incoming("ann", text, None)).await })
    };
    let first = send("hello");
    eventually(async || faults.is_hanging()).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = send("hello?");
    faults.mend();
    second.await.unwrap().unwrap();
    assert_eq!(types(&journal).await, BEGUN_ONCE);
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_while_nobody_knows_what_is_recorded() {
    let (journal, appender, faults) = Journal::in_memory(Options::default());
    let partitions = Partitions::one(Partition::new(appender, Recording::Gateway, EXPIRATION));
    faults.lose_sight(true);
    let lost = partitions.receive(incoming("ann", "hello", None)).await.unwrap_err();
    assert!(matches!(lost, InboxError::MaybeRecorded(_)), "{lost:?}");
    while partitions.receive(incoming("ann", "hello", None)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(types(&journal).await, BEGUN_ONCE);
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_remembered() {
    let (answered, faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    faults.refuse();
    let refused = answered.converse("ann", "hello", None).await.unwrap_err();
    assert!(matches!(refused, InboxError::Unavailable(_)), "{refused:?}");
    faults.mend();
    eventually(async || answered.journal().status() == Status::Available).await;
    answered.say("ann", "hello").await;
    // Its session has not begun before.
    assert_eq!(answered.types("ann").await[0], "action_session_start");
    answered.stop().await;
}
