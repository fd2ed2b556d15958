//! What an assistant is to us: something that answers a user message.

use async_trait::async_trait;

use crate::{BotMessage, UserMessage};

/// Answers user messages.
///
/// Messages of one conversation are handed over one turn after another, different conversations at the same time. The time limit
/// and the apology when it passes are the caller's.
#[async_trait]
pub trait Assistant: Send + Sync {
    /// The name in the configuration, as `echo`.
    fn name(&self) -> &'static str;

    /// Who writes the tracker events of a turn.
    fn recording(&self) -> Recording {
        Recording::Gateway
    }

    /// Answers `messages` by calling [`Turn::say`] once per bot message, in order. They are of one conversation, in its order, and
    /// never none; today always one. An assistant that takes one message at a time is asked for each.
    async fn answer(&self, messages: &[UserMessage], turn: &mut dyn Turn) -> Result<(), AssistantError>;

    /// Whether the assistant can be reached; the error says what to do.
    async fn is_ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Who writes the tracker events of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// We do: session start, `user`, a `bot` per message said, `action_listen`.
    Gateway,
    /// The assistant keeps a tracker of its own, and its events are recorded as they are ([`Turn::record`]).
    Assistant,
}

/// The turn under way: what the assistant may do with it.
#[async_trait]
pub trait Turn: Send {
    /// Says one message to the person. It reaches them once it is durable.
    async fn say(&mut self, message: BotMessage) -> Result<(), AssistantError>;

    /// Records the events that the assistant's own tracker has for this conversation, the whole list in its order, each a
    /// JSON object. Those recorded before are passed over.
    async fn record(&mut self, tracker_events: Vec<String>) -> Result<(), AssistantError>;
}

/// Why a message was not answered.
#[derive(Debug, thiserror::Error)]
pub enum AssistantError {
    /// The assistant did not answer, or not in a form that is understood. The person gets an apology.
    #[error("{0}")]
    Failed(String),
    /// The journal did not take the answer; the message will be handed over once more.
    #[error("the answer could not be recorded: {0}")]
    Unrecorded(String),
}
