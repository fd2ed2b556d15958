//! Where people write and read: input channels and the output channels that answer on them.
//!
//! An [`InputChannel`] turns HTTP requests into [`UserMessage`]s and hands them to the [`Inbox`]; what the assistant says comes
//! back as [`Replies`]. A channel knows nothing of journals, brokers or assistants: when the inbox takes a message, it is
//! recorded, and when a reply arrives, that is recorded too.

mod body;
mod idempotency;
mod problem;
mod rest;
mod table;

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use tokio::sync::mpsc;
use trunkline_core::{BotMessage, UserMessage};

pub use body::{Bodies, BodyError, BodyLimits, ReceivedBody};
pub use idempotency::{InvalidKey, MOST_KEY_BYTES, idempotency_key};
pub use problem::Problem;
pub use rest::Rest;
pub use table::{BuildFn, CHANNELS, ChannelSpec, find};

/// Where people write.
pub trait InputChannel: Send + Sync {
    /// The name in `credentials.yml`.
    fn name(&self) -> &'static str;

    /// The routes, below `mount`, which is `/webhooks/<name>`.
    fn routes(&self, mount: &str, inbox: Arc<dyn Inbox>, bodies: Bodies) -> Router;
}

/// Takes messages from people.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Records a message; when this answers, it is durable. A message with the `identity` of an earlier one is not recorded
    /// again, and is answered with the replies to the first. `stream`: each reply is wanted as soon as it is said.
    async fn receive(&self, message: UserMessage, identity: Option<String>, stream: bool) -> Result<Replies, InboxError>;
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
}
