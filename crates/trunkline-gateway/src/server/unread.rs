//! What is left of a request's body when its answer is ready.
//!
//! A connection that is closed while the client is still sending is reset, and the client finds "connection reset" in place of
//! the 401, 404 or 413 that explains it. So the rest is read and thrown away before the answer goes out, within bounds.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::sync::oneshot;

/// A body up to here is there with its head, or nearly so, and is left to the connection.
const SMALL: u64 = 8 << 10;

/// So much is thrown away at the most.
const MOST: usize = 64 << 20;

/// Watches what becomes of the request's body, if it is one that may be left. A client that asks before it sends
/// (`Expect: 100-continue`) is not made to send.
pub(super) fn watch(request: Request<Incoming>) -> (Request<Body>, Option<Unread>) {
    let is_small = request.body().size_hint().upper().is_some_and(|most| most <= SMALL);
    if is_small || request.headers().contains_key(header::EXPECT) {
        return (request.map(Body::new), None);
    }
    let (back, left) = oneshot::channel();
    let request = request.map(|body| Body::new(Watched { body: Some(body), back: Some(back) }));
    (request, Some(Unread(left)))
}

/// The rest of a body, when the request has been answered without it.
pub(super) struct Unread(oneshot::Receiver<Incoming>);

impl Unread {
    /// Reads it and keeps nothing.
    pub(super) async fn discard(mut self) {
        let Ok(mut body) = self.0.try_recv() else { return };
        let mut left = MOST;
        while let Some(Ok(frame)) = body.frame().await {
            let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            left = rest;
        }
    }
}

/// A body that goes back when it is dropped before its end.
struct Watched {
    body: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.body.take(), self.back.take())
            && !body.is_end_stream()
        {
            let _ = back.send(body);
        }
    }
}
