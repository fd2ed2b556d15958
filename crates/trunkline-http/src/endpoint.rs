//! The keys of a section that say where a server is and how to ask it: those of Rasa's HTTP endpoints.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use reqwest::dns::Resolve;
use tokio::sync::Mutex;
use trunkline_config::{Secret, Section};

use crate::header::AUTHORIZATION;
use crate::resolver::System;
use crate::secrets::take_user;
use crate::{
    Allow, Answer, Client, Failure, HeaderMap, HeaderName, HeaderValue, Incoming, Network, Request, Secrets, TlsFiles, Url,
};

/// Headers that say where a request ends; with others than ours it would never arrive.
const FRAMING: [&str; 3] = ["content-length", "transfer-encoding", "connection"];

/// A server that an operator has named, and how to ask it.
///
/// Nothing is read or connected before the first request. Its client is made apart from the threads that serve, because
/// certificates are read from files, and made anew after a connection failed: perhaps they have been renewed.
pub struct Endpoint {
    url: Url,
    headers: HeaderMap,
    tls: TlsFiles,
    secrets: Secrets,
    resolver: Arc<dyn Resolve>,
    client: Mutex<Option<Client>>,
}

impl Endpoint {
    /// Reads `url`, `params`, `token`, `token_name`, `headers`, `basic_auth`, `cafile`, `certfile` and `keyfile`; relative paths
    /// start at `directory`. The headers that are `reserved`, in lower case, differ from request to request and cannot be set.
    ///
    /// Every problem is reported through the section; `None` when there is no address.
    pub fn from_section(section: &Section<'_>, directory: &Path, reserved: &[&str]) -> Option<Self> {
        let mut secrets = Secrets::default();
        let mut headers = headers(section, reserved, &mut secrets);
        let query = query(section);
        let tls = tls(section, directory);
        let basic_auth = basic_auth(section);
        let mut url = url(section)?;

        if let Some((username, password)) = user(section, basic_auth, &mut url) {
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
        for (name, value) in &query {
            url.query_pairs_mut().append_pair(name, value.expose());
        }
        secrets.add_query(&url);
        Some(Self { url, headers, tls, secrets, resolver: Arc::new(System), client: Mutex::default() })
    }

    /// The same, with names looked up by `resolver`.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    /// The address, with the query parameters of every request and without a user.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The headers of every request; these are to win over those that a request has by itself.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// What must not be shown although the server may echo it.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Adds to what must not be shown.
    pub fn hide(&mut self, secret: &Secret) {
        self.secrets.add(secret.expose());
    }

    /// Sends a request to this server and waits for the beginning of the answer, whatever its status.
    pub async fn open(&self, request: Request<'_>) -> Result<Incoming, Failure> {
        let result = self.client().await?.open(request).await;
        if let Err(Failure::NoConnection(_)) = result
            && self.url.scheme() == "https"
        {
            self.close().await;
        }
        result
    }

    /// The same, and reads at most `most` bytes of the answer's body.
    pub async fn send(&self, request: Request<'_>, most: usize) -> Result<Answer, Failure> {
        Ok(self.open(request).await?.read(most).await)
    }

    /// Lets go of the connections. The next request makes new ones.
    pub async fn close(&self) {
        *self.client.lock().await = None;
    }

    async fn client(&self) -> Result<Client, Failure> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let (allow, resolver) = (allow(&self.url), Arc::clone(&self.resolver));
        let tls = (self.url.scheme() == "https").then(|| self.tls.clone());
        let make = move || Client::with_resolver(allow, tls.as_ref(), resolver);
        let result = tokio::task::spawn_blocking(make).await.map_err(|error| error.to_string()).flatten();
        Ok(client.insert(result.map_err(Failure::NoClient)?).clone())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &shown(&self.url)).field("tls", &self.tls).finish_non_exhaustive()
    }
}

/// An address without user, query and fragment, because these may be secret.
pub fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    take_user(&mut shown);
    shown.into()
}

/// The operator wrote the URL: private networks are fine, and so is the very address that it names.
fn allow(url: &Url) -> Allow {
    let allow = Allow::private();
    match url.host_str().unwrap_or_default().trim_matches(['[', ']']).parse() {
        Ok(address) => allow.with(Network::single(address)),
        Err(_) => allow,
    }
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

/// A user and a password.
type User = (Vec<u8>, Vec<u8>);

fn basic_auth(section: &Section<'_>) -> Option<User> {
    section.section("basic_auth", |auth| {
        let password = auth.secret("password").map(|password| password.expose().into()).unwrap_or_default();
        let username = auth.required_string("username")?;
        if username.contains(':') {
            auth.unexpected("username", "a name without a colon", None);
        }
        Some((username.into_bytes(), password))
    })?
}

/// The user that is given, or that of the address, which loses it.
fn user(section: &Section<'_>, given: Option<User>, url: &mut Url) -> Option<User> {
    let Some(in_url) = take_user(url) else { return given };
    if given.is_some() {
        section.error("basic_auth", "`url` names a user as well", Some("keep one of the two"));
    }
    if in_url.0.contains(&b':') {
        section.error("url", "the name of a user cannot have a colon", None);
    }
    Some(in_url)
}

/// `params`, then the token. Values are read as secrets: an API key may be among them.
fn query(section: &Section<'_>) -> Vec<(String, Secret)> {
    let params = section.section("params", |params| {
        let keys = params.entries().iter().map(|(key, _)| key.name.clone());
        keys.filter_map(|key| params.secret(&key).map(|value| (key, value))).collect()
    });
    let mut query: Vec<_> = params.unwrap_or_default();
    let (token_name, token) = (section.string("token_name"), section.secret("token"));
    if token_name.is_some() && token.is_none() {
        section.warning("token_name", "`token_name` has no effect without `token`", None);
    }
    query.extend(token.map(|token| (token_name.unwrap_or_else(|| "token".to_owned()), token)));
    query
}

fn headers(section: &Section<'_>, reserved: &[&str], secrets: &mut Secrets) -> HeaderMap {
    let mut map = HeaderMap::new();
    section.section("headers", |headers| {
        for (key, _) in headers.entries() {
            let Some(value) = headers.secret(&key.name) else { continue };
            let Ok(name) = HeaderName::from_bytes(key.name.as_bytes()) else {
                headers.error(&key.name, "this is not the name of a header", Some("use letters, digits and hyphens"));
                continue;
            };
            if FRAMING.contains(&name.as_str()) || reserved.contains(&name.as_str()) {
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

fn tls(section: &Section<'_>, directory: &Path) -> TlsFiles {
    let file = |key| section.string(key).map(|path| directory.join(path));
    let (certificate, key) = (file("certfile"), file("keyfile"));
    for (key, is_given, other) in
        [("certfile", certificate.is_some(), key.is_some()), ("keyfile", key.is_some(), certificate.is_some())]
    {
        if is_given && !other {
            section.error(key, "a certificate is of no use without its key", Some("give both `certfile` and `keyfile`"));
        }
    }
    TlsFiles { ca: file("cafile"), identity: certificate.zip(key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_that_the_file_names_is_open_and_other_link_local_ones_are_not() {
        let permits = |url: &str, address: &str| allow(&Url::parse(url).unwrap()).permits(address.parse().unwrap());
        assert!(permits("http://169.254.170.2/x", "169.254.170.2") && permits("http://[fe80::1]:80/x", "fe80::1"));
        assert!(!permits("http://169.254.170.2/x", "169.254.169.254") && !permits("http://receiver/x", "169.254.170.2"));
        assert!(permits("http://receiver/x", "10.0.0.1") && permits("http://receiver/x", "127.0.0.1"));
    }

    #[test]
    fn what_is_shown_of_an_address_has_no_secrets() {
        let url = Url::parse("http://user:hunter2@host:5005/a/b?token=hunter2#hunter2").unwrap();
        assert_eq!(shown(&url), "http://host:5005/a/b");
    }
}
