//! What a person decided about dead letters.

use std::collections::HashSet;

use tokio::time::Instant;
use trunkline_journal::{DeadLetterId, DeadLetterState, OpenDeadLetter, ReadError};

use super::Dispatcher;
use crate::OnExhausted;

impl Dispatcher {
    /// Brings the lanes in line with what was decided about dead letters; later, when they cannot be read now.
    pub(super) async fn look_at_dead_letters(&mut self) {
        match self.open_letters().await {
            Ok(letters) => self.heed(letters),
            Err(error) => {
                tracing::error!(subscription = self.name(), %error, "Dead letters could not be read");
                self.look_at = Some(Instant::now() + self.attempt.subscription.retry.backoff.most);
            }
        }
    }

    pub(super) fn heed(&mut self, letters: Vec<OpenDeadLetter>) {
        let replays = letters.iter().filter(|letter| letter.state == DeadLetterState::Replay).count();
        self.has_more_replays = replays >= self.most_replays();
        let held: HashSet<DeadLetterId> = self.lanes.held().into_iter().collect();
        // What is not among them was dropped, unless it is one of those that did not fit in.
        if !self.has_more_replays {
            let open: HashSet<&DeadLetterId> = letters.iter().map(|letter| &letter.id).collect();
            held.iter().filter(|letter| !open.contains(letter)).for_each(|letter| self.lanes.release(letter));
        }
        for letter in letters {
            match letter.state {
                DeadLetterState::Replay => self.lanes.replay(letter.id, letter.offset, &letter.conversation),
                DeadLetterState::Held if !held.contains(&letter.id) => self.lanes.hold(&letter.conversation, letter.id),
                DeadLetterState::Held | DeadLetterState::Dead => {}
            }
        }
    }

    pub(super) async fn open_letters(&self) -> Result<Vec<OpenDeadLetter>, ReadError> {
        self.attempt.journal.open_dead_letters(self.name(), self.most_replays()).await
    }

    /// How many replays the lanes are told of at once. Where conversations are held it is all, one each, because what waits
    /// behind a replay must not be delivered before it.
    pub(super) fn most_replays(&self) -> usize {
        match self.attempt.subscription.retry.on_exhausted {
            OnExhausted::Hold => usize::MAX,
            OnExhausted::GoOn => self.attempt.subscription.most_unsettled.max(1),
        }
    }
}
