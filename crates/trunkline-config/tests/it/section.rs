//! Reading sections into plans.

use std::time::Duration;

use trunkline_config::{Diagnostics, Section, TimeUnit, UnknownKeys};

use crate::{parse, problems};

/// Reads `key` in `key: <yaml>`; an error as its message.
fn read<T>(yaml: &str, read: impl FnOnce(&Section<'_>) -> Option<T>) -> Result<T, String> {
    let diagnostics = Diagnostics::new();
    let document = parse(&format!("key: {yaml}\n"), &diagnostics).expect("the test's YAML is valid");
    let value = document.read(UnknownKeys::Refuse, &diagnostics, read);
    let messages: Vec<String> = diagnostics.sorted().into_iter().map(|d| d.message).collect();
    match value {
        Some(value) if messages.is_empty() => Ok(value),
        _ => Err(messages.join("; ")),
    }
}

fn err<T>(message: &str) -> Result<T, String> {
    Err(message.to_owned())
}

#[test]
fn booleans() {
    let boolean = |yaml| read(yaml, |s| s.boolean("key"));
    for yaml in ["true", "True", "\"true\"", "${B}", "' TRUE '"] {
        assert_eq!(boolean(yaml), Ok(true), "{yaml}");
    }
    assert_eq!(boolean("false"), Ok(false));
    assert_eq!(boolean("yes"), err("expected true or false, found \"yes\""));
    assert_eq!(boolean("1"), err("expected true or false, found 1"));
    assert_eq!(boolean("[true]"), err("expected true or false, found a list"));
}

#[test]
fn integers_and_ports() {
    let integer = |yaml| read(yaml, |s| s.integer("key", 1..=100_u8));
    for (yaml, expected) in [("1", 1), ("'100'", 100), ("0x10", 16), ("\" 7 \"", 7), ("017", 17)] {
        assert_eq!(integer(yaml), Ok(expected), "{yaml}");
    }
    for yaml in ["0", "101", "-1", "1.0", "abc", "true", "99999999999999999999"] {
        let message = integer(yaml).unwrap_err();
        assert!(message.starts_with("expected an integer from 1 to 100, found "), "{message}");
    }
    assert_eq!(read("5672", |s| s.port("key")), Ok(5672));
    assert_eq!(read("\"5672\"", |s| s.port("key")), Ok(5672));
    assert_eq!(read("65536", |s| s.port("key")), err("expected a port number from 1 to 65535, found 65536"));
    let largest = i64::MAX.to_string();
    assert_eq!(read(&largest, |s| s.integer("key", 0..=u64::MAX)), Ok(i64::MAX.cast_unsigned()));
}

#[test]
fn durations() {
    let duration = |yaml| read(yaml, |s| s.duration("key", TimeUnit::Seconds));
    let cases = [
        ("30", Duration::from_secs(30)),
        ("\"30\"", Duration::from_secs(30)),
        ("0.5", Duration::from_millis(500)),
        ("500ms", Duration::from_millis(500)),
        ("1.5s", Duration::from_millis(1500)),
        ("30 s", Duration::from_secs(30)),
        ("5m", Duration::from_mins(5)),
        ("2h", Duration::from_hours(2)),
        ("7d", Duration::from_hours(7 * 24)),
        ("0", Duration::ZERO),
        ("1_000", Duration::from_secs(1000)),
    ];
    for (yaml, expected) in cases {
        assert_eq!(duration(yaml), Ok(expected), "{yaml}");
    }
    for yaml in ["-5", "5 parsecs", "s", ".inf", ".nan", "1e300", "1h30m", "true", "{}"] {
        let message = duration(yaml).unwrap_err();
        assert!(message.starts_with("expected a duration such as `30s`, or a number of seconds"), "{message}");
    }
    assert_eq!(read("250", |s| s.duration("key", TimeUnit::Milliseconds)), Ok(Duration::from_millis(250)));
    assert_eq!(read("2", |s| s.duration("key", TimeUnit::Minutes)), Ok(Duration::from_mins(2)));
}

#[test]
fn sizes() {
    let bytes = |yaml| read(yaml, |s| s.bytes("key"));
    let cases = [
        ("0", 0),
        ("4096", 4096),
        ("1_000", 1000),
        ("\"512\"", 512),
        ("512 B", 512),
        ("64 MiB", 64 << 20),
        ("64mib", 64 << 20),
        ("10MB", 10_000_000),
        ("1.5 GiB", 3 << 29),
        ("2kB", 2000),
        ("1 TB", 1_000_000_000_000),
        ("1 TiB", 1 << 40),
    ];
    for (yaml, expected) in cases {
        assert_eq!(bytes(yaml), Ok(expected), "{yaml}");
    }
    for yaml in ["-1", "64k", "1.5", "0.5 B", "9000000 GiB", "MiB", "[]"] {
        let message = bytes(yaml).unwrap_err();
        assert!(message.starts_with("expected a size such as `64 MiB`, `10MB`, or a number of bytes"), "{message}");
    }
}

#[test]
fn urls_names_and_lists() {
    assert_eq!(read("https://h/p?q=1", |s| s.url("key")), Ok("https://h/p?q=1".to_owned()));
    for yaml in ["localhost", "https://", "http:/h", "\"http://a b\"", "://h", "file:///x", "[]"] {
        assert!(read(yaml, |s| s.url("key")).is_err(), "{yaml}");
    }

    let choices = [("pika", 1), ("sql", 2), ("file", 3)];
    assert_eq!(read("PIKA", |s| s.enumeration("key", &choices)), Ok(1));
    assert_eq!(read("fiel", |s| s.enumeration("key", &choices)), err("expected one of pika, sql, file, found \"fiel\""));

    assert_eq!(read("q", |s| s.strings("key")), Ok(vec!["q".to_owned()]));
    assert_eq!(read("[q, 010]", |s| s.strings("key")), Ok(vec!["q".to_owned(), "010".to_owned()]));
    assert_eq!(read("[]", |s| s.strings("key")), Ok(vec![]));
    assert_eq!(read("[q, [r]]", |s| s.strings("key")), err("expected text, found a list"));
    assert_eq!(read("{q: r}", |s| s.strings("key")), err("expected text or a list of texts, found a mapping"));

    let pairs = vec![("X-B".to_owned(), "1".to_owned()), ("X-A".to_owned(), "b".to_owned())];
    assert_eq!(read("{X-B: 1, X-A: b}", |s| s.string_map("key")), Ok(pairs));
}

#[test]
fn null_counts_as_absent() {
    for yaml in ["", "~", "null"] {
        assert_eq!(read(yaml, |s| s.string("key")), err::<String>(""));
        assert_eq!(read(yaml, |s| s.section("key", |_| ())), err::<()>(""));
        assert_eq!(read(yaml, |s| s.required_string("key")), err("required key is missing"));
    }
}

#[derive(Debug, PartialEq)]
struct Retry {
    attempts: u32,
    pause: Duration,
}

impl Retry {
    fn read(section: &Section<'_>) -> Self {
        Self {
            attempts: section.integer("attempts", 1..=100).unwrap_or(20),
            pause: section.duration("pause", TimeUnit::Seconds).unwrap_or(Duration::from_secs(5)),
        }
    }
}

#[test]
fn sections_nest_and_defaults_stand_in_one_place() {
    let text = "brokers:\n- {name: a, retry: {attempts: 3}}\n- name: b\none: {name: c}\n";
    let diagnostics = Diagnostics::new();
    let document = parse(text, &diagnostics).unwrap();
    let broker = |s: &Section<'_>| (s.path().to_owned(), s.string("name"), s.section_or_empty("retry", Retry::read).attempts);
    let (list, one, none) = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        (root.sections("brokers", broker), root.sections("one", broker), root.sections("none", broker))
    });
    assert_eq!(list, [("brokers[0]".to_owned(), Some("a".to_owned()), 3), ("brokers[1]".to_owned(), Some("b".to_owned()), 20)]);
    assert_eq!(one, [("one".to_owned(), Some("c".to_owned()), 20)]);
    assert!(none.is_empty());
    assert!(diagnostics.is_empty(), "{}", problems(&diagnostics));
}

#[test]
fn keys_nobody_asked_for_are_reported_by_the_sections_rule() {
    let text = "a:\n  prot: 1\n  queue: x\nb: {c: {d: 1}}\nrest: {x: 1}\nbroker: 5\n";
    let diagnostics = Diagnostics::new();
    let document = parse(text, &diagnostics).unwrap();
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.section("a", |a| {
            a.unknown_keys(UnknownKeys::Warn);
            (a.port("port"), a.string("path"))
        });
        root.section("b", |b| b.section("c", |_| ()));
        root.section("rest", |rest| rest.entries().len());
        root.sections("broker", |_| ());
    });
    insta::assert_snapshot!(problems(&diagnostics), @r"
    2:3 warning a.prot: unknown key `prot` is ignored
    3:3 warning a.queue: unknown key `queue` is ignored
    4:9 error b.c.d: unknown key `d`
    6:9 error broker: expected a mapping, found 5
    ");
}

#[test]
fn a_faulty_variable_is_reported_once() {
    let diagnostics = Diagnostics::new();
    let document = parse("port: ${U}\nlist:\n- ${U}x\nsection: ${U}\n", &diagnostics).unwrap();
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.required("port", Section::port);
        root.strings("list");
        root.section("section", |_| ());
        root.section_or_empty("section", Retry::read);
    });
    assert_eq!(diagnostics.count(trunkline_config::Severity::Error), 3, "{}", problems(&diagnostics));
}

#[test]
fn five_mistakes_are_five_diagnostics_in_one_run() {
    let text = "\
event_broker:
  type: pika
  url: ${U}
  port: abc
  queues: {a: 1}
  qeues: b
  type: sql
";
    let diagnostics = Diagnostics::new();
    let document = parse(text, &diagnostics).unwrap();
    document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |broker| {
            broker.string("type");
            broker.required_string("url");
            broker.port("port");
            broker.strings("queues");
        });
    });
    insta::assert_snapshot!(problems(&diagnostics), @r#"
    3:8 error event_broker.url: environment variable `U` is not set
    4:9 error event_broker.port: expected a port number from 1 to 65535, found "abc"
    5:11 error event_broker.queues: expected text or a list of texts, found a mapping
    6:3 warning event_broker.qeues: unknown key `qeues` is ignored
    7:3 error event_broker.type: duplicate key; `type` is already set on line 2
    "#);
}
