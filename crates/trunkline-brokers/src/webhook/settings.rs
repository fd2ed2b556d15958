//! The section `type: webhook`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_core::{Broker, EXPORT_HEADER};
use trunkline_http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use trunkline_http::sign::{self, Key};
use trunkline_http::{HeaderMap, Secrets, Tls, Url, take_user};

use super::{Content, EVENT_IDS_HEADER, Signature, WebhookBroker};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
const MOST_TIMEOUT: Duration = Duration::from_mins(5);
const DEFAULT_CONCURRENCY: usize = 8;

/// Headers that say where a request ends; with others than ours it would never arrive.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

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
#[derive(Clone)]
pub struct Plan {
    /// Where requests go, with the query parameters of every request.
    pub(super) url: Url,
    /// Of every request; these win over ours.
    pub(super) headers: HeaderMap,
    pub(super) tls: Tls,
    pub(super) signature: Signature,
    pub(super) content: Content,
    /// How many conversations are served at once.
    pub(super) concurrency: usize,
    /// Of one request.
    pub(super) timeout: Duration,
    /// What must not be shown although the receiver may echo it.
    pub(super) secrets: Secrets,
}

/// Builds the broker from its section; relative paths of certificates start at `directory`. A key that is unknown is an error.
pub fn webhook_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    Some(Arc::new(WebhookBroker::new(Plan::from_section(section, directory)?)))
}

impl Plan {
    /// Reads the section. Every problem is reported through it; `None` when there is no plan.
    pub fn from_section(section: &Section<'_>, directory: &Path) -> Option<Self> {
        section.unknown_keys(UnknownKeys::Refuse);
        let mut secrets = Secrets::default();
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
        let mut headers = headers(section, &mut secrets);
        let token_name = section.string("token_name");
        let token = section.secret("token");
        if token_name.is_some() && token.is_none() {
            section.warning("token_name", "`token_name` has no effect without `token`", None);
        }
        let tls = tls(section, directory);
        let signature = signature(section, &mut secrets);
        let mut url = url(section)?;

        if let Some((username, password)) = user(section, &mut url) {
            if headers.contains_key(AUTHORIZATION) {
                let message = "the header `Authorization` is given beside a user and password";
                section.error("headers", message, Some("keep one of the two"));
            }
            headers.insert(AUTHORIZATION, secrets.basic_auth(&username, &password));
        }
        if url.scheme() == "http" {
            for key in ["cafile", "certfile", "keyfile"].into_iter().filter(|key| section.has(key)) {
                section.warning(key, format!("`{key}` has no effect without https"), None);
            }
        }
        if let Some(token) = token {
            url.query_pairs_mut().append_pair(token_name.as_deref().unwrap_or("token"), token.expose());
            secrets.add(token.expose());
        }
        secrets.add_query(&url);
        let concurrency = concurrency.and_then(|count| usize::try_from(count).ok()).unwrap_or(DEFAULT_CONCURRENCY);
        Some(Self { url, headers, tls, signature, content, concurrency, timeout, secrets })
    }

    /// The address without its query, which may be secret.
    pub(super) fn receiver(&self) -> String {
        let mut shown = self.url.clone();
        shown.set_query(None);
        shown.into()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { signature, content, concurrency, timeout, .. } = self;
        f.debug_struct("Plan")
            .field("receiver", &self.receiver())
            .field("signature", signature)
            .field("content", content)
            .field("concurrency", concurrency)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}

fn url(section: &Section<'_>) -> Option<Url> {
    let text = section.required("url", Section::url)?;
    let parsed = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = parsed else {
        section.unexpected("url", "an http or https address", Some("write it as `https://example.org/events`"));
        return None;
    };
    url.set_fragment(None);
    Some(url)
}

/// User and password, from `basic_auth` or from the address, which loses them.
fn user(section: &Section<'_>, url: &mut Url) -> Option<(Vec<u8>, Vec<u8>)> {
    let given = section.section("basic_auth", |auth| {
        let password = auth.secret("password").map(|password| password.expose().into()).unwrap_or_default();
        let username = auth.required_string("username")?;
        if username.contains(':') {
            auth.unexpected("username", "a name without a colon", None);
        }
        Some((username.into_bytes(), password))
    });
    let Some(in_url) = take_user(url) else { return given.flatten() };
    if given.is_some() {
        section.error("basic_auth", "`url` names a user as well", Some("keep one of the two"));
    }
    if in_url.0.contains(&b':') {
        section.error("url", "the name of a user cannot have a colon", None);
    }
    Some(in_url)
}

fn tls(section: &Section<'_>, directory: &Path) -> Tls {
    let file = |key| -> Option<PathBuf> { section.string(key).map(|path| directory.join(path)) };
    let (certificate, key) = (file("certfile"), file("keyfile"));
    for (key, is_given, other) in
        [("certfile", certificate.is_some(), key.is_some()), ("keyfile", key.is_some(), certificate.is_some())]
    {
        if is_given && !other {
            section.error(key, "a certificate is of no use without its key", Some("give both `certfile` and `keyfile`"));
        }
    }
    Tls { cafile: file("cafile"), identity: certificate.zip(key) }
}

fn headers(section: &Section<'_>, secrets: &mut Secrets) -> HeaderMap {
    let mut map = HeaderMap::new();
    section.section("headers", |headers| {
        for (key, _) in headers.entries() {
            let Some(value) = headers.secret(&key.name) else { continue };
            let Ok(name) = HeaderName::from_bytes(key.name.as_bytes()) else {
                headers.error(&key.name, "this is not the name of a header", Some("use letters, digits and hyphens"));
                continue;
            };
            if FRAMING.contains(&name.as_str()) || OURS.contains(&name.as_str()) {
                headers.error(&key.name, format!("the header `{name}` cannot be set, because every request has its own"), None);
                continue;
            }
            let Ok(mut header) = HeaderValue::from_str(value.expose()) else {
                headers.unexpected(&key.name, "the value of a header, on one line", None);
                continue;
            };
            header.set_sensitive(true);
            secrets.add_header(value.expose());
            map.insert(name, header);
        }
    });
    map
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Standard,
    HubSha256,
    HubSha1,
    Hub,
    None,
}

fn signature(section: &Section<'_>, secrets: &mut Secrets) -> Signature {
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
    for secret in given {
        match read(secret.expose()) {
            Ok(key) => {
                is_plain |= form == Form::Standard && !secret.expose().starts_with("whsec_");
                keys.push(key);
            }
            Err(error) => section.error("secret", error.to_string(), Some("use `whsec_` and base64")),
        }
        secrets.add(secret.expose());
    }
    if is_plain && (named.is_some() || !section.has("signature")) {
        let message = "of a secret without `whsec_` the bytes are the key, while most receivers decode base64";
        section.warning("secret", message, Some("use `whsec_` and base64"));
    }
    match (form, keys.first().cloned()) {
        (Form::None, _) | (_, None) => Signature::None,
        (Form::Standard, _) => Signature::Standard(keys),
        (Form::HubSha256, Some(key)) => Signature::HubSha256(key),
        (Form::HubSha1, Some(key)) => Signature::HubSha1(key),
        (Form::Hub, Some(key)) => Signature::Hub(key),
    }
}
