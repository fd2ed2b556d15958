//! From events to a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use sha2::{Digest, Sha256};
use trunkline_core::{EXPORT_HEADER, Event};
use trunkline_http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use trunkline_http::sign::{self, Key};
use trunkline_http::{HeaderMap, Method, Request};
use uuid::Uuid;

use super::WebhookSettings;

/// The header with the ids of the events of a batch, in order, with commas between.
pub const EVENT_IDS_HEADER: &str = "trunkline-event-ids";

/// The most events in one request: their ids must fit into what servers take as a header, often 4 or 8 KiB.
pub const MOST_BATCH: usize = 100;

/// What the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The JSON object of one event.
    Single,
    /// A JSON list of events.
    Batch,
}

/// How a request is signed.
#[derive(Clone, Debug)]
pub enum Signature {
    /// Not at all.
    None,
    /// As Standard Webhooks, with every key.
    Standard(Vec<Key>),
    /// `X-Hub-Signature-256: sha256=…`, as GitHub.
    HubSha256(Key),
    /// `X-Hub-Signature: sha1=…`, as GitHub's older one.
    HubSha1(Key),
    /// `X-Hub-Signature: sha256=…`, as Oracle Digital Assistant.
    Hub(Key),
}

impl WebhookSettings {
    /// The request that carries `events` at the time `now`, in Unix seconds.
    pub(super) fn request(&self, events: &[&Arc<Event>], export: Option<&str>, now: u64) -> Request<'_> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.endpoint.headers().clone());
        let ids = events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>().join(",");
        let (id, body) = if let (Content::Single, [event]) = (self.content, events) {
            (ids, event.body.clone())
        } else {
            set(&mut headers, EVENT_IDS_HEADER, &ids);
            (batch_id(&ids), list(events))
        };
        if let Some(export) = export {
            set(&mut headers, EXPORT_HEADER, export);
        }
        self.sign(&mut headers, &id, now, &body);
        Request { method: Method::POST, url: self.endpoint.url(), headers, body, timeout: self.timeout }
    }

    /// A request without an effect, signed like the others, because some receivers look at nothing that is not.
    pub(super) fn probe(&self, timeout: Duration, now: u64) -> Request<'_> {
        let mut headers = self.endpoint.headers().clone();
        let (id, body) = (format!("probe_{}", Uuid::new_v4().simple()), Bytes::new());
        self.sign(&mut headers, &id, now, &body);
        Request { method: Method::OPTIONS, url: self.endpoint.url(), headers, body, timeout }
    }

    fn sign(&self, headers: &mut HeaderMap, id: &str, now: u64, body: &[u8]) {
        set(headers, sign::ID_HEADER, id);
        match &self.signature {
            Signature::None => {}
            Signature::Standard(keys) => {
                set(headers, sign::TIMESTAMP_HEADER, &now.to_string());
                set(headers, sign::SIGNATURE_HEADER, &sign::standard(keys, id, now, body));
            }
            Signature::HubSha256(key) => set(headers, sign::HUB_256_HEADER, &sign::hub_sha256(key, body)),
            Signature::HubSha1(key) => set(headers, sign::HUB_HEADER, &sign::hub_sha1(key, body)),
            Signature::Hub(key) => set(headers, sign::HUB_HEADER, &sign::hub_sha256(key, body)),
        }
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: &str) {
    // Ids, digits, hexadecimal and base64 can stand in headers; an export id of somebody else's making may not.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// The same for the same events, and different for all others.
fn batch_id(ids: &str) -> String {
    let digest = Sha256::digest(ids);
    digest.iter().take(16).fold("batch_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The bodies as they are, as a list.
fn list(events: &[&Arc<Event>]) -> Bytes {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.body.len() + 1).sum::<usize>() + 1);
    body.put_u8(b'[');
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&event.body);
    }
    body.put_u8(b']');
    body.freeze()
}
