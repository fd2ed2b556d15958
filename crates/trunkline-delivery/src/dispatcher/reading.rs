//! Reading from the journal, beside the deliveries.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use trunkline_journal::{Chunk, Limits, ReadError};

use super::saving::SAVE_EVERY;
use super::{Dispatcher, Done};
use crate::LaneMode;
use crate::attempt::Attempt;

/// The bytes of events that are read and not under way.
pub(super) const MOST_BYTES: usize = 4 << 20;

/// How it stands with reading from the journal.
#[derive(Debug)]
pub(super) enum Reading {
    Idle,
    UnderWay,
    /// It failed for this reason, and is tried again at this time.
    Failed(Instant, String),
}

impl Dispatcher {
    /// Reads on, beside the deliveries.
    pub(super) fn read_ahead(&mut self) {
        if matches!(self.reading, Reading::Failed(until, _) if until <= Instant::now()) {
            self.reading = Reading::Idle;
        }
        self.make_room();
        while self.can_read() {
            let Attempt { subscription, .. } = &*self.attempt;
            let room = subscription.most_unsettled.saturating_sub(self.lanes.owed());
            let limits = Limits { events: room.min(subscription.batch.events.max(64) * 2), bytes: MOST_BYTES / 2 };
            let (attempt, from) = (Arc::clone(&self.attempt), self.lanes.position());
            let mut read = Box::pin(async move { attempt.journal.read(from, limits).await });
            // The newest events are in memory, and there at once.
            if let Some(result) = (&mut read).now_or_never() {
                self.take_in(result);
                self.dispatch();
            } else {
                self.reading = Reading::UnderWay;
                self.tasks.spawn(async move { Done::Read(read.await) });
            }
        }
    }

    pub(super) fn take_in(&mut self, result: Result<Chunk, ReadError>) {
        self.reading = Reading::Idle;
        let subscription = &self.attempt.subscription;
        match result {
            Ok(chunk) => {
                for event in chunk.events {
                    if subscription.filter.accepts(&event) && !self.buried.remove(&event.id) {
                        self.lanes.offer(event, 0, 0);
                    }
                }
                self.lanes.advance(chunk.next);
                self.save_at.get_or_insert_with(|| Instant::now() + SAVE_EVERY);
            }
            Err(error) => {
                tracing::error!(subscription = subscription.name, %error, "Journal could not be read");
                self.reading = Reading::Failed(Instant::now() + subscription.retry.backoff.most, error.to_string());
            }
        }
    }

    /// Whether there is more to read, and memory and the receiver allow it. A receiver that is down needs no more than the next
    /// event to try.
    pub(super) fn can_read(&self) -> bool {
        matches!(self.reading, Reading::Idle)
            && self.lanes.position() <= *self.head.borrow()
            && self.lanes.owed() < self.attempt.subscription.most_unsettled
            && self.lanes.bytes() < MOST_BYTES
            && !(self.breaker.is_open() && self.lanes.is_any_ready())
    }

    /// Lets go of the events of busy lanes when they alone keep others from being read that could be sent now.
    pub(super) fn make_room(&mut self) {
        let is_idle = self.under_way < self.attempt.subscription.concurrency && !self.lanes.is_any_ready();
        if is_idle && self.attempt.subscription.lanes != LaneMode::One && self.lanes.bytes() >= MOST_BYTES {
            self.lanes.unload_all();
        }
    }
}
