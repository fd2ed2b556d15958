//! The client.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use reqwest::{Method, Url};

use crate::endpoint::shown;
use crate::failure::root;
use crate::resolver::{Guarded, System};
use crate::{Allow, Answer, Failure, HeaderMap, Incoming, Refused, TlsFiles, tls};

/// How long a connection may take, its lookup and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than the shortest keep-alive in wide use (2 s), so that hardly a request goes to a connection that the server is
/// about to close.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Sends requests to addresses that are allowed, and nowhere else. A clone shares the connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    allow: Allow,
}

/// A request.
#[derive(Clone)]
pub struct Request<'r> {
    /// The method.
    pub method: Method,
    /// An `http` or `https` address. User and password in it become basic authentication.
    pub url: &'r Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The longest that all of it may take, from the lookup to the end of the answer.
    pub timeout: Duration,
}

/// Without the headers, the body and the query, which may be secret.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("url", &shown(self.url)).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects to what `allow` permits. Without `files` it is for `http` alone, and trusts nobody.
    ///
    /// Reads the files, or the certificates of the system, and so belongs on a thread that may block. The error
    /// says what is wrong with them.
    pub fn new(allow: Allow, files: Option<&TlsFiles>) -> Result<Self, String> {
        Self::with_resolver(allow, files, Arc::new(System))
    }

    /// The same, with names looked up by `resolver`. What it finds is checked all the same.
    pub fn with_resolver(allow: Allow, files: Option<&TlsFiles>, resolver: Arc<dyn Resolve>) -> Result<Self, String> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .dns_resolver(Arc::new(Guarded { inner: resolver, allow: allow.clone() }));
        let builder = match files {
            Some(files) => tls::apply(files, builder)?,
            // The certificates of the system may not even be there.
            None => builder.tls_certs_only([]),
        };
        let http = builder.build().map_err(|error| format!("TLS cannot be set up: {}", root(&error)))?;
        Ok(Self { http, allow })
    }

    /// Sends a request and waits for the beginning of the answer, whatever its status.
    pub async fn open(&self, request: Request<'_>) -> Result<Incoming, Failure> {
        let Request { method, url, headers, body, timeout } = request;
        self.check_literal(url)?;
        let sending = self.http.request(method, url.clone()).headers(headers).body(body).timeout(timeout).send();
        let response = sending.await.map_err(|error| Failure::new(&error, timeout))?;
        Ok(Incoming::new(response, timeout))
    }

    /// The same, and reads at most `most` bytes of the answer's body.
    pub async fn send(&self, request: Request<'_>, most: usize) -> Result<Answer, Failure> {
        Ok(self.open(request).await?.read(most).await)
    }

    /// No resolver is ever asked about an address that the URL names itself.
    fn check_literal(&self, url: &Url) -> Result<(), Refused> {
        match literal(url) {
            Some(address) if !self.allow.permits(address) => Err(Refused::new(url.host_str().unwrap_or_default(), address)),
            _ => Ok(()),
        }
    }
}

/// The address that stands in `url` in place of a name. By now the odd ways to write one are gone.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("allow", &self.allow).finish_non_exhaustive()
    }
}
