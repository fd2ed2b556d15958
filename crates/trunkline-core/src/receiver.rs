//! What a subscription delivers to.

use async_trait::async_trait;

use crate::{Batch, Broker, CursorKey, Offset, Outcome};

/// What a subscription delivers to. Every [`Broker`] is one; what answers messages, and what carries them to people, are others.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Delivers a batch and answers one outcome per event, in order; see [`Broker::publish`].
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome>;

    /// Whether events would be taken; the error says what to do.
    async fn is_ready(&self) -> Result<(), String>;

    /// The offset of the next event, when the receiver stores our cursor; see [`Broker::position`].
    async fn position(&self, _cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Ok(None)
    }

    /// Flushes and lets go.
    async fn close(&self) {}
}

#[async_trait]
impl<B: Broker> Receiver for B {
    async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
        self.publish(batch).await
    }

    async fn is_ready(&self) -> Result<(), String> {
        Broker::is_ready(self).await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        Broker::position(self, cursor).await
    }

    async fn close(&self) {
        Broker::close(self).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JournalId;

    /// A receiver that says no more than it has to.
    struct Plain;

    #[async_trait]
    impl Receiver for Plain {
        async fn deliver(&self, batch: &Batch) -> Vec<Outcome> {
            Outcome::Delivered.all(batch.events.len())
        }

        async fn is_ready(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_receiver_keeps_no_cursor_unless_it_says_so() {
        let cursor = CursorKey { journal: JournalId::random(), subscription: "s".into() };
        assert_eq!(Plain.position(&cursor).await, Ok(None));
        Plain.close().await;
    }
}
