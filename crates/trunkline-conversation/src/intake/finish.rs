//! Work that ends although whoever waited for it went away.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Does `work`. When this future is dropped before the end, as with the connection of a client that gave up, the runtime does the rest.
pub(super) fn to_the_end<W>(work: W) -> impl Future<Output = W::Output>
where
    W: Future<Output: Send> + Send + 'static,
{
    ToTheEnd(Some(Box::pin(work)))
}

/// `None` at the end.
struct ToTheEnd<W: Future<Output: Send> + Send + 'static>(Option<Pin<Box<W>>>);

impl<W: Future<Output: Send> + Send + 'static> Future for ToTheEnd<W> {
    type Output = W::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<W: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<W> {
    fn drop(&mut self) {
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_has_begun_ends_although_nobody_waits() {
        let ((go, went), (end, ended)) = (oneshot::channel::<u8>(), oneshot::channel());
        let mut work = Box::pin(to_the_end(async move { end.send(went.await) }));
        let is_pending = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(work);
        go.send(7).unwrap();
        assert_eq!(ended.await, Ok(Ok(7)));
        assert_eq!(to_the_end(async { 8 }).await, 8);
    }
}
