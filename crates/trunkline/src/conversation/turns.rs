//! Who waits for the answer to which message.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use trunkline_channels::Replies;
use trunkline_core::BotMessage;

/// Who waits for the answer to which message, by message id.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    sender: mpsc::UnboundedSender<BotMessage>,
    stream: bool,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What will be said to the message, ending with the turn. `stream`: each as soon as it is said. What a slow reader has not
    /// taken is kept, all of it, and the bound is that of an assistant's answer.
    pub(crate) fn wait(&self, message_id: &str, stream: bool) -> Replies {
        let (sender, replies) = mpsc::unbounded_channel();
        self.lock().entry(message_id.to_owned()).or_default().push(Waiting { sender, stream });
        replies
    }

    /// Whether somebody wants each reply as soon as it is said.
    pub(crate) fn is_streaming(&self, message_id: &str) -> bool {
        self.lock().get(message_id).is_some_and(|waiting| waiting.iter().any(|one| one.stream))
    }

    /// Shows `replies`, which are recorded, to those who wait.
    pub(crate) fn say(&self, message_id: &str, replies: &[BotMessage]) {
        if let Some(waiting) = self.lock().get_mut(message_id) {
            for reply in replies {
                waiting.retain(|one| one.sender.send(reply.clone()).is_ok());
            }
        }
    }

    /// The turn is over.
    pub(crate) fn finish(&self, message_id: &str) {
        self.lock().remove(message_id);
    }
}
