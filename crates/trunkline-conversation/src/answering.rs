//! The subscription that answers: every message once, to the assistant and back into the journal.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use trunkline_core::{Assistant, AssistantError, Batch, Event, Offset, Outcome, Receiver};
use trunkline_journal::{ReadError, Status};

use crate::asked::{Asked, turns};
use crate::partition::Partition;
use crate::recorded_turn::RecordedTurn;
use crate::turns::EndedTurn;

/// Hands messages to the assistant and records what it says.
pub struct Answering {
    partition: Arc<Partition>,
    assistant: Arc<dyn Assistant>,
    timeout: Duration,
    apology: String,
    /// Messages up to this offset may have been answered already: by another process, or by an append whose end nobody knows.
    doubtful_to: AtomicU64,
}

impl Answering {
    /// Answers the messages of `partition` by asking `assistant`. A turn takes `timeout` at the most, and then the person gets the
    /// `apology`.
    pub fn new(partition: Arc<Partition>, assistant: Arc<dyn Assistant>, timeout: Duration, apology: String) -> Self {
        let doubtful_to = AtomicU64::new(partition.journal.opened_at());
        Self { partition, assistant, timeout, apology, doubtful_to }
    }

    async fn answer(&self, events: &[Arc<Event>]) -> Outcome {
        let Some(asked) = Asked::new(events) else {
            return Outcome::Reject { reason: "it is no message that can be read".to_owned() };
        };
        let doubt = Doubt { doubtful_to: &self.doubtful_to, offset: asked.last.offset };
        let outcome = self.answer_asked(&asked).await;
        if outcome == Outcome::Delivered {
            std::mem::forget(doubt);
        }
        outcome
    }

    async fn answer_asked(&self, asked: &Asked<'_>) -> Outcome {
        // An answer that cannot be recorded is not asked for, and one that may be recorded is looked for when that can be told.
        if let Status::Unavailable(reason) = self.partition.journal.status() {
            return Outcome::retry(reason);
        }
        let before = match self.before(asked).await {
            Ok(Before::Ended(turn)) => match self.partition.show_recorded(asked, turn).await {
                Ok(()) => return Outcome::Delivered,
                Err(error) => return Outcome::retry(error.to_string()),
            },
            Ok(before) => before,
            Err(error) => return Outcome::retry(error.to_string()),
        };
        let mut turn = RecordedTurn::new(&self.partition, asked, matches!(before, Before::Begun));
        let result = timeout(self.timeout, self.assistant.answer(&asked.messages, &mut turn)).await;
        let problem = match result {
            Ok(Ok(())) => None,
            Ok(Err(AssistantError::Unrecorded(reason))) => return Outcome::retry(reason),
            Ok(Err(error @ AssistantError::Failed(_))) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", self.timeout.as_secs_f32())),
        };
        if let Some(reason) = &problem {
            let (assistant, conversation) = (self.assistant.name(), asked.last.conversation.as_str());
            tracing::warn!(assistant, conversation, offset = asked.last.offset, reason, "Assistant did not answer");
            turn.apologize(&self.apology);
        }
        match turn.end().await {
            Ok(()) => Outcome::Delivered,
            Err(error) => Outcome::retry(error.to_string()),
        }
    }

    /// What attempts before this one have recorded.
    async fn before(&self, asked: &Asked<'_>) -> Result<Before, ReadError> {
        let Event { conversation, offset, .. } = asked.last;
        if *offset > self.doubtful_to.load(Ordering::Relaxed) {
            return Ok(Before::Nothing);
        }
        // What one of them has under way is recorded or not when the lock is free.
        let _locked = self.partition.intake.lock(conversation).await;
        Ok(match self.partition.turn_of(conversation, *offset).await? {
            Some(turn) => Before::Ended(turn),
            None if self.partition.is_begun(conversation, *offset).await? => Before::Begun,
            None => Before::Nothing,
        })
    }
}

/// What is on record of a turn.
enum Before {
    Nothing,
    /// Replies that were recorded one by one.
    Begun,
    Ended(EndedTurn),
}

/// Has the answer to a message looked for before the assistant is asked once more, whatever ended this attempt: a failure, or whoever
/// waited for it.
struct Doubt<'a> {
    doubtful_to: &'a AtomicU64,
    offset: Offset,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        self.doubtful_to.fetch_max(self.offset, Ordering::Relaxed);
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").field("assistant", &self.assistant.name()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Receiver for Answering {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(batch.events.len());
        for events in turns(&batch.events) {
            let outcome = self.answer(events).await;
            outcomes.extend(outcome.all(events.len()));
        }
        outcomes
    }

    async fn is_ready(&self) -> Result<(), String> {
        self.assistant.is_ready().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use trunkline_core::{BotMessage, Inbox as _, Incoming, Recording, Turn, UserMessage};
    use trunkline_journal::{Journal, Limits, Options};

    use super::*;
    use crate::partition::Partitions;

    /// Answers all that was said in one message.
    #[derive(Default)]
    struct Listener(Mutex<Vec<String>>);

    #[async_trait]
    impl Assistant for Listener {
        fn name(&self) -> &'static str {
            "listener"
        }

        async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError> {
            let heard: Vec<_> = messages.iter().filter_map(|message| message.text.as_deref()).collect();
            self.0.lock().unwrap().push(heard.join(" "));
            turn.say(BotMessage::text(heard.join(" + "))).await
        }

        async fn is_ready(&self) -> Result<(), String> {
            Err("it sleeps".to_owned())
        }
    }

    fn answering(listener: &Arc<Listener>) -> (Journal, Partitions, Answering) {
        let (journal, appender, _faults) = Journal::in_memory(Options::default());
        let partitions = Partitions::one(Partition::new(appender, Recording::Gateway, Duration::ZERO));
        let assistant = Arc::clone(listener) as Arc<dyn Assistant>;
        let answering = Answering::new(Arc::clone(partitions.home()), assistant, Duration::from_secs(30), String::new());
        (journal, partitions, answering)
    }

    #[tokio::test]
    async fn a_turn_answers_several_messages_and_is_known_by_the_last() {
        let listener = Arc::new(Listener::default());
        let (journal, partitions, answering) = answering(&listener);
        let partition = partitions.home();
        let said = |text: &str, key: Option<&str>| Incoming {
            message: UserMessage::new(Some(text), "ann", Some("rest"), None),
            channel: "rest".into(),
            key: key.map(str::to_owned),
        };
        let (mut waiting, mut asked) = (Vec::new(), Vec::new());
        for text in ["one", "two", "three"] {
            let streamed = text == "two";
            waiting.push(partitions.converse(said(text, Some(text)), streamed).await.unwrap());
            asked.push(journal.event(journal.head()).await.unwrap().unwrap());
        }
        let (last, messages) = (asked[2].offset, journal.head());
        assert_eq!(answering.answer(&asked).await, Outcome::Delivered);
        for mut replies in waiting {
            assert_eq!(replies.recv().await.unwrap().text.as_deref(), Some("one + two + three"));
            assert_eq!(replies.recv().await, None);
        }
        let events = journal.read(messages + 1, Limits::default()).await.unwrap().events;
        let linked: Vec<_> = events.iter().map(|event| (event.event_type.as_str(), event.answers)).collect();
        assert_eq!(linked, [("bot", Some(last)), ("action", None)]);
        assert!(partition.turn_of("ann", last).await.unwrap().is_some());
        assert_eq!(*listener.0.lock().unwrap(), ["one two three"]);
        // Handed over once more, as after a crash: what was said is known.
        answering.doubtful_to.store(u64::MAX >> 1, Ordering::Relaxed);
        assert_eq!(answering.answer(&asked).await, Outcome::Delivered);
        assert_eq!(answering.is_ready().await, Err("it sleeps".to_owned()));
        assert_eq!((listener.0.lock().unwrap().len(), journal.head()), (1, last + 2));
        journal.close().await;
    }

    #[tokio::test]
    async fn a_turn_that_nothing_was_said_in_yet_is_one_append_though_it_is_looked_for() {
        let (journal, partitions, answering) = answering(&Arc::default());
        let partition = partitions.home();
        answering.doubtful_to.store(u64::MAX >> 1, Ordering::Relaxed);
        let message = UserMessage::new(Some("hi"), "ann", Some("rest"), None);
        partitions.receive(Incoming { message, channel: "rest".into(), key: None }).await.unwrap();
        let asked = journal.event(journal.head()).await.unwrap().unwrap();
        assert_eq!(answering.answer(std::slice::from_ref(&asked)).await, Outcome::Delivered);
        assert!(partition.turn_of("ann", asked.offset).await.unwrap().is_some());
        // Its replies are not known one by one.
        assert!(!partition.is_begun("ann", asked.offset).await.unwrap());
        journal.close().await;
    }
}
