//! Who waits for the answer to which message.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;
use trunkline_core::{BotMessage, Replies};

/// Who waits for the answer to which message, by message id.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<HashMap<String, Vec<Waiter>>>);

#[derive(Debug)]
struct Waiter {
    sender: mpsc::UnboundedSender<BotMessage>,
    stream: bool,
    /// How many replies it has been shown.
    shown: usize,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Waiter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What will be said to the message, ending with the turn. `stream`: each as soon as it is said. What a slow reader has not
    /// taken is kept, all of it, and the bound is that of an assistant's answer.
    pub(crate) fn begin(&self, message_id: &str, stream: bool) -> Replies {
        let (sender, replies) = mpsc::unbounded_channel();
        self.lock().entry(message_id.to_owned()).or_default().push(Waiter { sender, stream, shown: 0 });
        replies
    }

    /// Whether somebody wants each reply as soon as it is said.
    pub(crate) fn is_streaming(&self, message_id: &str) -> bool {
        self.lock().get(message_id).is_some_and(|waiting| waiting.iter().any(|one| one.stream))
    }

    /// Shows `replies`, which are recorded, to those who wait; the first of them is the `number`th of the turn, counted from 0. Who
    /// has been shown some of them by an attempt before this one does not get them again.
    pub(crate) fn say(&self, message_id: &str, number: usize, replies: &[BotMessage]) {
        let mut waiting = self.lock();
        let Some(waiting) = waiting.get_mut(message_id) else { return };
        for (number, reply) in (number..).zip(replies) {
            waiting.retain_mut(|one| {
                if one.shown > number {
                    return true;
                }
                one.shown = number + 1;
                one.sender.send(reply.clone()).is_ok()
            });
        }
    }

    /// The turn is over, or will not come.
    pub(crate) fn end(&self, message_id: &str) {
        self.lock().remove(message_id);
    }
}

/// Ends the waiting for a turn that will not come: the message was not recorded, or the request went away before.
pub(crate) struct UntilRecorded<'a> {
    waiting: &'a Waiting,
    message_id: Option<String>,
}

impl<'a> UntilRecorded<'a> {
    pub(crate) fn new(waiting: &'a Waiting, message_id: &str) -> Self {
        Self { waiting, message_id: Some(message_id.to_owned()) }
    }

    /// The turn will come, and end the waiting.
    pub(crate) fn turn_will_come(mut self) {
        self.message_id = None;
    }
}

impl Drop for UntilRecorded<'_> {
    fn drop(&mut self) {
        if let Some(message_id) = &self.message_id {
            self.waiting.end(message_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(replies: &mut Replies) -> Vec<String> {
        std::iter::from_fn(|| replies.try_recv().ok()).filter_map(|reply| reply.text).collect()
    }

    #[test]
    fn nobody_is_shown_a_reply_twice_and_nobody_misses_one() {
        let (waiting, [one, two, three]) = (Waiting::default(), ["one", "two", "three"].map(BotMessage::text));
        let mut first = waiting.begin("m", true);
        assert!(waiting.is_streaming("m") && !waiting.is_streaming("n"));
        waiting.say("m", 0, std::slice::from_ref(&one));
        let mut second = waiting.begin("m", false);
        // The same turn once more, as it was recorded.
        waiting.say("m", 0, &[one, two]);
        waiting.say("m", 2, std::slice::from_ref(&three));
        waiting.say("n", 0, &[three]);
        waiting.end("m");
        assert_eq!(texts(&mut first), ["one", "two", "three"]);
        assert_eq!(texts(&mut second), ["one", "two", "three"]);
        assert_eq!(first.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn a_message_that_is_not_recorded_ends_the_waiting() {
        let waiting = Waiting::default();
        let mut replies = waiting.begin("m", false);
        drop(UntilRecorded::new(&waiting, "m"));
        assert_eq!(replies.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
        let mut replies = waiting.begin("m", false);
        UntilRecorded::new(&waiting, "m").turn_will_come();
        assert_eq!(replies.try_recv(), Err(mpsc::error::TryRecvError::Empty));
    }
}
