//! What is known of an answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use tokio::sync::mpsc;
use trunkline_conversation::{Partition, Partitions};
use trunkline_core::{Assistant, AssistantError, BotMessage, Inbox as _, Kind, Recording, Turn, UserMessage};
use trunkline_journal::{Faults, Journal, Limits, Options};

use crate::common::{Answered, EXPIRATION, Parrot, answer, incoming, texts, user};

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bot_elsewhere_that_speaks_while_an_answer_is_made_has_no_part_in_it() {
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let (go, may_go) = std::sync::mpsc::channel();
    let may_go = Mutex::new(may_go);
    let before = Box::new(move |_: &str| {
        asked.send(()).unwrap();
        may_go.lock().unwrap().recv().unwrap();
    });
    let parrot = Parrot { before: Some(before), ..Parrot::default() };
    let (answered, _faults) = Answered::in_memory(Options::default(), parrot).await;
    let replies = answered.converse("ann", "hi", Some("k")).await.unwrap();
    is_asked.recv().await.unwrap();
    answered.carry(&[crate::common::event("ann", "bot", r#", "text": "elsewhere""#)], None).await;
    go.send(()).unwrap();
    assert_eq!(texts(replies).await, ["hi", "hi!"]);
    assert_eq!(texts(answered.converse("ann", "hi", Some("k")).await.unwrap()).await, ["hi", "hi!"]);
    answered.stop().await;
}

/// Says `one`, cannot have `two` recorded, and is asked again: then it says both, or fails.
struct Faltering {
    asked: AtomicUsize,
    faults: OnceLock<Faults>,
    fails: bool,
}

#[async_trait]
impl Assistant for Faltering {
    fn name(&self) -> &'static str {
        "faltering"
    }

    async fn answer(&self, _messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
        let is_first = self.asked.fetch_add(1, Ordering::Relaxed) == 0;
        if self.fails && !is_first {
            return Err(AssistantError::Failed("it fell asleep".to_owned()));
        }
        turn.say(BotMessage::text("one")).await?;
        let faults = self.faults.get().unwrap();
        if is_first {
            faults.refuse();
        }
        let said = turn.say(BotMessage::text("two")).await;
        faults.mend();
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_was_streamed_in_part_is_said_once() {
    for (fails, stays) in [(false, true), (false, false), (true, true)] {
        let (journal, appender, faults) = Journal::in_memory(Options::default());
        let partition = Partition::new(appender, Recording::Gateway, EXPIRATION);
        let assistant = Faltering { asked: AtomicUsize::new(0), faults: OnceLock::from(faults), fails };
        let shutdown = answer(&partition, Arc::new(assistant)).await;
        let partitions = Partitions::one(partition);
        let mut replies = partitions.converse(incoming("ann", "hi", Some("k")), true).await.unwrap();
        let expected = if fails { ["one", "sorry"] } else { ["one", "two"] };
        if stays {
            assert_eq!(texts(replies).await, expected);
        } else {
            assert_eq!(replies.recv().await.unwrap().text.as_deref(), Some("one"));
            drop(replies);
        }
        // Whoever asks again, until that is taken, is told what is on record.
        let again = loop {
            match partitions.converse(incoming("ann", "hi", Some("k")), false).await {
                Ok(replies) => break replies,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        assert_eq!(texts(again).await, expected);
        let events = journal.read(1, Limits::default()).await.unwrap().events;
        let bots = events.iter().filter(|event| event.event_type == "bot");
        let said: Vec<_> = bots.filter_map(|event| BotMessage::from_event(event)?.text).collect();
        assert_eq!(said, expected);
        shutdown.drain.cancel();
        for delivery in partitions.home().deliveries() {
            delivery.ended().await;
        }
        journal.close().await;
    }
}
