//! What is accepted, and how it is written.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn dumps(text: &str) -> Result<String, Error> {
    lay_out(text.as_bytes(), Layout::Dumps).map(Document::into_string)
}

#[test]
fn writes_what_json_dumps_writes() {
    for (input, expected) in [
        (r#"{"a":1,"b":[1,2.50,-0,1e2],"c":{}}"#, r#"{"a": 1, "b": [1, 2.50, -0, 1e2], "c": {}}"#),
        (" [ ] ", "[]"),
        ("[{},[],[[]]]", "[{}, [], [[]]]"),
        (r#""\/greet é 👋 \u00E9 \ud83d\udc4b""#, r#""/greet \u00e9 \ud83d\udc4b \u00e9 \ud83d\udc4b""#),
        (r#""\u0041\u0000\n\t\u007f""#, "\"A\\u0000\\n\\t\u{7f}\""),
        (r#""\u0008\b\u000c\f\u000d\r\u0022\"\u005c\\""#, r#""\b\b\f\f\r\r\"\"\\\\""#),
        ("12345678901234567890123", "12345678901234567890123"),
        ("null", "null"),
    ] {
        assert_eq!(dumps(input).as_deref(), Ok(expected), "{input}");
    }
}

#[test]
fn writes_what_ujson_writes() {
    let document = lay_out(r#"{"text": "Hé/", "n": [1, true]}"#.as_bytes(), Layout::Ujson).unwrap();
    assert_eq!(document.as_str(), r#"{"text":"H\u00e9\/","n":[1,true]}"#);
}

#[test]
fn a_number_from_outside_has_1000_characters_at_the_most() {
    let read = |number: &str, text: &str| lay_out_input(text.replace('N', number).as_bytes(), Layout::Dumps).map(drop);
    for (first, last) in [("", ""), ("-", ""), ("0.", ""), ("1e", ""), ("-1.", "E-10")] {
        let number = |length: usize| format!("{first}{}{last}", "9".repeat(length - first.len() - last.len()));
        for (text, at) in [("N", 0), ("[1, N]", 4), (r#"{"a": {"b": N}}"#, 12)] {
            assert_eq!(read(&number(1_000), text), Ok(()), "{first}");
            assert_eq!(read(&number(1_001), text), Err(Error { reason: "a number of more than 1000 characters", at }), "{first}");
        }
        // What was accepted before there was a limit is still read.
        assert!(dumps(&number(5_000)).is_ok());
    }
    assert_eq!(read("", r#"{"a": "N"}"#.replace('N', &"9".repeat(9_999)).as_str()), Ok(()));
}

#[test]
fn refuses_what_a_receiver_might_refuse() {
    for input in [
        "",
        " ",
        "{",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "tru",
        "NaN",
        "Infinity",
        "-",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\n\"",
        "{} {}",
        "[1]]",
        "[}",
        "{]",
    ] {
        assert!(dumps(input).is_err(), "{input:?} should be refused");
    }
    assert!(lay_out(b"\"\xff\"", Layout::Dumps).is_err());
}

#[test]
fn nesting_is_bounded_and_never_recurses() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(dumps(&nested(128)).is_ok());
    assert_eq!(dumps(&nested(129)).unwrap_err().reason, "more than 128 levels of nesting");
    let input = |depth| lay_out_input(nested(depth).as_bytes(), Layout::Dumps);
    assert!(input(120).is_ok());
    assert_eq!(input(121).unwrap_err().reason, "more than 120 levels of nesting");
    assert!(dumps(&"{\"a\":".repeat(100_000)).is_err());
    assert!(dumps(&"[".repeat(10_000_000)).is_err());
}

#[test]
fn members_are_found_and_the_last_of_a_repeated_key_counts() {
    let document = lay_out(br#"{"a":1,"b":"x\u00e9","a":[2,{"a":3}]}"#, Layout::Dumps).unwrap();
    assert_eq!(document.get("a"), Some("[2, {\"a\": 3}]"));
    assert_eq!(document.get_str("b").as_deref(), Some("xé"));
    assert_eq!(document.get("c"), None);
    assert_eq!(document.members().collect::<Vec<_>>(), [("\"b\"", "\"x\\u00e9\""), ("\"a\"", "[2, {\"a\": 3}]")]);
}

#[test]
fn one_member_is_changed_and_nothing_else() {
    let document = lay_out(br#"{"t":1.50,"x":{"t":1},"t":2.0 ,"z":"\u00e9"}"#, Layout::Dumps).unwrap();
    assert_eq!(document.with("t", "7").as_deref(), Some(r#"{"t": 1.50, "x": {"t": 1}, "t": 7, "z": "\u00e9"}"#));
    assert_eq!(document.with("z", "null").as_deref(), Some(r#"{"t": 1.50, "x": {"t": 1}, "t": 2.0, "z": null}"#));
    assert_eq!(document.with("u", "7"), None);
    assert_eq!(lay_out(b"[1]", Layout::Dumps).unwrap().with("t", "7"), None);
}

#[test]
fn elements_are_found() {
    let document = lay_out(b"[1, {\"a\":2} ,\"z\"]", Layout::Dumps).unwrap();
    assert_eq!(document.elements().unwrap().collect::<Vec<_>>(), ["1", "{\"a\": 2}", "\"z\""]);
    assert!(lay_out(b"{}", Layout::Dumps).unwrap().elements().is_none());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".*", inner), 0..6).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

#[test]
fn the_time_for_a_text_without_ascii_grows_with_its_length_only() {
    // With a time that grows with its square this would not end.
    let text = "日".repeat(2_000_000);
    let laid = lay_out(format!("\"{text}\"").as_bytes(), Layout::Dumps).unwrap();
    assert_eq!(unquote(laid.as_str()).unwrap(), text);
}

proptest! {
    #[test]
    fn laying_out_changes_no_value(value in any_json()) {
        for layout in [Layout::Dumps, Layout::Ujson] {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let laid = lay_out(text.as_bytes(), layout).unwrap().into_string();
                prop_assert!(laid.is_ascii());
                prop_assert_eq!(serde_json::from_str::<Value>(&laid).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
                prop_assert_eq!(lay_out(laid.as_bytes(), layout).unwrap().into_string(), laid);
            }
        }
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if lay_out(&bytes, Layout::Dumps).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok() || String::from_utf8_lossy(&bytes).contains(['e', 'E']));
        }
    }

    #[test]
    fn accepts_json_like_texts_exactly_when_serde_json_does(text in r#"[\[\]{},:"a1\\u0-e. ]{0,24}"#) {
        let ours = lay_out(text.as_bytes(), Layout::Dumps).is_ok();
        let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
        prop_assert!(ours == theirs || text.contains("\\u"), "{text:?}: ours {ours}, serde_json {theirs}");
    }

    #[test]
    fn quoting_and_unquoting_is_the_identity(text in ".*") {
        for layout in [Layout::Dumps, Layout::Ujson] {
            let quoted = quote(&text, layout);
            prop_assert_eq!(unquote(&quoted).unwrap(), text.as_str());
        }
    }
}
