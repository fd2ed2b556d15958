//! Asks the server of an assistant.

use std::path::Path;
use std::time::Duration;

use trunkline_config::Section;
use trunkline_core::AssistantError;
use trunkline_http::header::{ACCEPT, CONTENT_TYPE};
use trunkline_http::{Endpoint, HeaderMap, HeaderValue, Method, Request, Url};

use crate::answer::IncomingAnswer;
use crate::place::Speaker;

/// The size of an answer when the section gives none.
const DEFAULT_MAX_BODY: u64 = 1 << 20;

/// The largest size of an answer that can be given.
const MOST_MAX_BODY: u64 = 256 << 20;

/// How much longer than a turn a request may take: the caller's own limit comes first, this one comes even if there is none.
const GRACE: Duration = Duration::from_secs(5);

/// How long a request for readiness may take.
const READY_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks one server.
pub(crate) struct Client {
    assistant: &'static str,
    endpoint: Endpoint,
    /// The size of an answer in bytes.
    max_body: usize,
    /// The time limit of a turn.
    timeout: Duration,
}

impl Client {
    /// Reads the keys of an [`Endpoint`], and `max_body`.
    pub(crate) fn from_section(
        assistant: &'static str,
        section: &Section<'_>,
        directory: &Path,
        timeout: Duration,
    ) -> Option<Self> {
        let max_body = size(section, "max_body", DEFAULT_MAX_BODY);
        let endpoint = Endpoint::from_section(section, directory, &[])?;
        Some(Self { assistant, endpoint, max_body, timeout })
    }

    /// The address that the section names.
    pub(crate) fn url(&self) -> &Url {
        self.endpoint.url()
    }

    /// Who would be asked at `url`.
    pub(crate) fn place(&self, url: &Url) -> Speaker<'_> {
        Speaker::new(self.assistant, url, self.endpoint.secrets())
    }

    /// Sends a JSON body.
    pub(crate) async fn post(&self, url: &Url, body: String) -> Result<IncomingAnswer<'_>, AssistantError> {
        self.send(Method::POST, url, Some(body), self.timeout.saturating_add(GRACE)).await
    }

    /// Asks for what is there.
    pub(crate) async fn get(&self, url: &Url) -> Result<IncomingAnswer<'_>, AssistantError> {
        self.send(Method::GET, url, None, self.timeout.saturating_add(GRACE)).await
    }

    /// Asks whether anything is there.
    pub(crate) async fn probe(&self, method: Method, url: &Url) -> Result<IncomingAnswer<'_>, AssistantError> {
        self.send(method, url, None, READY_TIMEOUT).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<String>,
        timeout: Duration,
    ) -> Result<IncomingAnswer<'_>, AssistantError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, application/x-ndjson;q=0.9, */*;q=0.1"));
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.extend(self.endpoint.headers().clone());
        let request = Request { method, url, headers, body: body.unwrap_or_default().into(), timeout };
        let place = self.place(url);
        match self.endpoint.open(request).await {
            Ok(incoming) => Ok(IncomingAnswer::new(incoming, place, self.max_body)),
            Err(failure) => Err(place.unanswered(&failure, "a server that answers")),
        }
    }
}

/// A size of a body in bytes.
pub(crate) fn size(section: &Section<'_>, key: &str, default: u64) -> usize {
    let given = section.bytes(key).unwrap_or(default);
    if !(1..=MOST_MAX_BODY).contains(&given) {
        section.unexpected(key, "a size of at least a byte and at most 256 MiB", None);
    }
    usize::try_from(given).unwrap_or(usize::MAX)
}
