//! The subscription that answers: every message once, to the assistant and back into the journal.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use trunkline_core::{Assistant, AssistantError, Batch, CursorKey, Event, Offset, Outcome, Receiver, UserMessage};

use crate::intake::Unrecorded;
use crate::partition::Partition;
use crate::recorded_turn::RecordedTurn;

/// Hands messages to the assistant and records what it says.
pub struct Answering {
    partition: Arc<Partition>,
    assistant: Arc<dyn Assistant>,
    timeout: Duration,
    apology: String,
    /// Messages up to this offset may have been answered already: by another process, or by an append of which nobody knows what
    /// became.
    doubtful_to: AtomicU64,
}

/// Messages of one conversation that are answered together, in order; at least one.
pub(crate) struct Asked<'e> {
    pub(crate) events: &'e [Arc<Event>],
    pub(crate) messages: Vec<UserMessage>,
    /// The last of them, by which the turn is known.
    pub(crate) last: &'e Event,
}

impl<'e> Asked<'e> {
    /// `None` when one of them cannot be read.
    fn new(events: &'e [Arc<Event>]) -> Option<Self> {
        let messages = events.iter().map(|event| UserMessage::from_event(&event.body)).collect::<Option<Vec<_>>>()?;
        Some(Self { events, messages, last: events.last()? })
    }
}

/// Which messages are answered together: each is a turn of its own. Another policy makes longer runs of messages of one
/// conversation, and nothing else has to change for it.
fn turns(events: &[Arc<Event>]) -> impl Iterator<Item = &[Arc<Event>]> {
    events.chunks(1)
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
        match self.answered_before(&asked).await {
            Ok(false) => {}
            Ok(true) => return Outcome::Delivered,
            Err(reason) => return Outcome::retry(reason),
        }
        let mut turn = RecordedTurn::new(&self.partition, &asked);
        let result = timeout(self.timeout, self.assistant.answer(&asked.messages, &mut turn)).await;
        let problem = match result {
            Ok(Ok(())) => None,
            Ok(Err(AssistantError::Unrecorded(reason))) => return self.again(&asked, reason),
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
            Err(error @ (Unrecorded::Refused(_) | Unrecorded::Maybe(_))) => self.again(&asked, error.to_string()),
        }
    }

    /// To be tried again, and then to be looked for first.
    fn again(&self, asked: &Asked<'_>, reason: String) -> Outcome {
        self.doubtful_to.fetch_max(asked.last.offset, Ordering::Relaxed);
        Outcome::retry(reason)
    }

    /// Whether an answer is on record. If so, it is shown to those who wait for it.
    async fn answered_before(&self, asked: &Asked<'_>) -> Result<bool, String> {
        if asked.last.offset > self.doubtful_to.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let conversation = &asked.last.conversation;
        let turn = self.partition.turn_of(conversation, asked.last.offset).await.map_err(|error| error.to_string())?;
        let Some(turn) = turn else { return Ok(false) };
        self.partition.show_recorded(asked, turn).await.map_err(|error| error.to_string())?;
        Ok(true)
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

    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(None)
    }

    async fn close(&self) {}
}
