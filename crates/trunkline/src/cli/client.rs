//! Talking to a running gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use trunkline_config::Secret;
use trunkline_gateway::Control;
use trunkline_journal::{DeadLetterId, ReadOnlyJournal};

use super::output::Failure;
use super::serve::reachable;

/// It is on this machine, or the interface that it listens on is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For requests that wait for the journal only.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The longest line of a streamed answer.
const MOST_LINE_BYTES: usize = 16 << 20;

/// A gateway on this machine.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    /// Lets the commands of the gateway's own user in; a gateway in this process needs none.
    token: Option<Secret>,
}

impl Client {
    /// The gateway that listens on `address`.
    pub(super) fn at(address: SocketAddr, token: Option<Secret>) -> Result<Self, Failure> {
        let redirect = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().no_proxy().redirect(redirect).connect_timeout(CONNECT_TIMEOUT).build()?;
        Ok(Self { http, address: reachable(address), token })
    }

    /// The gateway that runs on the journal in `directory`; `None` when nothing has the journal open.
    pub(super) fn of_running(directory: &Path) -> Result<Option<Self>, Failure> {
        if !ReadOnlyJournal::is_in_use(directory) {
            return Ok(None);
        }
        let Some(control) = Control::read(directory) else {
            let reason = "which is no gateway, or one that is starting or of another user; try again, or stop it first";
            return Err(Failure::new(format!("another process has the journal in {}, {reason}", directory.display())));
        };
        Self::at(control.address, Some(Secret::new(control.token))).map(Some)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has a dead letter delivered once more.
    pub(super) async fn replay(&self, id: &DeadLetterId) -> Result<(), Failure> {
        self.send(self.request(Method::POST, &format!("/api/dead-letters/{id}/replay")).timeout(TIMEOUT)).await.map(drop)
    }

    /// Deletes a dead letter.
    pub(super) async fn drop_dead_letter(&self, id: &DeadLetterId) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, &format!("/api/dead-letters/{id}")).timeout(TIMEOUT)).await.map(drop)
    }

    /// Says `text` in `conversation`, and hands on every reply as it comes. All of it may take as long as `limit`.
    pub(super) async fn say(
        &self,
        conversation: &str,
        text: &str,
        limit: Duration,
        mut each: impl FnMut(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let body = json!({"sender": conversation, "message": text, "input_channel": "cmdline"});
        let request = self.request(Method::POST, "/webhooks/rest/webhook?stream=true").timeout(limit);
        let mut response = self.send(request.json(&body)).await?;
        let mut lines = Lines::default();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            for line in lines.push(&bytes)? {
                each(&serde_json::from_str(&line)?)?;
            }
        }
        match lines.rest.trim_ascii() {
            b"" => Ok(()),
            rest => each(&serde_json::from_slice(rest)?),
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("http://{}{path}", self.address));
        match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        let message = serde_json::from_str::<Value>(&text).ok().and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
        Err(Failure::new(match (status, message) {
            (_, Some(message)) => format!("the gateway at {} answered {status}: {message}", self.address),
            (StatusCode::NOT_FOUND, None) => {
                format!("the gateway at {} does not serve this; is the channel `rest` on?", self.address)
            }
            (_, None) => format!("the gateway at {} answered {status}", self.address),
        }))
    }

    fn unreachable(&self, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        let what = if error.is_timeout() { "took too long to answer" } else { "could not be reached" };
        Failure::new(format!("the gateway at {} {what}: {reason}", self.address))
    }
}

/// Puts lines together from the pieces in which they arrive.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// The lines that are complete now, empty ones left out.
    fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Failure> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            if self.rest.len() > MOST_LINE_BYTES {
                return Err(Failure::new("a reply is too long"));
            }
            return Ok(Vec::new());
        };
        let rest = self.rest.split_off(end + 1);
        let complete = String::from_utf8(std::mem::replace(&mut self.rest, rest))?;
        Ok(complete.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let text = "{\"text\": \"h\u{e9}\"}\n\n{\"b\": 2}\n{\"c";
        for byte in text.as_bytes() {
            found.extend(lines.push(&[*byte]).unwrap());
        }
        assert_eq!(found, ["{\"text\": \"h\u{e9}\"}", "{\"b\": 2}"]);
        assert_eq!(Lines::default().push(text.as_bytes()).unwrap(), found);
        assert_eq!(lines.rest, b"{\"c");
    }
}
