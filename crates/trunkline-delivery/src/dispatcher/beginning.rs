//! Where a subscription begins, and begins again.

use tokio::time::{Instant, sleep_until};
use trunkline_journal::{Progress, ReadError};

use super::Dispatcher;
use super::reading::MOST_BYTES;
use crate::attempt::{Attempt, guard};
use crate::lanes::Lanes;

impl Dispatcher {
    /// Finds out where to start, as soon as the receiver can tell. False: it was asked to end before.
    pub(super) async fn begin(&mut self) -> bool {
        let drain = self.shutdown.drain.clone();
        let mut failures = 0;
        loop {
            let result = tokio::select! {
                biased;
                () = drain.cancelled() => return false,
                result = self.pick_up() => result,
            };
            let Err(reason) = result else {
                self.problem = None;
                return true;
            };
            if failures == 0 {
                tracing::warn!(subscription = self.name(), reason, "Subscription cannot start yet");
            }
            self.problem = Some(reason);
            self.publish_report();
            failures += 1;
            let wait = self.attempt.subscription.retry.backoff.wait(failures, fastrand::f64());
            tokio::select! {
                () = drain.cancelled() => return false,
                () = sleep_until(Instant::now() + wait) => {}
            }
        }
    }

    /// Goes on where the receiver is: it has lost events that it had confirmed. False: it was asked to end before.
    pub(super) async fn go_back(&mut self) -> bool {
        // A receiver that says so over and over is not asked without a pause.
        let pause = sleep_until(Instant::now() + self.attempt.subscription.retry.backoff.initial);
        tokio::select! {
            () = self.shutdown.drain.cancelled() => return false,
            () = pause => {}
        }
        self.is_behind = false;
        self.save_at = None;
        self.begin().await
    }

    /// Takes up the work where it was left. It may be tried again after an error.
    async fn pick_up(&mut self) -> Result<(), String> {
        let progress = self.starting_point().await?;
        let letters = self.open_letters().await.map_err(|error| error.to_string())?;
        let buried = self.attempt.journal.owed_dead_letters(self.name(), &progress).await;
        self.buried = buried.map_err(|error| error.to_string())?;
        self.lanes = Lanes::new(self.attempt.subscription.lanes, 1);
        self.restore(progress).await.map_err(|error| error.to_string())?;
        self.heed(letters);
        Ok(())
    }

    async fn starting_point(&self) -> Result<Progress, String> {
        let Attempt { journal, receiver, subscription, cursor, .. } = &*self.attempt;
        let stored = journal.subscriptions().await.map_err(|error| error.to_string())?;
        let stored = stored.into_iter().find(|stored| stored.name == subscription.name).map(|stored| stored.progress);
        let next = journal.head() + 1;
        let position = guard(subscription.retry.timeout, async { receiver.position(cursor).await }).await.flatten()?;
        let known = position.map(Progress::at).or_else(|| stored.clone());
        if let Some(Progress { position, .. }) = known.as_ref() {
            let first = journal.stats().await.map_err(|error| error.to_string())?.first;
            if *position > next {
                tracing::error!(subscription = subscription.name, position, next, "Receiver is ahead of the journal");
            } else if *position < first {
                tracing::error!(
                    subscription = subscription.name,
                    from = position,
                    to = first - 1,
                    "Events were removed from the journal before they were delivered"
                );
            }
        }
        let mut progress = known.unwrap_or_else(|| subscription.beginning(next));
        progress.position = progress.position.min(next);
        if stored.as_ref() != Some(&progress) {
            journal.save_progress(&subscription.name, progress.clone()).await.map_err(|error| error.to_string())?;
        }
        Ok(progress)
    }

    async fn restore(&mut self, progress: Progress) -> Result<(), ReadError> {
        for unsettled in &progress.unsettled {
            match self.attempt.journal.event(unsettled.offset).await? {
                Some(event) if self.buried.remove(&event.id) => {}
                Some(event) => self.lanes.offer(event, unsettled.attempts, unsettled.since),
                None => tracing::error!(
                    subscription = self.name(),
                    offset = unsettled.offset,
                    "Event was gone before it was delivered"
                ),
            }
            if self.lanes.bytes() >= MOST_BYTES {
                self.lanes.unload_all();
            }
        }
        self.lanes.resume(progress.position);
        self.saved = progress;
        Ok(())
    }
}
