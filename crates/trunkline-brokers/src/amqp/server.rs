//! Which server, as whom, and over what: what a broker and a source have in common.

use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline_config::{Secret, Section};
use trunkline_tls::TlsFiles;

use super::address::{Address, PORT, TLS_PORT};
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

/// How variables of the environment are read, so that tests need not set any.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

const CLIENT_CERTIFICATE: &str = "RABBITMQ_SSL_CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "RABBITMQ_SSL_CLIENT_KEY";
const CA_FILE: &str = "RABBITMQ_SSL_CA_FILE";
const KEY_PASSWORD: &str = "RABBITMQ_SSL_KEY_PASSWORD";

/// A server and how to log in to it.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) vhost: String,
    pub(super) username: String,
    pub(super) password: Secret,
    /// Present when the connection is encrypted.
    pub(super) tls: Option<TlsFiles>,
    /// In seconds, from 1; `None`, and what is longer than the server proposes: as it proposes.
    pub(super) heartbeat: Option<u16>,
    /// How the connection is called in the server's lists.
    pub(super) name: String,
    /// The least time until the next attempt after a connection failed, when it is given.
    pub(super) retry_delay: Option<Duration>,
}

/// The files of TLS as they are named, perhaps not all of them in one place.
#[derive(Debug, Default, PartialEq, Eq)]
struct NamedFiles {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    /// The key of the certificate; absent: it is in the same file.
    key: Option<PathBuf>,
}

impl Server {
    /// Reads the keys of the section that broker and source share. `None` after an error.
    pub(super) fn from_section(section: &Section<'_>, directory: &Path, environment: Environment<'_>) -> Option<Self> {
        section.unknown_keys(trunkline_config::UnknownKeys::Warn);
        warn_of_idle_keys(section, ENDPOINT_KEYS.into_iter().filter(|key| *key != "cafile"));
        for (key, hint) in [
            ("queue", "name it with `queues`"),
            ("virtual_host", "write it behind the host: `url: amqp://host/vhost`"),
            ("vhost", "write it behind the host: `url: amqp://host/vhost`"),
        ] {
            if section.has(key) {
                section.node(key);
                section.warning(key, format!("`{key}` has no effect"), Some(hint));
            }
        }
        let port = section.port("port");
        let username = section.string("username").filter(|name| !name.is_empty());
        let password = section.secret("password");
        let cafile = section.string("cafile").filter(|path| !path.is_empty());
        // It never ends here, so the number only has to be one.
        section.integer("connection_attempts", 1..=u32::MAX);
        let retry_delay = section.duration("retry_delay_in_seconds", trunkline_config::TimeUnit::Seconds);

        let address = section.required("url", address);
        let (username, password) = login(section, address.as_ref(), username, password);
        let address = address?;
        let query = Query::read(section, &address);
        let tls = tls_files(section, &address, cafile, query.tls, directory, environment);
        if let (Some(chosen), Some(other)) = (address.port, port.filter(|port| address.port != Some(*port))) {
            section.warning("port", format!("the URL names port {chosen}, which wins over {other}"), None);
        }
        let default_port = if address.is_tls == Some(true) { TLS_PORT } else { PORT };
        if address.is_tls.is_none() && tls.is_some() && port.is_none() {
            let hint = format!("RabbitMQ listens for TLS on {TLS_PORT} unless told otherwise: set `port: {TLS_PORT}`");
            section.warning("url", format!("no `port` is given, so that TLS goes to {PORT} as in Rasa"), Some(&hint));
        }
        Some(Self {
            port: address.port.or(port).unwrap_or(default_port),
            host: address.host,
            vhost: address.vhost.unwrap_or_else(|| "/".to_owned()),
            username: username?,
            password: password?,
            tls,
            heartbeat: query.heartbeat,
            name: query.name.unwrap_or_else(|| "trunkline".to_owned()),
            retry_delay,
        })
    }

    /// Where it is, for a person.
    pub(super) fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }
}

fn address(section: &Section<'_>, key: &str) -> Option<Address> {
    let holds_login = section.node(key).and_then(|node| node.text()).is_some_and(|text| text.contains('@'));
    let text = if holds_login { section.secret(key)?.expose().to_owned() } else { section.string(key)? };
    match Address::parse(text.trim()) {
        Ok(address) => {
            if address.has_fragment {
                let hint = "in a user name or password, `#` is written %23";
                section.warning(key, "what follows `#` in the URL is ignored", Some(hint));
            }
            Some(address)
        }
        Err(invalid) => {
            section.unexpected(key, invalid.expected, invalid.hint);
            None
        }
    }
}

/// The user name and the password: each that of the section, and else that of the URL.
fn login(
    section: &Section<'_>,
    address: Option<&Address>,
    username: Option<String>,
    password: Option<Secret>,
) -> (Option<String>, Option<Secret>) {
    let Some(address) = address else { return (username, password) };
    let differs = |ours: Option<&str>, theirs: Option<&str>| ours.is_some() && theirs.is_some() && ours != theirs;
    let (url_password, own_password) = (address.password.as_ref(), password.as_ref());
    if differs(username.as_deref(), address.username.as_deref())
        || differs(own_password.map(Secret::expose), url_password.map(Secret::expose))
    {
        section.warning("url", "the URL names another login than `username` and `password`, which win", None);
    }
    let username = username.or_else(|| address.username.clone());
    let password = password.or_else(|| address.password.clone());
    for (key, is_missing) in [("username", username.is_none()), ("password", password.is_none())] {
        if is_missing && !section.has(key) {
            section.required(key, Section::string);
        } else if is_missing && key == "username" {
            section.unexpected(key, "a user name", None);
        }
    }
    (username, password)
}

/// What stands behind the `?` of a URL.
#[derive(Debug, Default)]
struct Query {
    heartbeat: Option<u16>,
    name: Option<String>,
    tls: NamedFiles,
}

impl Query {
    fn read(section: &Section<'_>, address: &Address) -> Self {
        let mut query = Self::default();
        for (key, value) in &address.query {
            let path = || Some(PathBuf::from(value)).filter(|path| !path.as_os_str().is_empty());
            match key.as_str() {
                "heartbeat" => match value.parse() {
                    Ok(0) => {
                        let hint = "it can only be shortened here; the server's own setting is `heartbeat` in rabbitmq.conf";
                        section.warning("url", "`heartbeat=0` in the URL has no effect", Some(hint));
                    }
                    Ok(seconds) => query.heartbeat = Some(seconds),
                    Err(_) => section.error("url", "`heartbeat` in the URL must be seconds from 1 to 65535", None),
                },
                "name" => query.name = Some(value.clone()),
                "cafile" => query.tls.ca = path(),
                "certfile" => query.tls.certificate = path(),
                "keyfile" => query.tls.key = path(),
                "capath" | "cadata" => {
                    let hint = "put the certificates into one file in PEM and name it with `cafile`";
                    section.error("url", format!("`{key}` in the URL is not supported"), Some(hint));
                }
                "no_verify_ssl" if !matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "false" | "no") => {
                    let hint = "name the authority that signed the server's certificate with `cafile`";
                    section.error("url", "a connection whose certificate is not verified is not supported", Some(hint));
                }
                "no_verify_ssl" => {}
                _ => {
                    let hint = (key == "cacertfile").then_some("did you mean `cafile`?");
                    section.warning("url", format!("`{key}` in the URL has no effect"), hint);
                }
            }
        }
        query
    }
}

/// The files of the connection, when it is to be encrypted: with `amqps://`, or with the name of a host beside a CA file or
/// the original's two variables. Those in the URL come first, then those of the section, then those of the environment.
fn tls_files(
    section: &Section<'_>,
    address: &Address,
    cafile: Option<String>,
    mut files: NamedFiles,
    directory: &Path,
    environment: Environment<'_>,
) -> Option<TlsFiles> {
    let variable = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let (certificate, key, authority) = (variable(CLIENT_CERTIFICATE), variable(CLIENT_KEY), variable(CA_FILE));
    let is_tls = address.is_tls.unwrap_or(cafile.is_some() || certificate.is_some() && key.is_some());
    if !is_tls {
        if cafile.is_some() || files != NamedFiles::default() {
            section.warning("url", "files for TLS have no effect beside `amqp://`", Some("begin the URL with `amqps://`"));
        }
        if address.is_tls.is_none() && (certificate.is_some() || key.is_some() || authority.is_some()) {
            let message = format!("the connection is not encrypted: that takes both {CLIENT_CERTIFICATE} and {CLIENT_KEY}");
            section.warning("url", message, Some("or begin the URL with `amqps://`"));
        }
        return None;
    }
    if files.certificate.is_none() && files.key.is_some() {
        section.error("url", "`keyfile` in the URL needs a `certfile`", None);
    }
    if files.certificate.is_none() && certificate.is_some() && key.is_some() {
        (files.certificate, files.key) = (certificate, key);
        if variable(KEY_PASSWORD).is_some() {
            let hint = "decrypt the key file, for example with `openssl pkey`";
            section.warning("url", format!("{KEY_PASSWORD} has no effect, as in Rasa"), Some(hint));
        }
    } else if files.certificate.is_none() && (certificate.is_some() || key.is_some()) {
        let message = format!("no client certificate is shown: that takes both {CLIENT_CERTIFICATE} and {CLIENT_KEY}");
        section.warning("url", message, Some("or name it with `?certfile=…&keyfile=…` in the URL"));
    }
    files.ca = files.ca.or(cafile.map(PathBuf::from)).or(authority);
    let place = |path: PathBuf| directory.join(path);
    let key = files.key.map(place);
    let identity = files.certificate.map(place).map(|certificate| (certificate.clone(), key.unwrap_or(certificate)));
    Some(TlsFiles { ca: files.ca.map(place), identity })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_config::{Diagnostics, Document, UnknownKeys};

    /// Scheme, login, host, port and virtual host, and the files of TLS.
    fn read(yaml: &str, environment: Environment<'_>) -> String {
        let diagnostics = Diagnostics::new();
        let document = Document::parse("endpoints.yml", yaml, &|_| None, &diagnostics).unwrap();
        let server =
            document.read(UnknownKeys::Warn, &diagnostics, |root| Server::from_section(root, Path::new("/etc"), environment));
        let Server { host, port, vhost, username, password, tls, .. } = server.unwrap();
        let files = tls.as_ref().map_or_else(String::new, |files| {
            let name = |path: Option<&PathBuf>| path.map_or("-".to_owned(), |path| path.display().to_string());
            let (certificate, key) = files.identity.as_ref().map(|(certificate, key)| (certificate, key)).unzip();
            format!(" {} {} {}", name(files.ca.as_ref()), name(certificate), name(key))
        });
        let scheme = if tls.is_some() { "amqps" } else { "amqp" };
        format!("{scheme} {username}:{} {host} {port} {vhost}{files}", password.expose())
    }

    #[test]
    fn url_and_options_together_name_one_server() {
        let login = "username: u\npassword: p/%";
        for (yaml, expected) in [
            (format!("url: localhost\n{login}"), "amqp u:p/% localhost 5672 /"),
            (format!("url: amqp.example.com\nport: 5673\n{login}"), "amqp u:p/% amqp.example.com 5673 /"),
            (format!("url: amqp://localhost\n{login}"), "amqp u:p/% localhost 5672 /"),
            (format!("url: amqp://localhost\nport: '5673'\n{login}"), "amqp u:p/% localhost 5673 /"),
            (format!("url: amqp://localhost:5674/v\nport: 5673\n{login}"), "amqp u:p/% localhost 5674 v"),
            (format!("url: amqps://localhost\n{login}"), "amqps u:p/% localhost 5671 / - - -"),
            (format!("url: amqps://localhost\nport: 5672\n{login}"), "amqps u:p/% localhost 5672 / - - -"),
            ("url: amqp://a:b%2F@h/v".to_owned(), "amqp a:b/ h 5672 v"),
            (format!("url: amqp://a:b@h/v\n{login}"), "amqp u:p/% h 5672 v"),
            ("url: amqp://a:b@h\nusername: u".to_owned(), "amqp u:b h 5672 /"),
            ("url: amqp://a@h\npassword: p".to_owned(), "amqp a:p h 5672 /"),
            (format!("url: h\ncafile: ca.pem\n{login}"), "amqps u:p/% h 5672 / /etc/ca.pem - -"),
            (
                format!("url: amqps://h?cafile=/a&certfile=b&keyfile=c\ncafile: d\n{login}"),
                "amqps u:p/% h 5671 / /a /etc/b /etc/c",
            ),
        ] {
            assert_eq!(read(&yaml, &|_| None), expected, "{yaml}");
        }
    }

    #[test]
    fn the_variables_of_the_original_name_files_that_are_really_used() {
        let environment = |name: &str| match name {
            CLIENT_CERTIFICATE => Some("/c".to_owned()),
            CLIENT_KEY => Some("k".to_owned()),
            CA_FILE => Some("/ca".to_owned()),
            _ => None,
        };
        for (url, expected) in [
            ("h", "amqps u:p h 5672 / /ca /c /etc/k"),
            ("amqps://h", "amqps u:p h 5671 / /ca /c /etc/k"),
            ("amqps://h?cafile=/x&certfile=/y", "amqps u:p h 5671 / /x /y /y"),
            ("amqp://h", "amqp u:p h 5672 /"),
        ] {
            assert_eq!(read(&format!("url: {url}\nusername: u\npassword: p"), &environment), expected, "{url}");
        }
    }
}
