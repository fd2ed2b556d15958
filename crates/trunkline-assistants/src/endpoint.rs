//! The keys of a section that say where a server is and how to ask it: those of Rasa's HTTP endpoints.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use trunkline_config::{Secret, Section};

/// The size of an answer when the section gives none.
const DEFAULT_MAX_BODY: u64 = 1 << 20;

/// The largest size of an answer that can be given.
const MOST_MAX_BODY: u64 = 256 << 20;

/// Headers that say where a request ends; with others than ours it would never arrive.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// Where a server is and how to ask it. No `Debug`, because much of it is secret.
pub(crate) struct Endpoint {
    /// With the query parameters of every request. A user and password in it are sent by the client as basic
    /// authentication.
    pub(crate) url: Url,
    /// These win over the headers of a request.
    pub(crate) headers: HeaderMap,
    pub(crate) basic_auth: Option<(String, Secret)>,
    /// The only certificates that are trusted, in PEM; those of the system otherwise.
    pub(crate) cafile: Option<PathBuf>,
    /// The size of an answer in bytes.
    pub(crate) max_body: usize,
    /// The time limit of a turn.
    pub(crate) timeout: Duration,
    /// What must not be shown although the server may echo it.
    pub(crate) secrets: Vec<String>,
}

impl Endpoint {
    /// Reads `url`, `params`, `token`, `token_name`, `headers`, `basic_auth`, `cafile` and `max_body`.
    pub(crate) fn from_section(section: &Section<'_>, timeout: Duration) -> Option<Self> {
        let mut secrets = Vec::new();
        let headers = headers(section, &mut secrets);
        let basic_auth = basic_auth(section);
        let query = query(section);
        let cafile = section.string("cafile");
        let max_body = size(section, "max_body", DEFAULT_MAX_BODY);

        let mut url = url(section)?;
        let names_user = !url.username().is_empty() || url.password().is_some();
        if names_user && basic_auth.is_some() {
            section.error("basic_auth", "`url` names a user as well", Some("keep one of the two"));
        }
        if (names_user || basic_auth.is_some()) && headers.contains_key(AUTHORIZATION) {
            let message = "the header `Authorization` is given beside a user and password";
            section.error("headers", message, Some("keep one of the two"));
        }
        if cafile.is_some() && url.scheme() == "http" {
            section.warning("cafile", "`cafile` has no effect without https", None);
        }
        for (name, value) in &query {
            url.query_pairs_mut().append_pair(name, value.expose());
            secrets.push(value.expose().to_owned());
        }
        // A server echoes the address as it was sent, values escaped.
        secrets.extend(url.query().unwrap_or_default().split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        secrets.extend(url.password().map(str::to_owned));
        secrets.extend(basic_auth.iter().map(|(_, password)| password.expose().to_owned()));
        Some(Self { url, headers, basic_auth, cafile: cafile.map(PathBuf::from), max_body, timeout, secrets })
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

fn url(section: &Section<'_>) -> Option<Url> {
    let text = section.required("url", Section::url)?;
    let parsed = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(mut url) = parsed else {
        section.unexpected("url", "an http or https address", Some("write it as `http://localhost:5006`"));
        return None;
    };
    url.set_fragment(None);
    Some(url)
}

fn basic_auth(section: &Section<'_>) -> Option<(String, Secret)> {
    section.section("basic_auth", |auth| {
        let password = auth.secret("password").unwrap_or_else(|| Secret::new(""));
        auth.required_string("username").map(|username| (username, password))
    })?
}

/// `params`, then the token. Values are read as secrets: an API key may be among them.
fn query(section: &Section<'_>) -> Vec<(String, Secret)> {
    let params = section.section("params", |params| {
        let keys = params.entries().iter().map(|(key, _)| key.name.clone());
        keys.filter_map(|key| params.secret(&key).map(|value| (key, value))).collect()
    });
    let mut query: Vec<_> = params.unwrap_or_default();
    let token_name = section.string("token_name").unwrap_or_else(|| "token".to_owned());
    query.extend(section.secret("token").map(|token| (token_name, token)));
    query
}

fn headers(section: &Section<'_>, secrets: &mut Vec<String>) -> HeaderMap {
    let mut map = HeaderMap::new();
    section.section("headers", |headers| {
        for (key, _) in headers.entries() {
            let Some(value) = headers.secret(&key.name) else { continue };
            let Ok(name) = HeaderName::from_bytes(key.name.as_bytes()) else {
                headers.error(&key.name, "this is not the name of a header", Some("use letters, digits and hyphens"));
                continue;
            };
            if FRAMING.contains(&name.as_str()) {
                headers.error(&key.name, format!("the header `{}` cannot be set", key.name), None);
                continue;
            }
            let Ok(mut header) = HeaderValue::from_str(value.expose()) else {
                headers.unexpected(&key.name, "the value of a header, on one line", None);
                continue;
            };
            header.set_sensitive(true);
            secrets.push(value.expose().to_owned());
            map.insert(name, header);
        }
    });
    map
}
