//! One append after another within a conversation.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Mutex, OwnedMutexGuard};
use xxhash_rust::xxh3::xxh3_64;

/// So many conversations can be appended to at the same time; two share a lock by chance.
const LOCKS: usize = 4_096;

/// A lock for every conversation. One is made when it is first taken, so that a gateway with little to do stays small.
#[derive(Debug)]
pub(super) struct Locks(Vec<OnceLock<Arc<Mutex<()>>>>);

/// Holds the lock of a conversation, wherever it goes.
pub(super) type Guard = OwnedMutexGuard<()>;

impl Default for Locks {
    fn default() -> Self {
        Self(vec![OnceLock::new(); LOCKS])
    }
}

impl Locks {
    /// Held while a conversation is looked at and appended to.
    pub(super) async fn one(&self, conversation: &str) -> Guard {
        self.lock(place(conversation)).await
    }

    /// The same for several conversations. All who take several take them in one order, so none waits for another in a ring.
    pub(super) async fn several<'c>(&self, conversations: impl Iterator<Item = &'c str>) -> Vec<Guard> {
        let mut places: Vec<_> = conversations.map(place).collect();
        places.sort_unstable();
        places.dedup();
        let mut guards = Vec::with_capacity(places.len());
        for place in places {
            guards.push(self.lock(place).await);
        }
        guards
    }

    async fn lock(&self, place: usize) -> Guard {
        Arc::clone(self.0[place].get_or_init(Arc::default)).lock_owned().await
    }
}

fn place(conversation: &str) -> usize {
    usize::try_from(xxh3_64(conversation.as_bytes()) % LOCKS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_conversation_is_locked_once_however_often_it_is_named_and_in_whatever_order() {
        let locks = Locks::default();
        let several = locks.several(["a", "b", "a"].into_iter()).await;
        assert_eq!(several.len(), 2);
        let is_locked = |name| locks.0[place(name)].get().is_some_and(|lock| lock.try_lock().is_err());
        assert!(is_locked("a") && is_locked("b") && !is_locked("c"));
        drop(several);
        let one = locks.one("b").await;
        let waiting = locks.several(["b", "a"].into_iter());
        let mut waiting = std::pin::pin!(waiting);
        let is_pending = std::future::poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(one);
        assert_eq!(waiting.await.len(), 2);
    }
}
