//! Events of many conversations at once.

use std::time::Duration;

use trunkline_conversation::Recorded;
use trunkline_journal::Options;

use crate::common::{Answered, Parrot, texts, user};

#[tokio::test(flavor = "multi_thread")]
async fn each_conversation_of_a_list_is_recorded_in_one_piece_and_known_for_itself() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    let list = [user("ann", "1"), user("bob", "2"), user("ann", "3")];
    let parts = answered.carry(&list, Some("k")).await;
    let recorded: Vec<_> = parts.iter().map(|part| (part.conversation.as_str(), part.recorded.clone().unwrap())).collect();
    assert_eq!(recorded, [("ann", Recorded::New { first: 1, last: 2 }), ("bob", Recorded::New { first: 3, last: 3 })]);
    // A part that is known is known, and a new one is new.
    let longer = [list[0].clone(), user("cy", "4")];
    let recorded: Vec<_> = answered.carry(&longer, Some("k")).await.into_iter().map(|part| part.recorded.unwrap()).collect();
    assert_eq!(recorded, [Recorded::Known { last: 2 }, Recorded::New { first: 4, last: 4 }]);
    // Without a key everything is new.
    assert_eq!(answered.carry(&list, None).await[0].recorded, Ok(Recorded::New { first: 5, last: 6 }));
    let texts: Vec<_> = answered.events().await.iter().map(|event| event.body_str().matches("\"text\": \"3\"").count()).collect();
    assert_eq!(texts, [0, 1, 0, 0, 0, 1, 0]);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_twice_at_once_is_recorded_and_answered_once() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    for round in 0..20 {
        let (key, conversation) = (format!("k-{round}"), format!("c{round}"));
        let twice = async || texts(answered.converse(&conversation, "hi", Some(&key)).await.unwrap()).await;
        let (one, other) = tokio::join!(twice(), twice());
        assert_eq!((one, other), (vec!["hi".to_owned(), "hi!".to_owned()], vec!["hi".to_owned(), "hi!".to_owned()]));
    }
    assert_eq!(answered.parrot.asked.load(std::sync::atomic::Ordering::Relaxed), 20);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_an_older_program_has_recorded_is_known_as_a_whole() {
    const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../trunkline-journal/tests/fixtures/layout-2/journal.db");
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(FIXTURE, directory.path().join("journal.db")).unwrap();
    // The identities are of the day when it was made.
    let options = Options { deduplication_window: Duration::from_hours(876_000), ..Options::default() };
    let answered = Answered::at_with(directory.path(), options).await;
    let head = answered.journal().head();
    // Its replies do not say what they answer; they are all that was said since the turn before.
    assert_eq!(texts(answered.converse("ann", "hi", Some("k-1")).await.unwrap()).await, ["You said: hello", "Pick"]);
    assert_eq!(texts(answered.converse("ann", "hi", Some("k-2")).await.unwrap()).await, ["You said: stream", "Pick"]);
    assert_eq!(answered.journal().head(), head);
    // One identity, stored with the last event, stood for events of two conversations.
    let list = [user("bob", "1"), user("cy", "2")];
    let recorded: Vec<_> = answered.carry(&list, Some("list-1")).await.into_iter().map(|part| part.recorded.unwrap()).collect();
    assert_eq!((recorded, answered.journal().head()), (vec![Recorded::Known { last: 19 }; 2], head));
    // What was recorded since is known for each conversation alone.
    answered.carry(&[user("cy", "3")], Some("list-2")).await;
    let recorded: Vec<_> = answered.carry(&list, Some("list-2")).await.into_iter().map(|part| part.recorded.unwrap()).collect();
    assert_eq!(recorded, [Recorded::New { first: head + 2, last: head + 2 }, Recorded::Known { last: head + 1 }]);
    assert_eq!([recorded[0].last(), recorded[1].last()], [head + 2, head + 1]);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_partition_has_every_conversation() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    let names: Vec<_> =
        answered.partitions.all().flat_map(|partition| partition.deliveries()).map(|it| it.name().to_owned()).collect();
    assert_eq!(names, ["assistant"]);
    assert!(std::sync::Arc::ptr_eq(answered.partitions.of("ann"), answered.partitions.home()));
    answered.stop().await;
}
