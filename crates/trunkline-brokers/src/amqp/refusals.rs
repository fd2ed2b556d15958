//! What was said against taking events, other than that one of them is at fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the server and its queues have said. Starts with nothing.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Whether a queue has refused a message before.
    by_queue: AtomicBool,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// How many there were.
    count: u64,
    /// Why the event was not taken that was published last; `None` when it was, or when that may be its own fault.
    reason: Option<String>,
}

impl Refusals {
    /// Notes why an event was not taken.
    pub(super) fn note(&self, reason: &str) {
        let mut last = self.lock();
        last.count += 1;
        last.reason = Some(reason.to_owned());
    }

    /// Notes that a queue refused a message; tells whether that was the first time.
    pub(super) fn note_queue(&self, reason: &str) -> bool {
        self.note(reason);
        !self.by_queue.swap(true, Ordering::Relaxed)
    }

    /// How many there were up to now.
    pub(super) fn count(&self) -> u64 {
        self.lock().count
    }

    /// Notes that the server takes events: it took one, or refused one for a fault of that event alone. The event was sent after
    /// `count` refusals; later ones, as of a batch beside it, still stand.
    pub(super) fn clear(&self, count: u64) {
        let mut last = self.lock();
        if last.count == count {
            last.reason = None;
        }
    }

    /// Why no event is taken at the moment, as far as is known.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// Whether a queue has ever refused a message.
    pub(super) fn has_queue_refused(&self) -> bool {
        self.by_queue.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_a_refusal_does_not_take_it_back() {
        let refusals = Refusals::default();
        let before = refusals.count();
        refusals.note("full");
        refusals.clear(before);
        assert_eq!(refusals.last().as_deref(), Some("full"));
        refusals.clear(refusals.count());
        assert_eq!(refusals.last(), None);
    }
}
