//! The `assistant` section of `trunkline.yml`.

use std::path::Path;
use std::time::Duration;

use trunkline_assistants::{AssistantPlan, DEFAULT_APOLOGY, assistants, from_section};
use trunkline_config::{Diagnostics, Document, Style, UnknownKeys};

use crate::common::read;

fn said(yaml: &str) -> Vec<String> {
    let (plan, said) = read(yaml);
    assert!(plan.is_some() || said.iter().any(|line| line.starts_with("error")), "no plan and no reason: {yaml}");
    said
}

#[test]
fn everything_has_a_default() {
    for plan in [read("{}").0.unwrap(), read("type: echo").0.unwrap(), AssistantPlan::default()] {
        assert_eq!((plan.kind, plan.assistant.name(), plan.concurrency), ("echo", "echo", 256));
        assert_eq!((plan.timeout, plan.apology.as_str()), (Duration::from_mins(1), DEFAULT_APOLOGY));
    }
}

#[test]
fn a_full_section_is_read_without_a_word() {
    let yaml = "type: Rasa\nurl: http://localhost:5006\nevents: tracker\ntimeout: 30\napology: \"Sorry, …\"\nconcurrency: 8\n\
                token: t\ntoken_name: key\nheaders: {X-A: b}\nparams: {p: q}\nmax_body: 64 KiB\nmax_tracker: 4 MiB\n\
                basic_auth: {username: u, password: p}";
    let (plan, said) = read(yaml);
    assert_eq!(said, [""; 0]);
    let plan = plan.unwrap();
    assert_eq!((plan.kind, plan.assistant.name(), plan.concurrency), ("rasa", "rasa", 8));
    assert_eq!((plan.timeout, plan.apology.as_str()), (Duration::from_secs(30), "Sorry, …"));
    assert_eq!(format!("{plan:?}"), "AssistantPlan { kind: \"rasa\", timeout: 30s, apology: \"Sorry, …\", concurrency: 8, .. }");
}

#[test]
fn every_row_of_the_table_is_built_or_answered_by_name() {
    let assistants = assistants();
    for spec in assistants.rows() {
        let (plan, said) = read(&format!("type: {}\nurl: https://example.org/x", spec.kind));
        match spec.kind {
            "echo" => assert!(said[0].starts_with("error: assistant.url: unknown key `url`"), "{said:?}"),
            kind if spec.build.is_some() => assert_eq!((plan.unwrap().kind, said), (kind, vec![])),
            _ => assert_eq!(said, [format!("error: assistant.type: {}", assistants.not_built_in(spec))]),
        }
    }
}

#[test]
fn the_type_is_one_of_the_table() {
    for (yaml, expected) in [
        ("type: rsaa\nurl: x\nmodel: y", "error: assistant.type: unknown assistant type `rsaa`; did you mean `rasa`?"),
        ("type: nope", "error: assistant.type: unknown assistant type `nope`; built in: echo, http, rasa"),
        (
            "type: openai\nmodel: m\napi_key: k",
            "error: assistant.type: assistant type `openai` is not built in yet; built in: echo, http, rasa",
        ),
        ("type: skills", "error: assistant.type: assistant type `skills` is not built in yet; built in: echo, http, rasa"),
        ("type: [rasa]", "error: assistant.type: expected text, found a list"),
        ("url: http://h", "error: assistant.url: `url` without a `type` (add `type: rasa` or `type: http`)"),
    ] {
        assert_eq!(said(yaml), [expected], "{yaml}");
    }
}

#[test]
fn faults_of_shared_keys_are_found_together() {
    assert_eq!(
        said("timeout: 0\napology: ' '\nconcurrency: 0\ntimeuot: 5s"),
        [
            "error: assistant.timeout: expected a duration of more than nothing and at most an hour, found 0",
            "error: assistant.apology: expected what to say to a person who gets no answer, found \" \"",
            "error: assistant.concurrency: expected an integer from 1 to 100000, found 0",
            "error: assistant.timeuot: unknown key `timeuot` (known keys are apology, concurrency, timeout, type)",
        ]
    );
    assert_eq!(
        said("timeout: 2h"),
        ["error: assistant.timeout: expected a duration of more than nothing and at most an hour, found \"2h\""]
    );
}

#[test]
fn faults_of_an_endpoint_are_found_together() {
    let hint = "(write it as `http://localhost:5006`)";
    for (yaml, expected) in [
        ("type: rasa", &["error: assistant.url: required key is missing (add `url: …`)"][..]),
        ("type: http", &["error: assistant.url: required key is missing (add `url: …`)"]),
        (
            "type: http\nurl: ftp://h",
            &[&*format!("error: assistant.url: expected an http or https address, found \"ftp://h\" {hint}")],
        ),
        (
            "type: http\nurl: 'http://:80'",
            &[&*format!("error: assistant.url: expected an http or https address, found \"http://:80\" {hint}")],
        ),
        (
            "type: rasa\nurl: http://h\nevents: all\nstream: 'yes'\nmax_body: 0\ntokn: x",
            &[
                "error: assistant.events: expected one of messages, tracker, found \"all\"",
                "error: assistant.stream: expected true or false, found \"yes\" (write `true`; YAML 1.2 reads this as something else)",
                "error: assistant.max_body: expected a size of at least a byte and at most 256 MiB, found 0",
                "error: assistant.tokn: unknown key `tokn` (did you mean `token`?)",
            ],
        ),
        (
            "type: http\nurl: http://h\nheaders: {'X Y': a, X-Z: \"a\\nb\", Content-Length: 3}",
            &[
                "error: assistant.headers.X Y: this is not the name of a header (use letters, digits and hyphens)",
                "error: assistant.headers.X-Z: expected the value of a header, on one line, found [redacted]",
                "error: assistant.headers.Content-Length: the header `content-length` cannot be set, because every request has its own",
            ],
        ),
        (
            "type: http\nurl: http://u:p@h\nbasic_auth: {username: u, pasword: p}\nheaders: {authorization: x}",
            &[
                "error: assistant.basic_auth: `url` names a user as well (keep one of the two)",
                "error: assistant.basic_auth.pasword: unknown key `pasword` (did you mean `password`?)",
                "error: assistant.headers: the header `Authorization` is given beside a user and password (keep one of the two)",
            ],
        ),
        (
            "type: http\nurl: http://h\nbasic_auth: {username: 'a:b'}\ncertfile: c.pem",
            &[
                "error: assistant.basic_auth.username: expected a name without a colon, found \"a:b\"",
                "error: assistant.certfile: a certificate is of no use without its key (give both `certfile` and `keyfile`)",
                "warning: assistant.certfile: `certfile` has no effect without https",
            ],
        ),
        (
            "type: http\nurl: http://h\nbasic_auth: {password: p}",
            &["error: assistant.basic_auth.username: required key is missing (add `username: …`)"],
        ),
    ] {
        assert_eq!(said(yaml), expected, "{yaml}");
    }
}

#[test]
fn options_without_effect_are_warned_of() {
    assert_eq!(
        said("type: rasa\nurl: http://h\nevents: tracker\nstream: true\ncafile: ca.pem"),
        [
            "warning: assistant.stream: `stream` has no effect with `events: tracker`, where replies are said when the events are recorded",
            "warning: assistant.cafile: `cafile` has no effect without https",
        ]
    );
    assert_eq!(
        said("type: rasa\nurl: http://h\nmax_tracker: 1 MiB"),
        ["warning: assistant.max_tracker: `max_tracker` has no effect without `events: tracker`"]
    );
    assert_eq!(said("type: rasa\nurl: https://h\ncafile: /nowhere/ca.pem"), [""; 0], "building reads no file");
}

#[test]
fn secrets_are_never_shown() {
    let text = "assistant: {type: http, url: 'ftp://me:s3cret1@h', token: s3cret2, params: {k: s3cret3}, headers: {X: \"s3cret4\\n\"}, \
                basic_auth: {username: u, password: s3cret5}}\n";
    let diagnostics = Diagnostics::new();
    let document = Document::parse("trunkline.yml", text, &|_| None, &diagnostics).unwrap();
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.section_or_empty("assistant", |section| from_section(section, Path::new("/nowhere"), &assistants())).is_some()
    });
    let rendered = diagnostics.render(Style::Plain);
    assert!(diagnostics.has_errors() && !rendered.contains("s3cret"), "{rendered}");
}
