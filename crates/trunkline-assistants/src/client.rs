//! The HTTP client of an assistant: bounded in time, follows no redirects, uses no proxies of the environment.

use std::error::Error;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Method, Url};
use trunkline_core::AssistantError;

use crate::answer::Answer;
use crate::endpoint::Endpoint;
use crate::place::Place;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much longer than a turn a request may take: the caller's own limit comes first, this one comes even if there is none.
const GRACE: Duration = Duration::from_secs(5);

/// How long a request for readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than the shortest keep-alive in wide use (2 s, gunicorn), so that no request goes to a connection that the
/// server is about to close. Such a request could not be repeated: it might have been heard.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_millis(1500);

/// Asks one server.
pub(crate) struct Client {
    assistant: &'static str,
    endpoint: Endpoint,
    /// Made at the first request, because certificates are read from files.
    http: OnceLock<reqwest::Client>,
}

impl Client {
    pub(crate) fn new(assistant: &'static str, endpoint: Endpoint) -> Self {
        Self { assistant, endpoint, http: OnceLock::new() }
    }

    /// What the section says.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Who would be asked at `url`.
    pub(crate) fn place(&self, url: &Url) -> Place<'_> {
        Place::new(self.assistant, url, &self.endpoint.secrets)
    }

    /// Sends a JSON body.
    pub(crate) async fn post(&self, url: &Url, body: String) -> Result<Answer<'_>, AssistantError> {
        self.send(Method::POST, url, Some(body), self.endpoint.timeout.saturating_add(GRACE)).await
    }

    /// Asks for what is there.
    pub(crate) async fn get(&self, url: &Url) -> Result<Answer<'_>, AssistantError> {
        self.send(Method::GET, url, None, self.endpoint.timeout.saturating_add(GRACE)).await
    }

    /// Asks whether anything is there.
    pub(crate) async fn probe(&self, method: Method, url: &Url) -> Result<Answer<'_>, AssistantError> {
        self.send(method, url, None, READY_TIMEOUT).await
    }

    async fn send(&self, method: Method, url: &Url, body: Option<String>, limit: Duration) -> Result<Answer<'_>, AssistantError> {
        let place = self.place(url);
        let http = self.http().map_err(|found| place.failed(&found, "a client that can ask it"))?;
        let mut request = http.request(method, url.clone()).timeout(limit);
        if let Some((username, password)) = &self.endpoint.basic_auth {
            request = request.basic_auth(username, Some(password.expose()));
        }
        request = request.header(ACCEPT, HeaderValue::from_static("application/json, application/x-ndjson;q=0.9, */*;q=0.1"));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body);
        }
        let sent = request.headers(self.endpoint.headers.clone()).send().await;
        let response = sent.map_err(|error| place.failed(&describe(error), "a server that answers"))?;
        Ok(Answer::new(response, place, self.endpoint.max_body))
    }

    fn http(&self) -> Result<&reqwest::Client, String> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let built = self.build()?;
        Ok(self.http.get_or_init(|| built))
    }

    fn build(&self) -> Result<reqwest::Client, String> {
        let builder = reqwest::Client::builder()
            .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT);
        let builder = match (self.endpoint.url.scheme(), &self.endpoint.cafile) {
            ("https", None) => builder,
            ("https", Some(file)) => {
                let shown = file.display();
                let pem = std::fs::read(file).map_err(|error| format!("no readable `cafile` {shown} ({error})"))?;
                let certificates = Certificate::from_pem_bundle(&pem).unwrap_or_default();
                if certificates.is_empty() {
                    return Err(format!("no certificate in `cafile` {shown}"));
                }
                builder.tls_certs_only(certificates)
            }
            // Without redirects TLS never comes up: the certificates of the system are not worth reading.
            _ => builder.tls_certs_only([]),
        };
        builder.build().map_err(describe)
    }
}

/// What went wrong, down to its cause, without the address.
pub(crate) fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let what = match () {
        () if error.is_connect() => "no connection",
        () if error.is_timeout() => "no answer in time",
        () if error.is_body() || error.is_decode() => "an answer that broke off",
        () => "a request that failed",
    };
    let mut cause: &dyn Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    format!("{what} ({cause})")
}
