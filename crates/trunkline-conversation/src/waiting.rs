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

    /// Begins to wait for what will be said to the message, ending with the turn. `stream`: each as soon as it is said. What a slow
    /// reader has not taken is kept, all of it, and the bound is that of an assistant's answer.
    pub(crate) fn begin(&self, message_id: &str, stream: bool) -> Wait<'_> {
        let (sender, replies) = mpsc::unbounded_channel();
        self.lock().entry(message_id.to_owned()).or_default().push(Waiter { sender, stream, shown: 0 });
        Wait { waiting: self, message_id: message_id.to_owned(), replies: Some(replies) }
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

    /// The turn is over.
    pub(crate) fn end(&self, message_id: &str) {
        self.lock().remove(message_id);
    }

    /// Forgets who does not wait any more.
    fn tidy(&self, message_id: &str) {
        let mut waiting = self.lock();
        let Some(waiters) = waiting.get_mut(message_id) else { return };
        waiters.retain(|one| !one.sender.is_closed());
        if waiters.is_empty() {
            waiting.remove(message_id);
        }
    }
}

/// The waiting for one turn. Dropping it ends that: the message was not recorded, its turn is over, or the request went away.
#[derive(Debug)]
pub(crate) struct Wait<'w> {
    waiting: &'w Waiting,
    message_id: String,
    replies: Option<Replies>,
}

impl Wait<'_> {
    /// The replies, once it is certain that the turn will come and end them.
    pub(crate) fn turn_will_come(mut self) -> Replies {
        self.replies.take().unwrap_or_else(|| unreachable!("only this takes them"))
    }

    /// Waits for the end of the turn.
    pub(crate) async fn ended(&mut self) {
        let Some(replies) = &mut self.replies else { return };
        while replies.recv().await.is_some() {}
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if self.replies.take().is_some() {
            self.waiting.tidy(&self.message_id);
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
        let mut first = waiting.begin("m", true).turn_will_come();
        assert!(waiting.is_streaming("m") && !waiting.is_streaming("n"));
        waiting.say("m", 0, std::slice::from_ref(&one));
        let mut second = waiting.begin("m", false).turn_will_come();
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
    fn who_gives_up_ends_nobody_elses_waiting() {
        let waiting = Waiting::default();
        let mut stays = waiting.begin("m", false).turn_will_come();
        drop(waiting.begin("m", true));
        assert!(!waiting.is_streaming("m"));
        waiting.say("m", 0, &[BotMessage::text("one")]);
        assert_eq!(texts(&mut stays), ["one"]);
        drop(waiting.begin("n", false));
        assert_eq!(waiting.lock().keys().collect::<Vec<_>>(), ["m"]);
        waiting.end("m");
        assert!(waiting.lock().is_empty());
    }
}
