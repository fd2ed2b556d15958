//! Who waits for the answer to which message.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use trunkline_core::BotMessage;

/// So many messages may wait for a reader; one that is slower than that loses the rest, which is recorded all the same.
const READ_AHEAD: usize = 256;

/// Who waits for the answer to which message, by message id.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    waiting: Mutex<HashMap<String, Vec<Waiting>>>,
}

#[derive(Debug)]
struct Waiting {
    sender: mpsc::Sender<BotMessage>,
    stream: bool,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What will be said to the message, ending with the turn. `stream`: each as soon as it is said.
    pub(crate) fn wait(&self, message_id: &str, stream: bool) -> mpsc::Receiver<BotMessage> {
        let (sender, replies) = mpsc::channel(READ_AHEAD);
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
                waiting.retain(|one| one.sender.try_send(reply.clone()).is_ok());
            }
        }
    }

    /// The turn is over.
    pub(crate) fn finish(&self, message_id: &str) {
        self.lock().remove(message_id);
    }

    /// No turn will be finished any more.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }
}
