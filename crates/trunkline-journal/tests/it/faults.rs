//! What callers are told when the engine does not do what it should.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use trunkline_journal::{Append, Faults, Journal, Options, Status};

use super::common::{Opened, event, eventually, known, several};

fn open() -> (Opened, Faults) {
    let (journal, appender, faults) = Journal::in_memory(Options::default());
    (Opened { journal, appender }, faults)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_recorded_and_it_recovers_by_itself() {
    let (opened, faults) = open();
    faults.refuse();
    let refused = opened.try_append(known("a", 1, "key")).await.unwrap_err();
    assert_eq!((refused.reason.as_str(), refused.maybe_recorded), ("the disk is full", false));
    assert_eq!(opened.journal.status(), Status::Unavailable("the disk is full".to_owned()));
    assert!(opened.journal.save_position("log", String::new()).await.is_err());
    faults.mend();
    eventually(async || opened.journal.status() == Status::Available).await;
    assert_eq!((opened.journal.head(), opened.journal.find("a", "key").await.unwrap()), (0, None));
    assert!(!opened.append(known("a", 1, "key")).await.duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_been_recorded_is_said_to_be_and_is_known_afterwards() {
    for is_recorded in [true, false] {
        let (opened, faults) = open();
        opened.append(Append::one(event("a", 0))).await;
        faults.lose_sight(is_recorded);
        let lost = opened.try_append(known("a", 1, "key")).await.unwrap_err();
        assert!(lost.maybe_recorded, "{lost}");
        eventually(async || opened.journal.status() == Status::Available).await;
        assert_eq!(opened.journal.head(), if is_recorded { 2 } else { 1 });
        let again = opened.append(known("a", 1, "key")).await;
        assert_eq!((again.duplicate, again.last, opened.bodies().await.len()), (is_recorded, 2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_hangs_lets_its_senders_wait_and_loses_nothing() {
    let (opened, faults) = open();
    faults.hang();
    let mut waiting = pin!(opened.try_append(several("a", 3)));
    let first = poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
    assert!(first && opened.journal.head() == 0);
    faults.mend();
    assert_eq!(waiting.await.unwrap().last, 3);
}
