//! Accepting connections, with bounds on their number and on the time of a request's head.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::{RequestLatency, unread};
use crate::ServerPlan;

/// How often it is asked whether the other end of an HTTP/2 connection is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long idle connections stay open when the gateway stops: a request that had reached this machine by then is read in this
/// time, because the sockets are looked at whenever a timer is, and is answered.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    max_connections: usize,
    /// The time for the head of a request to arrive, and again for its body.
    request_time: Duration,
}

impl Listener {
    /// Binds the interface of `plan`, an address or a host name, and its port; 0 picks a free one.
    pub(crate) async fn bind(plan: &ServerPlan) -> io::Result<Self> {
        let address = tokio::net::lookup_host((plan.interface.as_str(), plan.port)).await?.next();
        let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host name has no address"))?;
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1_024)?;
        let socket = TcpListener::from_std(socket.into())?;
        Ok(Self { socket, max_connections: plan.max_connections, request_time: plan.body.time })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves `routes` until `drain`; then accepts no more, and ends when every request that was sent until then is answered.
    pub(crate) async fn serve(self, routes: Router, latency: RequestLatency, drain: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.max_connections));
        let (drain_of_all, request_time) = (drain.clone(), self.request_time);
        let connections = Connections { routes, latency, drain: drain_of_all, request_time, tasks: TaskTracker::new() };
        loop {
            let Some(permit) = drain.run_until_cancelled(Arc::clone(&room).acquire_owned()).await else { break };
            let Ok(permit) = permit else { break };
            let Some(accepted) = drain.run_until_cancelled(self.socket.accept()).await else { break };
            match accepted {
                Ok((stream, _)) => connections.serve(stream, permit),
                Err(error) => refuse(&error).await,
            }
        }
        // The system has accepted more for us than we have; closing the listener would reset them, and lose what they sent.
        if let Ok(listener) = self.socket.into_std() {
            while let Ok(permit) = Arc::clone(&room).try_acquire_owned()
                && let Ok((stream, _)) = listener.accept()
            {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    connections.serve(stream, permit);
                }
            }
        }
        connections.tasks.close();
        connections.tasks.wait().await;
    }
}

/// The accepted connections.
struct Connections {
    routes: Router,
    latency: RequestLatency,
    drain: CancellationToken,
    request_time: Duration,
    tasks: TaskTracker,
}

impl Connections {
    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        let _ = TcpStream::set_nodelay(&stream, true);
        let (routes, latency, drain) = (self.routes.clone(), self.latency.clone(), self.drain.clone());
        let request_time = self.request_time;
        self.tasks.spawn(async move {
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http1().timer(TokioTimer::new()).header_read_timeout(request_time);
            builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PING_INTERVAL)).max_concurrent_streams(256);
            let heard = AtomicBool::new(false);
            let service = service_fn(|request| {
                heard.store(true, Ordering::Relaxed);
                answer(routes.clone(), latency.clone(), request_time, request)
            });
            let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
            let last_look = async {
                drain.cancelled().await;
                tokio::time::sleep(LAST_LOOK).await;
            };
            // Before the first bytes tell HTTP/1 from 2, nobody else counts the time.
            let silence = async {
                tokio::time::sleep(request_time).await;
                if heard.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
            };
            let result = tokio::select! {
                biased;
                result = connection.as_mut() => result,
                () = silence => return,
                () = last_look => {
                    // An idle one is closed at once, another when its request is answered.
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!(%error, "Connection ended");
            }
            drop(permit);
        });
    }
}

/// Answers one request, measures it, and turns a panic, which is a bug, into 500. Around the router as a whole, because a layer
/// of axum costs an allocation or more for every request and route.
async fn answer(
    mut routes: Router,
    latency: RequestLatency,
    body_time: Duration,
    request: Request<Incoming>,
) -> Result<Response, Infallible> {
    let (started, group) = (Instant::now(), RequestLatency::group(request.uri().path()));
    let (request, unread) = unread::watch(request);
    let response = AssertUnwindSafe(routes.call(request)).catch_unwind().await;
    let response = response.unwrap_or_else(|_| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()))?;
    latency.observe(group, response.status().as_u16(), started.elapsed());
    if let Some(unread) = unread
        && response.status() != StatusCode::REQUEST_TIMEOUT
    {
        let _ = timeout(body_time, unread.discard()).await;
    }
    Ok(response)
}

/// A connection that broke before it was accepted is nothing; without file descriptors there is nothing to do but wait.
async fn refuse(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "Connection could not be accepted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
