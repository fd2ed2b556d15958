//! Reference section 1.1: what a file may look like.

use serde_json::json;
use trunkline_config::{Diagnostics, MAX_BYTES, UnknownKeys};

use crate::{parse, problems};

/// The tree as JSON, or null when there is none, and the problems.
fn read(text: &str) -> (serde_json::Value, String) {
    let diagnostics = Diagnostics::new();
    let tree = parse(text, &diagnostics).map(|document| document.root().to_json());
    (tree.unwrap_or_default(), problems(&diagnostics))
}

fn check(text: &str, expected: &serde_json::Value) {
    assert_eq!(read(text), (expected.clone(), String::new()), "{text}");
}

fn check_problem(text: &str, expected: &serde_json::Value, problem: &str) {
    assert_eq!(read(text), (expected.clone(), format!("{problem}\n")), "{text}");
}

#[test]
fn a_file_is_a_mapping_or_empty() {
    for empty in ["", "\n", "# comment\n", "---\n", "~\n", "{}\n", "--- # comment\n...\n", "\u{feff}"] {
        check(empty, &json!({}));
    }
    check("\u{feff}a: 1\r\nb: 2\r\n", &json!({"a": 1, "b": 2}));
    check("event_broker:\nother: {}\n", &json!({"event_broker": null, "other": {}}));
    let expected = "expected a mapping at the root of the file, found";
    check_problem("- a\n", &json!(null), &format!("1:1 error : {expected} a list"));
    check_problem("\nword\n", &json!(null), &format!("2:1 error : {expected} \"word\""));
    check_problem("5\n", &json!(null), &format!("1:1 error : {expected} 5"));
}

#[test]
fn scalars_are_those_of_yaml_1_2() {
    check("a: [yes, no, on, off, true, True, TRUE]", &json!({"a": ["yes", "no", "on", "off", true, true, true]}));
    check(
        "a: [017, 0o17, 0x1F, 1e3, 1_000, 2024-05-01, null, ~, '', '017', \"true\"]",
        &json!({"a": [17, 15, 31, 1000.0, 1000, "2024-05-01", null, null, "", "017", "true"]}),
    );
    check("a: !!str 5\nb: !!int '5'\nc: ! 5", &json!({"a": "5", "b": 5, "c": "5"}));
    check("a: |\n  5\nb: >-\n  x\n  y\n", &json!({"a": "5\n", "b": "x y"}));
}

#[test]
fn unquoted_numbers_keep_their_text() {
    let diagnostics = Diagnostics::new();
    let document = parse("password: 12345\ndb: 010\nflag: True\nversion: 1.10\n", &diagnostics).unwrap();
    document.read(UnknownKeys::Refuse, &diagnostics, |root| {
        assert_eq!(root.secret("password").unwrap().expose(), "12345");
        assert_eq!(root.string("db").as_deref(), Some("010"));
        assert_eq!(root.string("flag").as_deref(), Some("True"));
        assert_eq!(root.string("version").as_deref(), Some("1.10"));
    });
    assert!(diagnostics.is_empty());
}

#[test]
fn keys_are_text_and_unique() {
    check_problem(
        "a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n",
        &json!({"a": 1, "b": {"c": 1, "d": 2}}),
        "5:3 error b.c: duplicate key; `c` is already set on line 3",
    );
    check_problem("a: 1\n5: x\n", &json!({"a": 1}), "2:1 error : expected a key that is text, found 5");
    check_problem("a:\n  true: x\n", &json!({"a": {}}), "2:3 error a: expected a key that is text, found true");
    check_problem("? [a]\n: x\n", &json!({}), "1:3 error : expected a key that is text, found a list");
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    check("a: &x {p: 1}\nb: *x\nc: [*x]\n", &json!({"a": {"p": 1}, "b": {"p": 1}, "c": [{"p": 1}]}));
    check(
        "a: &a {p: 1, q: 1}\nb: &b {q: 2, r: 2}\nc:\n  <<: [*a, *b]\n  r: 3\n",
        &json!({"a": {"p": 1, "q": 1}, "b": {"q": 2, "r": 2}, "c": {"r": 3, "p": 1, "q": 1}}),
    );
    check("\"<<\": x\n", &json!({"<<": "x"}));
    check_problem(
        "a:\n  <<: word\n  b: 1\n",
        &json!({"a": {"b": 1}}),
        "2:7 error a.<<: `<<` merges a mapping or a list of mappings",
    );
    check_problem("a: &x [*x]\n", &json!(null), "1:8 error a[0]: an alias cannot refer to the value it stands in");
}

#[test]
fn what_is_not_supported_is_said() {
    check_problem("a: 1\n---\nb: 2\n", &json!(null), "2:1 error : a second document begins here; a file holds one");
    check_problem("a: !python/name x\n", &json!({"a": "x"}), "1:17 error a: tag `!python/name` is not supported");
    let (tree, problem) = read("%YAML 1.1\n---\na: yes\n");
    assert_eq!(tree, json!(null));
    assert!(problem.starts_with("1:1 error : not valid YAML"), "{problem}");
}

#[test]
fn syntax_errors_have_a_place() {
    insta::assert_snapshot!(read("a: 1\nb: [1, 2\nc: 3\n").1, @"3:2 error b: not valid YAML: illegal placement of ':' indicator");
    insta::assert_snapshot!(read("a:\n\t- x\n").1, @"2:2 error a: not valid YAML: tabs disallowed within this context (block indentation)");
    insta::assert_snapshot!(read("a: b: c\n").1, @"1:5 error : not valid YAML: mapping values are not allowed in this context");
    insta::assert_snapshot!(read("a: *unknown\n").1, @"1:4 error a: not valid YAML: while parsing node, found unknown anchor");
    insta::assert_snapshot!(read("a: \"open\n").1, @"2:1 error a: not valid YAML: invalid indentation in multiline quoted scalar");
}

#[test]
fn limits_stop_what_would_cost_too_much() {
    let level = |level: usize| format!("a{level}: &a{level} [{}]\n", format!("*a{},", level - 1).repeat(9));
    let bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned() + &(1..12).map(level).collect::<String>();
    let (tree, problem) = read(&bomb);
    assert_eq!(tree, json!(null));
    assert!(problem.contains("more than 100000 keys and values"), "{problem}");

    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a,".repeat(1000));
    let (tree, problem) = read(&long);
    assert_eq!(tree, json!(null));
    assert!(problem.contains("bytes of text"), "{problem}");

    let deep = |levels| format!("a: {}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(read(&deep(64)).1, "");
    assert!(read(&deep(65)).1.contains("nested deeper than 64 levels"));

    let large = format!("a: {}", "x".repeat(MAX_BYTES));
    assert!(read(&large).1.starts_with("0:0 error : the file has 1048579 bytes"));
}
