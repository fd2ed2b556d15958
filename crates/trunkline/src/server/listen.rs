//! Accepting connections, with bounds on their number and on the time of a request's head.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::Service as _;

use super::RequestLatency;

/// The time for the head of a request to arrive.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// A bound port.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    max_connections: usize,
}

impl Listener {
    /// Binds `interface`, an address or a host name, and `port`; 0 picks a free one.
    pub(crate) async fn bind(interface: &str, port: u16, max_connections: usize) -> io::Result<Self> {
        let address = tokio::net::lookup_host((interface, port)).await?.next();
        let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host name has no address"))?;
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1_024)?;
        Ok(Self { listener: TcpListener::from_std(socket.into())?, max_connections })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves `routes` until `drain`; then accepts no more, and ends when the requests under way are answered.
    pub(crate) async fn serve(self, routes: Router, latency: RequestLatency, drain: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.max_connections));
        let graceful = GracefulShutdown::new();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).pipeline_flush(true);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(HEAD_TIME)).max_concurrent_streams(256);
        loop {
            let Some(permit) = drain.run_until_cancelled(Arc::clone(&room).acquire_owned()).await else { break };
            let Some(accepted) = drain.run_until_cancelled(self.listener.accept()).await else { break };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    refuse(&error).await;
                    continue;
                }
            };
            let _ = TcpStream::set_nodelay(&stream, true);
            let (routes, latency) = (routes.clone(), latency.clone());
            let service = service_fn(move |request| answer(routes.clone(), latency.clone(), request));
            let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "Connection ended");
                }
                drop(permit);
            });
        }
        drop(self.listener);
        graceful.shutdown().await;
    }
}

/// Answers one request, measures it, and turns a panic, which is a bug, into 500. Around the router as a whole, because a layer
/// of axum costs an allocation or more for every request and route.
async fn answer(mut routes: Router, latency: RequestLatency, request: Request<Incoming>) -> Result<Response, Infallible> {
    let (started, group) = (Instant::now(), RequestLatency::group(request.uri().path()));
    let response = AssertUnwindSafe(routes.call(request)).catch_unwind().await;
    let response = response.unwrap_or_else(|_| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()))?;
    latency.observe(group, response.status().as_u16(), started.elapsed());
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
