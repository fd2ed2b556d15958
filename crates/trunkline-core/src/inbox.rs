//! How a channel hands in what people write, and gets what is said to it.

use async_trait::async_trait;
use compact_str::CompactString;
use tokio::sync::mpsc;

use crate::{BotMessage, EventError, UserMessage};

/// Takes messages from people.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Records a message. When this answers, it is durable; its answer goes to the person as other deliveries do.
    async fn receive(&self, incoming: Incoming) -> Result<(), InboxError>;

    /// Records a message, and gives what is said to it to the caller, who waits. `stream`: each reply as soon as it is said.
    async fn converse(&self, incoming: Incoming, stream: bool) -> Result<Replies, InboxError>;
}

/// A message as a channel hands it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// The message. Where it names no channel, it is of the one that hands it in.
    pub message: UserMessage,
    /// The name of the channel that hands it in. Keys of one channel are not those of another.
    pub channel: CompactString,
    /// What makes it the same as an earlier message of its conversation, which is then not recorded again, and answered like the
    /// first.
    pub key: Option<String>,
}

/// What the assistant says to one message, as it comes; it ends with the turn. Dropping it stops nothing: what is said is
/// recorded all the same.
pub type Replies = mpsc::UnboundedReceiver<BotMessage>;

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InboxError {
    /// The message cannot be recorded as it is.
    #[error("{0}")]
    Invalid(String),
    /// Nothing can be recorded at the moment; the same request may succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// It may have been recorded. With the same key it can be sent again, and is recorded once.
    #[error("{0}")]
    MaybeRecorded(String),
}

impl From<EventError> for InboxError {
    fn from(error: EventError) -> Self {
        Self::Invalid(error.to_string())
    }
}
