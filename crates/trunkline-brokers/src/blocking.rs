//! Work that blocks, kept off the runtime and in order.

use std::sync::Arc;

use tokio::sync::Mutex;
use tracing::Span;

/// A value that is worked on by one blocking call after the other.
///
/// The lock is waited for before the thread is taken, so a stalled disk holds one thread however many calls wait; the
/// calls get their turn in the order in which they came. A caller that goes away while it waits leaves nothing behind;
/// one that goes away later does not stop the work, which [`Stored`](crate::job::Stored) makes harmless.
#[derive(Debug)]
pub(crate) struct Blocking<T>(Arc<Mutex<T>>);

impl<T: Send + 'static> Blocking<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    /// Runs `work`; the error says that it panicked or that the runtime is shutting down.
    pub(crate) async fn call<R: Send + 'static>(&self, work: impl FnOnce(&mut T) -> R + Send + 'static) -> Result<R, String> {
        let mut value = Arc::clone(&self.0).lock_owned().await;
        let span = Span::current();
        tokio::task::spawn_blocking(move || span.in_scope(|| work(&mut value)))
            .await
            .map_err(|error| format!("the work was cut short: {error}"))
    }
}
