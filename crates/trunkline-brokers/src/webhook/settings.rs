//! The section `type: webhook`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_config::{Secret, Section, TimeUnit, UnknownKeys};
use trunkline_core::{Broker, EXPORT_HEADER};
use trunkline_http::sign::{self, Key};
use trunkline_http::{Endpoint, shown};

use super::{Content, EVENT_IDS_HEADER, Signature, WebhookBroker};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const MOST_TIMEOUT: Duration = Duration::from_mins(5);
const DEFAULT_CONCURRENCY: usize = 8;

/// Headers that differ from request to request.
const OURS: [&str; 7] = [
    sign::ID_HEADER,
    sign::TIMESTAMP_HEADER,
    sign::SIGNATURE_HEADER,
    sign::HUB_HEADER,
    sign::HUB_256_HEADER,
    EVENT_IDS_HEADER,
    EXPORT_HEADER,
];

/// What a section says, checked.
pub struct WebhookSettings {
    pub(super) endpoint: Endpoint,
    pub(super) signature: Signature,
    pub(super) content: Content,
    /// How many conversations are served at once.
    pub(super) concurrency: usize,
    /// Of one request.
    pub(super) timeout: Duration,
}

/// Builds the broker from its section; relative paths of certificates start at `directory`. A key that is unknown is an error.
pub fn webhook_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    Some(Arc::new(WebhookBroker::new(WebhookSettings::from_section(section, directory)?)))
}

impl WebhookSettings {
    /// Reads the section. Every problem is reported through it; `None` when there is no plan.
    pub fn from_section(section: &Section<'_>, directory: &Path) -> Option<Self> {
        section.unknown_keys(UnknownKeys::Refuse);
        let content = section.enumeration("content", &[("single", Content::Single), ("batch", Content::Batch)]);
        let content = content.unwrap_or(Content::Single);
        let concurrency = section.integer("concurrency", 1..=64_i64);
        if concurrency.is_some() && content == Content::Batch {
            section.warning("concurrency", "`concurrency` has no effect with `content: batch`", None);
        }
        let timeout = section.duration("timeout", TimeUnit::Seconds).unwrap_or(DEFAULT_TIMEOUT);
        if timeout.is_zero() || timeout > MOST_TIMEOUT {
            section.unexpected("timeout", "a duration of more than nothing and at most 5 minutes", None);
        }
        let (signature, secrets) = signature(section);
        let mut endpoint = Endpoint::from_section(section, directory, &OURS)?;
        for secret in &secrets {
            endpoint.hide(secret);
        }
        let concurrency = concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(DEFAULT_CONCURRENCY);
        Some(Self { endpoint, signature, content, concurrency, timeout })
    }
}

impl fmt::Debug for WebhookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signature, content, concurrency, timeout, .. } = self;
        f.debug_struct("WebhookSettings")
            .field("receiver", &shown(self.endpoint.url()))
            .field("signature", signature)
            .field("content", content)
            .field("concurrency", concurrency)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Standard,
    HubSha256,
    HubSha1,
    Hub,
    None,
}

/// How requests are signed, and the secrets of that.
fn signature(section: &Section<'_>) -> (Signature, Vec<Secret>) {
    let forms = [
        ("standard", Form::Standard),
        ("hub-sha256", Form::HubSha256),
        ("hub-sha1", Form::HubSha1),
        ("hub", Form::Hub),
        ("none", Form::None),
    ];
    let named = section.enumeration("signature", &forms);
    let given = section.secrets("secret").unwrap_or_default();
    match named {
        Some(Form::None) if !given.is_empty() => {
            section.error("secret", "`secret` has no use with `signature: none`", Some("leave out one of the two"));
        }
        Some(Form::Standard | Form::HubSha256 | Form::HubSha1 | Form::Hub) if !section.has("secret") => {
            section.error("signature", "a signature needs a secret", Some("add `secret: …`"));
        }
        _ => {}
    }
    let form = named.unwrap_or(Form::Standard);
    if given.len() > 1 && form != Form::Standard && form != Form::None {
        let hint = "only `signature: standard` carries several signatures";
        section.error("secret", "there is room for one signature, and so for one secret", Some(hint));
    }
    let read = if form == Form::Standard { Key::standard } else { Key::raw };
    let (mut keys, mut is_plain) = (Vec::new(), false);
    for secret in &given {
        match read(secret.expose()) {
            Ok(key) => {
                is_plain |= form == Form::Standard && !secret.expose().starts_with("whsec_");
                keys.push(key);
            }
            Err(error) => section.error("secret", error.to_string(), Some("use `whsec_` and base64")),
        }
    }
    if is_plain && (named.is_some() || !section.has("signature")) {
        let message = "of a secret without `whsec_` the bytes are the key, while most receivers decode base64";
        section.warning("secret", message, Some("use `whsec_` and base64"));
    }
    let signature = match (form, keys.first().cloned()) {
        (Form::None, _) | (_, None) => Signature::None,
        (Form::Standard, _) => Signature::Standard(keys),
        (Form::HubSha256, Some(key)) => Signature::HubSha256(key),
        (Form::HubSha1, Some(key)) => Signature::HubSha1(key),
        (Form::Hub, Some(key)) => Signature::Hub(key),
    };
    (signature, given)
}
