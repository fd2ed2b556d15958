//! What the last event was told, where to ask whether a broker is ready shows less.

use std::sync::{Mutex, PoisonError};

/// Why the last events were not taken, when others would not have been either. Starts with nothing.
///
/// An event is given up only while its broker is ready for others. A broker that cannot find out by asking (a right to write, room on
/// a disk) keeps this, so that it does not say yes while it refuses one event after the other.
#[derive(Debug, Default)]
pub struct LastTrouble(Mutex<Option<String>>);

impl LastTrouble {
    /// Keeps how the last call ended: `None` when events were taken, or were not for a reason that may be their own.
    pub fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }

    /// What a broker answers that finds nothing else wrong with itself when it is asked whether it is ready.
    pub fn is_over(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }
}
