//! What people read. The rest of the tests assert values.

use trunkline_config::{Diagnostic, Diagnostics, Section, Severity, Style, TimeUnit, UnknownKeys};

use crate::parse;

fn read(text: &str, read: impl FnOnce(&Section<'_>)) -> Diagnostics {
    let diagnostics = Diagnostics::new();
    if let Some(document) = parse(text, &diagnostics) {
        document.read(UnknownKeys::Refuse, &diagnostics, read);
    }
    diagnostics
}

#[test]
fn problems_are_shown_with_line_caret_and_hint() {
    let text = "\
# brokers
event_broker:
  - type: Pkia
    port: \"70000\"
    retry_delay: 5 parsecs
    raise: yes
    qeue: [a]
";
    let diagnostics = read(text, |root| {
        root.sections("event_broker", |broker| {
            broker.enumeration("type", &[("pika", ()), ("sql", ())]);
            broker.required_string("url");
            broker.port("port");
            broker.duration("retry_delay", TimeUnit::Seconds);
            broker.boolean("raise");
            broker.strings("queue");
        });
        root.required_string("journal");
    });
    insta::assert_snapshot!(diagnostics.render(Style::Plain), @r#"
    error: endpoints.yml:1:1: journal: required key is missing
      hint: add `journal: …`

    error: endpoints.yml:3:5: event_broker[0].url: required key is missing
      3 |   - type: …
        |     ^^^^
      hint: add `url: …`

    error: endpoints.yml:3:11: event_broker[0].type: expected one of pika, sql, found "Pkia"
      3 |   - type: Pkia
        |           ^^^^
      hint: did you mean `pika`?

    error: endpoints.yml:4:11: event_broker[0].port: expected a port number from 1 to 65535, found "70000"
      4 |     port: "70000"
        |           ^^^^^^^

    error: endpoints.yml:5:18: event_broker[0].retry_delay: expected a duration such as `30s`, or a number of seconds, found "5 parsecs"
      5 |     retry_delay: 5 parsecs
        |                  ^^^^^^^^^
      hint: the units are ms, s, m, h and d

    error: endpoints.yml:6:12: event_broker[0].raise: expected true or false, found "yes"
      6 |     raise: yes
        |            ^^^
      hint: write `true`; YAML 1.2 reads this as something else

    error: endpoints.yml:7:5: event_broker[0].qeue: unknown key `qeue`
      7 |     qeue: …
        |     ^^^^
      hint: did you mean `queue`?
    "#);
}

#[test]
fn secrets_are_redacted_wherever_they_stand() {
    let text = "\
a: {username: u, word: hunter2, port: abc, pwd: hunter2, port: hunter2, 5: hunter2}
b:
  pasword: hunter2
  dsn: amqp://u:hunter2@h:port
  secret_token: [hunter2, {x: hunter2}]
  word: hunter2
  key: |
    hunter2
";
    let diagnostics = read(text, |root| {
        root.section("a", |a| (a.string("username"), a.secret("word"), a.port("port")));
        root.section("b", |b| {
            b.string("password");
            b.port("dsn");
            b.string("secret_token");
            b.node("secret_token");
            b.unexpected("word", "a word of 32 letters", None);
            b.secret("word");
            b.secret("key");
            b.error("key", "not a PEM file", None);
        });
    });
    let rendered = diagnostics.render(Style::Plain);
    assert!(!rendered.contains("hunter2"), "{rendered}");
    insta::assert_snapshot!(rendered, @r#"
    error: endpoints.yml:1:39: a.port: expected a port number from 1 to 65535, found "abc"
      1 | a: {username: u, word: [redacted], port: abc, pwd: [redacted], port: [redacted], 5: [redacted]}
        |                                          ^^^

    error: endpoints.yml:1:44: a.pwd: unknown key `pwd`
      1 | a: {username: u, word: [redacted], port: abc, pwd: …
        |                                               ^^^
      hint: known keys are port, username, word

    error: endpoints.yml:1:58: a.port: duplicate key; `port` is already set on line 1
      1 | a: {username: u, word: [redacted], port: abc, pwd: [redacted], port: …
        |                                                                ^^^^
      hint: remove one of the two

    error: endpoints.yml:1:73: a: expected a key that is text, found 5
      1 | a: {username: u, word: [redacted], port: abc, pwd: [redacted], port: [redacted], 5: …
        |                                                                                  ^
      hint: quote it

    error: endpoints.yml:3:3: b.pasword: unknown key `pasword`
      3 |   pasword: …
        |   ^^^^^^^
      hint: did you mean `password`?

    error: endpoints.yml:4:8: b.dsn: expected a port number from 1 to 65535, found [redacted]
      4 |   dsn: [redacted]
        |        ^^^^^^^^^^

    error: endpoints.yml:5:17: b.secret_token: expected text, found a list
      5 |   secret_token: [[redacted], {x: [redacted]}]
        |                 ^

    error: endpoints.yml:6:9: b.word: expected a word of 32 letters, found [redacted]
      6 |   word: [redacted]
        |         ^^^^^^^^^^

    error: endpoints.yml:7:3: b.key: not a PEM file
      7 |   key: …
        |   ^^^
    "#);
}

#[test]
fn text_that_is_no_yaml_is_shown_unless_it_may_be_secret() {
    let show = |text: &str| read(text, |_| ()).render(Style::Plain);
    insta::assert_snapshot!(show("port: a: b\n"), @r"
    error: endpoints.yml:1:8: not valid YAML: mapping values are not allowed in this context
      1 | port: a: b
        |        ^
    ");
    insta::assert_snapshot!(show("password: hunter2: x\n"), @r"
    error: endpoints.yml:1:18: not valid YAML: mapping values are not allowed in this context
      1 | [redacted]
        | ^^^^^^^^^^
    ");
    insta::assert_snapshot!(show("a: [${A}]\n"), @r"
    error: endpoints.yml:1:6: a: not valid YAML: while parsing a flow sequence, expected ',' or ']'
      1 | a: [${A}]
        |      ^
      hint: inside `{ }` and `[ ]`, `${NAME}` is no valid YAML; write the entries on lines of their own
    ");
    insta::assert_snapshot!(show("password: \"hunter2\n  hunter2\n"), @r"
    error: endpoints.yml:3:1: password: not valid YAML: invalid indentation in multiline quoted scalar
      3 | [redacted]
        | ^^^^^^^^^^
    ");
}

#[test]
fn long_lines_and_control_characters_are_tamed() {
    let text = format!("a: {{{}: 1, b: x}}\nc: \"\\e[31m\u{7f}\"\n", "é".repeat(300));
    let diagnostics = read(&text, |root| {
        root.section("a", |a| {
            a.entries();
            a.port("b");
        });
        root.port("c");
    });
    let rendered = diagnostics.render(Style::Plain);
    assert!(rendered.lines().all(|line| line.chars().count() < 140), "{rendered}");
    assert!(!rendered.contains('\u{1b}') && !rendered.contains('\u{7f}'));
}

#[test]
fn colour_is_on_request() {
    let diagnostics = read("port: abc\n", |root| {
        root.port("port");
    });
    insta::assert_snapshot!(diagnostics.render(Style::Ansi).replace('\u{1b}', "␛"), @r#"
    ␛[1;31merror␛[0m: endpoints.yml:1:7: port: expected a port number from 1 to 65535, found "abc"
    ␛[34m  1 |␛[0m port: abc
    ␛[34m    |␛[0m ␛[1;31m      ^^^␛[0m
    "#);
}

#[test]
fn a_diagnostic_serialises_for_programs() {
    let diagnostics = read("a:\n  port: abc\n", |root| {
        root.section("a", |a| a.port("port"));
    });
    diagnostics.push(Diagnostic::new(Severity::Warning, "credentials.yml", "the file is missing"));
    let json = serde_json::to_string_pretty(&diagnostics.sorted()).unwrap();
    insta::assert_snapshot!(json, @r#"
    [
      {
        "severity": "warning",
        "file": "credentials.yml",
        "line": 0,
        "column": 0,
        "path": "",
        "message": "the file is missing"
      },
      {
        "severity": "error",
        "file": "endpoints.yml",
        "line": 2,
        "column": 9,
        "path": "a.port",
        "message": "expected a port number from 1 to 65535, found \"abc\"",
        "found": "\"abc\"",
        "expected": "a port number from 1 to 65535"
      }
    ]
    "#);
    insta::assert_snapshot!(diagnostics.sorted()[0].to_string(), @"warning: credentials.yml: the file is missing");
}
