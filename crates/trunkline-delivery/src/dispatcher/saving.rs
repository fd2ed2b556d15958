//! Storing the cursor, behind the deliveries.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_journal::{Progress, Unavailable};

use super::{Dispatcher, Done};

/// How far the stored cursor may be behind the deliveries; what is delivered within it is delivered again after a crash.
pub(super) const SAVE_EVERY: Duration = Duration::from_millis(200);

impl Dispatcher {
    /// Stores the progress behind the deliveries, at the most once in [`SAVE_EVERY`].
    pub(super) fn save_if_due(&mut self) {
        if self.is_saving || self.save_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.save_at = None;
        let progress = self.lanes.progress();
        if progress == self.saved {
            return;
        }
        self.is_saving = true;
        let attempt = Arc::clone(&self.attempt);
        self.tasks.spawn(async move {
            let result = attempt.journal.save_progress(&attempt.subscription.name, progress.clone()).await;
            Done::Saved(result.map(|()| progress))
        });
    }

    pub(super) fn saved(&mut self, result: Result<Progress, Unavailable>) {
        self.is_saving = false;
        match result {
            Ok(progress) => self.saved = progress,
            Err(_) => self.save_at = Some(Instant::now() + SAVE_EVERY),
        }
    }
}
