//! Reference section 1.2, row by row.

use trunkline_config::{Diagnostics, Style, UnknownKeys};

use crate::{parse, problems};

/// The text of `key` in `key: <yaml>`, and the problems.
fn read(yaml: &str) -> (Option<String>, String) {
    let diagnostics = Diagnostics::new();
    let document = parse(&format!("key: {yaml}\n"), &diagnostics);
    let text = document.and_then(|document| document.read(UnknownKeys::Refuse, &diagnostics, |root| root.string("key")));
    (text, problems(&diagnostics))
}

fn check(yaml: &str, expected: &str) {
    assert_eq!(read(yaml), (Some(expected.to_owned()), String::new()), "{yaml}");
}

fn check_problem(yaml: &str, expected: Option<&str>, problem: &str) {
    let (text, problems) = read(yaml);
    assert_eq!(text.as_deref(), expected, "{yaml}");
    assert_eq!(problems, format!("1:6 {problem}\n"), "{yaml}");
}

#[test]
fn variables_are_filled_in_where_rasa_does() {
    check("${A}", "aval");
    check("'${U}'", "${U}");
    check("\"x${A}\"", "x${A}");
    check("$A", "$A");
    check("x${A}y", "xavaly");
    check("${A}-${N}", "aval-5672");
    check("${A} $A", "aval aval");
    check("a$ b${A}", "a$ baval");
    check("${N}", "5672");
    check("${B}", "true");
    check("${E}", "");
    check("!env_var \"${A}\"", "aval");
    check("!env_var $A", "aval");
    check("|\n  ${A}", "aval\n");
    check("|-\n  x ${A}", "x aval");
    check("|\n  ${A}\n  more", "${A}\nmore\n");
    check(">\n  ${A}", "${A}\n");
    check("${D}", "pa$A $word");
    check("x ${D}", "x pa$A $word");
    check("a\n  ${A}", "a aval");
}

#[test]
fn a_word_that_begins_with_an_unset_variable_is_an_error() {
    check_problem("${U}", None, "error key: environment variable `U` is not set");
    check_problem("${U}:5672", None, "error key: environment variable `U` is not set");
    check_problem("a ${U} b", None, "error key: environment variable `U` is not set");
    check_problem("${A} $U", None, "error key: environment variable `U` is not set");
    check_problem("${A:-def}", None, "error key: `${A:…}` has a default value, which is not supported");
    check_problem("${U:-def}", None, "error key: `${U:…}` has a default value, which is not supported");
    check_problem("$ ${A}", None, "error key: a word begins with `$` and names no environment variable");
}

#[test]
fn unset_variables_elsewhere_stay_with_a_warning() {
    let kept = |text: &str| format!("warning key: `{text}` is not set in the environment and stays as text");
    check_problem("pre${U}", Some("pre${U}"), &kept("${U}"));
    check_problem("amqp://${U}@h", Some("amqp://${U}@h"), &kept("${U}"));
    check_problem("x${A}$U", Some("xaval$U"), &kept("$U"));
    check_problem("x${U:-def}", Some("x${U:-def}"), &kept("${…}"));
}

#[test]
fn quotes_around_a_variable_that_is_set_are_a_warning() {
    for yaml in ["\"${A}\"", "'${A}'"] {
        check_problem(yaml, Some("${A}"), "warning key: quotes keep `${A}` as text");
    }
}

#[test]
fn variables_stay_text_but_serve_as_numbers_and_booleans() {
    let diagnostics = Diagnostics::new();
    let document = parse("port: ${N}\nflag: ${B}\nwait: ${N}\n", &diagnostics).unwrap();
    assert_eq!(document.root().to_json()["port"], "5672");
    assert!(document.root().get("port").unwrap().is_from_environment());
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        assert_eq!(root.port("port"), Some(5672));
        assert_eq!(root.boolean("flag"), Some(true));
        assert_eq!(root.integer("wait", 0..=10_000_u32), Some(5672));
    });
    assert!(diagnostics.is_empty());
}

#[test]
fn values_from_the_environment_are_not_shown() {
    let diagnostics = Diagnostics::new();
    let document = parse("port: ${A}\nmode: x${A}\n", &diagnostics).unwrap();
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        root.port("port");
        root.enumeration("mode", &[("fast", 1), ("safe", 2)]);
    });
    insta::assert_snapshot!(diagnostics.render(Style::Plain), @r#"
    error: endpoints.yml:1:7: port: expected a port number from 1 to 65535, found "${A}"
      1 | port: ${A}
        |       ^^^^

    error: endpoints.yml:2:7: mode: expected one of fast, safe, found "x${A}"
      2 | mode: x${A}
        |       ^^^^^
    "#);
    assert!(!format!("{document:?}").contains("aval"));
}

#[test]
fn a_default_value_of_a_secret_is_not_shown() {
    let diagnostics = Diagnostics::new();
    parse("password: ${U:-hunter2}\n", &diagnostics);
    insta::assert_snapshot!(diagnostics.render(Style::Plain), @r"
    error: endpoints.yml:1:11: password: `${U:…}` has a default value, which is not supported
      1 | password: [redacted]
        |           ^^^^^^^^^^
      hint: set the variable, and write `${NAME}` alone
    ");
}

#[test]
fn keys_are_not_filled_in() {
    let diagnostics = Diagnostics::new();
    parse("${A}: 1\n\"${A}\": 2\n", &diagnostics);
    insta::assert_snapshot!(problems(&diagnostics), @r"
    1:1 error : environment variables are not filled in for keys
    2:1 warning : quotes keep `${A}` as text
    ");
}
