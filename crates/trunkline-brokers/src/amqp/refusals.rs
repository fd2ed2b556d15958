//! What was said against taking events, other than that one of them is at fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the server and its queues have said. Starts with nothing.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Whether a queue has refused a message before.
    by_queue: AtomicBool,
    /// Why the event was not taken that was published last; `None` when it was.
    last: Mutex<Option<String>>,
}

impl Refusals {
    /// Notes why an event was not taken.
    pub(super) fn note(&self, reason: &str) {
        *self.lock() = Some(reason.to_owned());
    }

    /// Notes that a queue refused a message; tells whether that was the first time.
    pub(super) fn note_queue(&self, reason: &str) -> bool {
        self.note(reason);
        !self.by_queue.swap(true, Ordering::Relaxed)
    }

    /// Notes that an event was taken.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Why no event is taken at the moment, as far as is known.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().clone()
    }

    /// Whether a queue has ever refused a message.
    pub(super) fn has_queue_refused(&self) -> bool {
        self.by_queue.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
