//! What holds for any text.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};
use trunkline_config::{Diagnostics, Node, Span, Style, UnknownKeys, Value};

use crate::parse;

/// Text with the characters that matter to YAML, far more often than chance would have them.
fn yaml_like() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        8 => prop::sample::select(vec![
            "a", "b: ", "- ", "? ", ": ", "\n", "\n  ", "\n    ", "\r\n", "\r", "\t", "{", "}", "[", "]", ", ", "\"", "'",
            "|\n", ">-\n", "&x ", "*x", "<<: ", "${A}", "${U}", "$", "!env_var ", "!!str ", "!x ", "# c", "---\n", "...\n",
            "%YAML 1.2\n", "é", "\u{feff}", "\u{85}", "\u{2028}", "password: ", "amqp://u:p@h", "017", "1e3", "~",
        ]).prop_map(str::to_owned),
        1 => any::<String>(),
    ];
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

/// Lines as YAML counts them, each with its number of characters; a byte order mark has no column.
fn line_lengths(text: &str) -> Vec<usize> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split('\n').map(|line| line.chars().count()).collect()
}

fn assert_inside(lengths: &[usize], line: usize, column: usize) {
    let length = line.checked_sub(1).and_then(|line| lengths.get(line));
    let inside = length.is_some_and(|length| (1..=length + 1).contains(&column));
    assert!(inside, "{line}:{column} is outside of {lengths:?}");
}

fn spans(node: &Node, found: &mut Vec<Span>) {
    found.push(node.span);
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| spans(item, found)),
        Value::Mapping(entries) => entries.iter().for_each(|(key, value)| {
            found.push(key.span);
            spans(value, found);
        }),
        _ => {}
    }
}

/// JSON without characters that YAML wants escaped.
fn json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e300..1e300).prop_map(Json::from),
        "[ -#%-~é漢😀\n\t]{0,20}".prop_map(Json::from),
    ];
    let tree = scalar.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from), object(inner).prop_map(Json::from),]
    });
    object(tree).prop_map(Json::from)
}

fn object(values: impl Strategy<Value = Json>) -> impl Strategy<Value = Map<String, Json>> {
    prop::collection::btree_map("[a-z ~:0-9]{1,8}", values, 0..5).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_without_panic_and_places_lie_inside_it(text in yaml_like()) {
        let diagnostics = Diagnostics::new();
        let lengths = line_lengths(&text);
        if let Some(document) = parse(&text, &diagnostics) {
            let mut found = Vec::new();
            spans(document.root(), &mut found);
            for span in found {
                assert_inside(&lengths, span.line, span.column);
                assert_inside(&lengths, span.end_line, span.end_column);
                prop_assert!((span.line, span.column) <= (span.end_line, span.end_column));
            }
            document.read(UnknownKeys::Warn, &diagnostics, |root| (root.port("a"), root.secret("b")));
        } else {
            prop_assert!(diagnostics.has_errors());
        }
        for diagnostic in diagnostics.sorted() {
            assert_inside(&lengths, diagnostic.line, diagnostic.column);
        }
        diagnostics.render(Style::Ansi);
    }

    #[test]
    fn a_tree_written_as_json_is_read_back(tree in json()) {
        let diagnostics = Diagnostics::new();
        let document = parse(&tree.to_string(), &diagnostics);
        prop_assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
        prop_assert_eq!(document.map(|document| document.root().to_json()), Some(tree));
    }

    #[test]
    fn any_integer_is_read_in_every_spelling(number in any::<i64>(), small in any::<u32>()) {
        let text = format!("a: {number}\nb: '{number}'\nc: 0x{small:x}\nd: 0o{small:o}\ne: 0b{small:b}\n");
        let diagnostics = Diagnostics::new();
        let document = parse(&text, &diagnostics).unwrap();
        document.read(UnknownKeys::Refuse, &diagnostics, |root| {
            for key in ["a", "b"] {
                assert_eq!(root.integer(key, i64::MIN..=i64::MAX), Some(number));
            }
            for key in ["c", "d", "e"] {
                assert_eq!(root.integer(key, 0..=u32::MAX), Some(small));
            }
        });
        prop_assert!(diagnostics.is_empty());
    }
}
