//! What is known of an answer.

use trunkline_core::{Inbox as _, Kind};
use trunkline_journal::Options;

use crate::common::{Answered, Parrot, incoming, texts, user};

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_event_says_which_message_it_answers() {
    let (answered, _faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    answered.say("ann", "one").await;
    // What another server's assistant said answers no message of ours, wherever it stands.
    let bot = crate::common::event("ann", "bot", r#", "text": "elsewhere""#);
    answered.carry(&[user("ann", "x"), bot], None).await;
    let streamed = answered.partitions.converse(incoming("ann", "two", Some("k")), true).await.unwrap();
    assert_eq!(texts(streamed).await, ["two", "two!"]);
    let events = answered.events().await;
    let answers: Vec<_> = events.iter().filter(|event| event.event_type == "bot").map(|event| event.answers).collect();
    let messages: Vec<_> = events.iter().filter(|event| event.kind == Kind::Message).map(|event| Some(event.offset)).collect();
    assert_eq!(answers, [messages[0], messages[0], None, messages[1], messages[1]]);
    assert!(events.iter().all(|event| event.answers.is_none() || event.event_type == "bot"));
    // The replies are found by it, and not by where they stand.
    let again = answered.converse("ann", "two", Some("k")).await.unwrap();
    assert_eq!(texts(again).await, ["two", "two!"]);
    answered.stop().await;
}
