//! Where people write and read.
//!
//! A [`Channel`] turns HTTP requests into messages and hands them to the [`Inbox`]. What the assistant says comes back to whoever
//! waits for it, as in `rest`, or is carried to the person by the channel's [`Receiver`], as in `callback`: fed by a subscription
//! on the journal, retried, and in order. A channel knows nothing of journals, brokers or assistants: when the inbox takes a
//! message, it is recorded, and when a reply arrives, that is recorded too.

mod answer;
mod body;
mod callback;
mod idempotency;
mod post;
mod problem;
mod rest;
mod table;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use trunkline_core::{Inbox, Receiver};

pub use answer::{error, json, json_with};
pub use body::{Bodies, BodyError, BodyLimits, ReceivedBody};
pub use callback::Callback;
pub use idempotency::{InvalidKey, idempotency_key};
pub use problem::{Problem, SEND_AGAIN};
pub use rest::Rest;
pub use table::{BuildChannel, ChannelSpec, channels};

/// Where people write and read.
pub trait Channel: Send + Sync {
    /// The name in `credentials.yml`, under which its routes stand and its messages are known.
    fn name(&self) -> &str;

    /// The routes, below `mount`, which is `/webhooks/<name>`.
    fn routes(&self, mount: &str, door: Door) -> Router;

    /// What carries to people what is said to them: it is given the `bot` events that answer messages of this channel. `None` where
    /// whoever writes waits for the answer.
    fn outgoing(&self) -> Option<Arc<dyn Receiver>> {
        None
    }
}

/// What a channel works with.
#[derive(Clone)]
pub struct Door {
    /// Takes the messages.
    pub inbox: Arc<dyn Inbox>,
    /// Reads the bodies of requests.
    pub bodies: Bodies,
    /// The names of channels that carry their answers themselves. A message of another channel cannot call itself by one of
    /// them, or its answer would be carried there too.
    pub carried: Arc<[String]>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("bodies", &self.bodies).field("carried", &self.carried).finish_non_exhaustive()
    }
}
