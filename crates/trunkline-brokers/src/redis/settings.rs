//! The section `type: redis`.

use std::path::Path;
use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use trunkline_adapter::ReadBy;
use trunkline_config::{Secret, Section, UnknownKeys};
use trunkline_core::{Broker, Source, Template, TopicMap};
use trunkline_tls::TlsFiles;

use super::address::Address;
use super::broker::{RedisBroker, RedisSettings};
use super::keys::{Keys, beside, fixed_tag};
use super::source::RedisSource;
use super::{End, Structure};

/// The name of the queue and of the topic that Rasa's other brokers have by default.
const DEFAULT_KEY: &str = "rasa_core_events";

/// The most entries that can be asked for; more than fits into any memory.
const MOST_LENGTH: i64 = 1_000_000_000_000;

/// Builds the broker from its section; files are relative to `directory`. A key that is unknown is an error.
pub fn redis_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    pass_over(section, &["group"]);
    let address = address(section, directory);
    let (structure, end) = structure(section);
    let keys = keys(section);
    let max_length = section.integer("max_length", 1..=MOST_LENGTH).map(i64::cast_unsigned);
    let (address, (keys, tag)) = (address?, keys?);
    let tag = tag.filter(|_| address.is_cluster);
    Some(Arc::new(RedisBroker::new(RedisSettings { address, structure, end, keys, tag, max_length })))
}

/// Builds the source from its section, which may be that of a broker; the same key is then read that the broker writes.
pub fn redis_source_from_section(section: &Section<'_>, directory: &Path, by: ReadBy) -> Option<Arc<dyn Source>> {
    section.unknown_keys(UnknownKeys::Refuse);
    pass_over(section, &["topic_map", "max_length"]);
    let address = address(section, directory);
    let (structure, end) = structure(section);
    let group = section.string("group").unwrap_or_else(|| by.group().to_owned());
    let key = template(section, "key", &text_of_key(section)?)?;
    let Some(key) = key.constant() else {
        section.error("key", "a source reads one key, so it has no placeholders", Some("name a stream or list"));
        return None;
    };
    let (Some(processing), Some(reader)) = (beside(key, "processing"), beside(key, "reader")) else {
        section.error("key", "the key has a `}` without a `{` before it, so no other key can be put beside it", None);
        return None;
    };
    Some(Arc::new(RedisSource { address: address?, structure, end, key: key.to_owned(), processing, reader, group }))
}

/// Asks for keys that mean nothing here: one section may serve as a broker and as the source that reads it.
fn pass_over(section: &Section<'_>, keys: &[&str]) {
    for key in keys.iter().filter(|key| section.has(key)) {
        section.node(key);
    }
}

fn structure(section: &Section<'_>) -> (Structure, End) {
    let structures = [("stream", Structure::Stream), ("list", Structure::List)];
    let structure = section.enumeration("structure", &structures).unwrap_or(Structure::Stream);
    let end = section.enumeration("push", &[("left", End::Left), ("right", End::Right)]);
    if end.is_some() && structure == Structure::Stream {
        section.error("push", "`push` has a meaning for lists only", Some("set `structure: list`, or leave `push` out"));
    }
    (structure, end.unwrap_or(End::Right))
}

fn text_of_key(section: &Section<'_>) -> Option<String> {
    match section.string("key") {
        Some(text) if text.is_empty() => {
            section.unexpected("key", "the name of a key", None);
            None
        }
        text => Some(text.unwrap_or_else(|| DEFAULT_KEY.to_owned())),
    }
}

/// The keys, and the hash tag that all of them have in common.
fn keys(section: &Section<'_>) -> Option<(Keys, Option<String>)> {
    let text = text_of_key(section);
    let otherwise = text.as_deref().and_then(|text| template(section, "key", text));
    let mut topics = TopicMap::default();
    let mut tags = vec![text.as_deref().and_then(fixed_tag).map(ToOwned::to_owned)];
    let rows = section.section("topic_map", |map| {
        for (pattern, _) in map.entries() {
            let Some(text) = map.string(&pattern.name) else { continue };
            tags.push(fixed_tag(&text).map(ToOwned::to_owned));
            let Some(template) = template(map, &pattern.name, &text) else { continue };
            if let Err(error) = topics.push(&pattern.name, template) {
                map.error(&pattern.name, error.to_string(), None);
            }
        }
    });
    if rows.is_some() && tags.len() == 1 {
        section.warning("topic_map", "the map is empty, so all events go to `key`", None);
    }
    let tag = if tags.iter().all(|tag| *tag == tags[0]) { tags.swap_remove(0) } else { None };
    Some((Keys { topics, otherwise: otherwise? }, tag))
}

fn template(section: &Section<'_>, key: &str, text: &str) -> Option<Template> {
    Template::for_events(text).map_err(|error| section.error(key, error.to_string(), None)).ok()
}

fn address(section: &Section<'_>, directory: &Path) -> Option<Address> {
    let is_cluster = section.boolean("cluster");
    let username = section.string("username");
    let password = section.secret("password");
    let tls = tls(section, directory);
    let urls = section.required("url", Section::strings)?;
    let mut nodes: Vec<ConnectionInfo> = urls.iter().map(|url| node(section, url)).collect::<Option<_>>()?;
    let Some(first) = nodes.first() else {
        section.unexpected("url", "a URL as `redis://localhost:6379`, or a list of them", None);
        return None;
    };
    if nodes.len() > 1 && is_cluster == Some(false) {
        section.error("cluster", "several URLs are nodes of a cluster", Some("leave `cluster` out, or name one server"));
    }
    let is_cluster = is_cluster.unwrap_or(nodes.len() > 1);
    let (is_tls, database) = (is_tls(first), first.redis_settings().db());
    if is_cluster && nodes.iter().any(|node| node.redis_settings().db() != 0) {
        section.error("url", "a cluster has database 0 only", Some("leave out the number behind the port"));
    }
    if nodes.iter().any(|node| self::is_tls(node) != is_tls) {
        section.error("url", "either all nodes are reached with `rediss://`, or none", None);
    }
    if !is_tls && !tls.is_empty() {
        let key = ["cafile", "certfile", "keyfile"].into_iter().find(|key| section.has(key)).unwrap_or("cafile");
        section.error(key, format!("`{key}` needs TLS"), Some("write `rediss://` in `url`"));
    }
    credentials(section, &mut nodes, username.as_deref(), password.as_ref());
    let names: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
    let place = if is_cluster {
        format!("the Redis cluster at {}", names.join(", "))
    } else {
        let database = if database == 0 { String::new() } else { format!(", database {database}") };
        format!("Redis at {}{database}", names.join(", "))
    };
    Some(Address { nodes, is_cluster, tls, place })
}

/// Puts the options into nodes that have no credentials in their URLs. A cluster takes those of the first everywhere.
fn credentials(section: &Section<'_>, nodes: &mut [ConnectionInfo], username: Option<&str>, password: Option<&Secret>) {
    let has_own =
        |node: &ConnectionInfo| node.redis_settings().username().is_some() || node.redis_settings().password().is_some();
    if username.is_none() && password.is_none() {
        let Some(first) = nodes.iter().find(|node| has_own(node)).map(|node| node.redis_settings().clone()) else { return };
        if nodes.iter().any(|node| {
            has_own(node)
                && (node.redis_settings().username(), node.redis_settings().password()) != (first.username(), first.password())
        }) {
            section.error("url", "the nodes of a cluster have the same user and password", None);
        }
        for node in nodes {
            *node = node.clone().set_redis_settings(first.clone());
        }
        return;
    }
    if nodes.iter().any(has_own) {
        let key = if username.is_some() { "username" } else { "password" };
        section.error(key, format!("`{key}` is given twice: here and in `url`"), Some("leave it out in `url`"));
    }
    let Some(password) = password else {
        section.error("username", "`username` needs a `password`", None);
        return;
    };
    for node in nodes {
        let mut settings = node.redis_settings().clone().set_password(password.expose());
        if let Some(username) = username {
            settings = settings.set_username(username);
        }
        *node = node.clone().set_redis_settings(settings);
    }
}

/// Reads a URL, or a bare host with or without a port as Rasa's users write it. The URL may hold a password, so it is not shown.
fn node(section: &Section<'_>, url: &str) -> Option<ConnectionInfo> {
    let complete = if url.contains("://") { url.to_owned() } else { format!("redis://{url}") };
    let hint = "as in `redis://localhost:6379/0` or `rediss://user:password@host:6380`, with `%40` for an `@` in the password";
    let Ok(parsed) = url::Url::parse(&complete) else {
        section.error("url", "this is no URL", Some(hint));
        return None;
    };
    let problem = if !matches!(parsed.scheme(), "redis" | "rediss") {
        "a URL of Redis begins with `redis://`, or with `rediss://` for TLS"
    } else if parsed.query().is_some() || parsed.fragment().is_some() {
        "options behind `?` or `#` are not supported"
    } else if parsed.host_str().is_none_or(str::is_empty) {
        "the URL names no host"
    } else {
        match parsed.into_connection_info() {
            Ok(node) => return Some(node),
            Err(error) if error.to_string().contains("database") => "the part behind the port is the number of a database",
            Err(_) => "this is no URL of Redis",
        }
    };
    section.error("url", problem, Some(hint));
    None
}

fn is_tls(node: &ConnectionInfo) -> bool {
    matches!(node.addr(), ConnectionAddr::TcpTls { .. })
}

fn tls(section: &Section<'_>, directory: &Path) -> TlsFiles {
    let file = |key| section.string(key).map(|path| directory.join(path));
    let (ca, certificate, key) = (file("cafile"), file("certfile"), file("keyfile"));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => {
            section.error("certfile", "`certfile` needs a `keyfile`", None);
            None
        }
        (None, Some(_)) => {
            section.error("keyfile", "`keyfile` needs a `certfile`", None);
            None
        }
        (None, None) => None,
    };
    TlsFiles { ca, identity }
}
