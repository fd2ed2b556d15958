//! From a section of `type: redis` to a broker or a source; nothing is connected to.

use std::path::Path;

use trunkline_adapter::ReadBy;
use trunkline_brokers::{brokers, redis_from_section, redis_source_from_section, sources};
use trunkline_config::{Diagnostics, Document, Section, Style, UnknownKeys};

use crate::redis_common::{read, source};

fn said(yaml: &str) -> Vec<String> {
    let (broker, said) = read(yaml, redis_from_section);
    assert!(broker.is_some() || said.iter().any(|said| said.starts_with("error: ")), "{yaml}");
    said
}

#[test]
fn what_users_write_is_accepted() {
    for yaml in [
        "url: redis://localhost",
        "url: localhost",
        "url: localhost:6380",
        "url: redis://user:p%40ss@[::1]:6379/3",
        "url: localhost\npassword: 0123",
        "url: localhost\nusername: me\npassword: secret",
        "url: [redis://a:1, redis://b:2]",
        "url: redis://a:1\ncluster: 'true'",
        "url: rediss://a\ncafile: ca.pem\ncertfile: c.pem\nkeyfile: k.pem",
        "url: localhost\nstructure: LIST\npush: left\nkey: events.$event\nmax_length: 100000",
        "url: localhost\ntopic_map:\n  ^user: users\n  (bot|action)$: 'said.$sender_id'",
    ] {
        assert_eq!(said(yaml), [""; 0], "{yaml}");
    }
    assert!(brokers().find("Redis").unwrap().build.is_some());
    assert!(sources().find("redis").unwrap().build.is_some());
}

#[test]
fn faults_are_named_with_their_key() {
    let hint = "(as in `redis://localhost:6379/0` or `rediss://user:password@host:6380`, with `%40` for an `@` in the password)";
    for (yaml, expected) in [
        ("key: a", "error: event_broker.url: required key is missing (add `url: …`)".to_owned()),
        ("url: localhost\nstream: a", "error: event_broker.stream: unknown key `stream` (known keys are".to_owned()),
        (
            "url: localhost\nmax_lenght: 5",
            "error: event_broker.max_lenght: unknown key `max_lenght` (did you mean `max_length`?)".into(),
        ),
        (
            "url: amqp://localhost",
            format!("error: event_broker.url: a URL of Redis begins with `redis://`, or with `rediss://` for TLS {hint}"),
        ),
        ("url: redis://localhost?db=1", format!("error: event_broker.url: options behind `?` or `#` are not supported {hint}")),
        (
            "url: rediss://localhost/#insecure",
            format!("error: event_broker.url: options behind `?` or `#` are not supported {hint}"),
        ),
        (
            "url: redis://localhost/events",
            format!("error: event_broker.url: the part behind the port is the number of a database {hint}"),
        ),
        ("url: redis://", format!("error: event_broker.url: the URL names no host {hint}")),
        ("url: redis://localhost:port", format!("error: event_broker.url: this is no URL {hint}")),
        ("url: localhost\nstructure: set", "error: event_broker.structure: expected".to_owned()),
        ("url: localhost\npush: left", "error: event_broker.push: `push` has a meaning for lists only".to_owned()),
        ("url: localhost\nkey: ''", "error: event_broker.key: expected the name of a key".to_owned()),
        ("url: localhost\nkey: $user", "error: event_broker.key: there is no `$user`; known: `$sender_id`, `$event`".to_owned()),
        ("url: localhost\nmax_length: 0", "error: event_broker.max_length: expected".to_owned()),
        ("url: localhost\nusername: me", "error: event_broker.username: `username` needs a `password`".to_owned()),
        (
            "url: redis://:a@localhost\npassword: b",
            "error: event_broker.password: `password` is given twice: here and in `url`".into(),
        ),
        (
            "url: localhost\ncafile: ca.pem",
            "error: event_broker.cafile: `cafile` needs TLS (write `rediss://` in `url`)".to_owned(),
        ),
        ("url: rediss://localhost\ncertfile: c.pem", "error: event_broker.certfile: `certfile` needs a `keyfile`".to_owned()),
        ("url: rediss://localhost\nkeyfile: k.pem", "error: event_broker.keyfile: `keyfile` needs a `certfile`".to_owned()),
        ("url: [a, b]\ncluster: false", "error: event_broker.cluster: several URLs are nodes of a cluster".to_owned()),
        ("url: redis://a/1\ncluster: true", "error: event_broker.url: a cluster has database 0 only".to_owned()),
        (
            "url: [redis://a, rediss://b]",
            "error: event_broker.url: either all nodes are reached with `rediss://`, or none".into(),
        ),
        (
            "url: [redis://u:a@a, redis://u:b@b]",
            "error: event_broker.url: the nodes of a cluster have the same user and password".into(),
        ),
        ("url: []", "error: event_broker.url: expected a URL".to_owned()),
        (
            "url: localhost\ntopic_map: {'user(': a}",
            "error: event_broker.topic_map.user(: `user(` is no regular expression".to_owned(),
        ),
        ("url: localhost\ntopic_map: {user: $a}", "error: event_broker.topic_map.user: there is no `$a`".to_owned()),
        ("url: localhost\ntopic_map: {}", "warning: event_broker.topic_map: the map is empty".to_owned()),
    ] {
        let said = said(yaml);
        assert_eq!(said.len(), 1, "{yaml}: {said:?}");
        assert!(said[0].starts_with(&expected), "{yaml}\n{}\n{expected}", said[0]);
    }
}

#[test]
fn all_faults_are_found_at_once() {
    let said = said("url: amqp://x\nkey: $a\nstructure: set\nmax_length: -1\ncertfile: c\ntopic_map: {'(': $b}");
    assert_eq!(said.len(), 6, "{said:?}");
}

#[test]
fn a_source_takes_the_section_of_a_broker_with_one_key() {
    assert_eq!(
        source("url: localhost/1").place().to_string(),
        "stream `rasa_core_events` of Redis at localhost:6379, database 1"
    );
    assert_eq!(
        source("url: [a, b:7]\nstructure: list\nkey: x").place().to_string(),
        "list `x` of the Redis cluster at a:6379, b:7"
    );
    let said = |yaml: &str| read(yaml, |section, directory| redis_source_from_section(section, directory, ReadBy::Person)).1;
    let both = "url: a\ngroup: g\nmax_length: 5\ntopic_map: {user: b}";
    assert_eq!(said(both), [""; 0]);
    assert_eq!(self::said(both), [""; 0]);
    assert!(said("url: a\nkey: $event")[0].starts_with("error: event_broker.key: a source reads one key"));
}

#[test]
fn a_list_is_named_because_its_elements_have_no_ids() {
    let writes = |yaml: &str| read(yaml, redis_from_section).0.unwrap().writes_without_ids_to();
    let list = "url: localhost\nstructure: list\nkey: x";
    assert_eq!(writes(list), Some(source(list).place()));
    assert_eq!(writes("url: localhost"), None);
    assert_eq!(writes("url: localhost\nstructure: list\nkey: $event"), None);
}

#[test]
fn the_examples_of_the_manual_are_accepted() {
    let page = include_str!("../../../../docs/brokers/redis.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 5);
    for example in examples {
        let diagnostics = Diagnostics::new();
        let environment = |name: &str| (name == "REDIS_PASSWORD").then(|| "hunter2".to_owned());
        let document = Document::parse("endpoints.yml", example, &environment, &diagnostics).unwrap();
        let count = document.read(UnknownKeys::Warn, &diagnostics, |root| {
            let shared = |section: &Section<'_>| {
                for key in ["type", "name", "filter"] {
                    section.node(key);
                }
            };
            let brokers = root.sections("event_broker", |section| {
                shared(section);
                redis_from_section(section, Path::new("/nowhere")).is_some()
            });
            let sources = root.sections("sources", |section| {
                shared(section);
                redis_source_from_section(section, Path::new("/nowhere"), ReadBy::Person).is_some()
            });
            brokers.len() + sources.len()
        });
        assert_eq!(count, 1, "{example}");
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
    }
}

#[test]
fn secrets_are_never_shown() {
    let text = "event_broker:\n  url: redis://me:hunter2@host:nonsense\n  password: hunter2\n  usernam: hunter2\n";
    let diagnostics = Diagnostics::new();
    let document = Document::parse("endpoints.yml", text, &|_| None, &diagnostics).unwrap();
    document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| redis_from_section(section, Path::new("/nowhere")).is_some())
    });
    assert!(diagnostics.has_errors());
    assert!(!diagnostics.render(Style::Plain).contains("hunter2"), "{}", diagnostics.render(Style::Plain));
    let (broker, _) = read("url: localhost\nusername: me\npassword: hunter2", redis_from_section);
    assert!(broker.is_some());
}
