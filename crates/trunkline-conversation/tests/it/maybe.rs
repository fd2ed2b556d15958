//! An append of which nobody knows what became of it.

use std::sync::{Arc, OnceLock};

use trunkline_conversation::{Recorded, Unrecorded};
use trunkline_core::InboxError;
use trunkline_journal::{Faults, Options, Status};

use crate::common::{Answered, Parrot, eventually, texts, user};

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
