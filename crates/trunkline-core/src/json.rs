//! JSON as Rasa's Python writes it, from any JSON text, without building a tree.
//!
//! Bodies travel as they came: numbers keep every digit, unknown members and their order survive. What changes is the
//! layout, because consumers compare and parse lines that the originals wrote. [`lay_out`] checks a document and rewrites its
//! white space and string escapes in one pass, and remembers where the parts of its outermost value stand.
//!
//! Refused, because a receiver behind us might refuse it: anything after the document, more than [`MAX_DEPTH`] levels,
//! lone surrogates, control characters inside strings, `NaN` and `Infinity`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

/// The deepest nesting accepted. `serde_json` and many other parsers stop at the same depth.
pub const MAX_DEPTH: u32 = 128;

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As `json.dumps` with its defaults: `", "` and `": "`, ASCII only. What brokers publish and streams carry.
    Dumps,
    /// As `ujson.dumps`: no spaces, ASCII only, slashes escaped. What the REST channel answers.
    Ujson,
}

/// Why a text is not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct Error {
    /// What was found or missing.
    pub reason: &'static str,
    /// Where, in bytes from the start of the text.
    pub at: usize,
}

/// A checked document in its new layout. The text is ASCII.
#[derive(Clone, Debug)]
pub struct Document {
    text: String,
    root: Root,
}

#[derive(Clone, Debug)]
enum Root {
    Object(Vec<Member>),
    Array(Vec<Range<usize>>),
    Scalar,
}

#[derive(Clone, Debug)]
struct Member {
    key: Range<usize>,
    value: Range<usize>,
}

/// Checks `bytes` and lays them out anew.
pub fn lay_out(bytes: &[u8], layout: Layout) -> Result<Document, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error { reason: "invalid UTF-8", at: error.valid_up_to() })?;
    let mut scanner = Scanner { input: text.as_bytes(), at: 0, out: Vec::with_capacity(text.len() + text.len() / 8), layout };
    let root = scanner.document()?;
    let text = String::from_utf8(scanner.out).expect("the scanner writes ASCII only");
    Ok(Document { text, root })
}

/// `text` as a JSON string, with its quotes.
pub fn quote(text: &str, layout: Layout) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(text, layout, &mut out);
    String::from_utf8(out).expect("quoting writes ASCII only")
}

/// What the JSON string `raw`, taken from a [`Document`], says; `None` when it is not a string.
pub fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str::<String>(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

impl Document {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The whole text, owned.
    pub fn into_string(self) -> String {
        self.text
    }

    /// Whether the outermost value is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.root, Root::Object(_))
    }

    /// The members of the outermost object, as raw texts; of a key that is given twice only the last, as in Python.
    /// Nothing when it is no object.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        let members: &[Member] = if let Root::Object(members) = &self.root { members } else { &[] };
        members.iter().map(|member| (self.part(&member.key), self.part(&member.value)))
    }

    /// The raw text of the member `key`, a name in plain ASCII.
    pub fn get(&self, key: &str) -> Option<&str> {
        let is_key = |quoted: &str| quoted.strip_prefix('"').and_then(|name| name.strip_suffix('"')) == Some(key);
        self.members().find_map(|(quoted, value)| is_key(quoted).then_some(value))
    }

    /// The string that the member `key` holds; `None` when it is absent or not a string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        unquote(self.get(key)?)
    }

    /// The elements of the outermost array, as raw texts; `None` when it is no array.
    pub fn elements(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        let Root::Array(elements) = &self.root else { return None };
        Some(elements.iter().map(|range| self.part(range)))
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).expect("the ranges lie within the text, which is ASCII")
    }
}

/// Reads `input`, writes `out`; a bit per open container says whether it is an object.
struct Scanner<'a> {
    input: &'a [u8],
    at: usize,
    out: Vec<u8>,
    layout: Layout,
}

impl Scanner<'_> {
    fn document(&mut self) -> Result<Root, Error> {
        self.space();
        let root = match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.container(b'{', b'}', |scanner| {
                    let key = scanner.spanned(Self::key)?;
                    let value = scanner.spanned(|scanner| scanner.value(1))?;
                    members.push(Member { key, value });
                    Ok(())
                })?;
                Root::Object(without_repeated(members, &self.out))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.container(b'[', b']', |scanner| {
                    elements.push(scanner.spanned(|scanner| scanner.value(1))?);
                    Ok(())
                })?;
                Root::Array(elements)
            }
            _ => {
                self.value(0)?;
                Root::Scalar
            }
        };
        self.space();
        if self.at < self.input.len() { Err(self.error("something after the end of the document")) } else { Ok(root) }
    }

    /// Runs `read` and answers which part of the output it wrote; a key's range ends before its colon.
    fn spanned(&mut self, read: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<Range<usize>, Error> {
        let start = self.out.len();
        read(self)?;
        let mut end = self.out.len();
        while end > start && matches!(self.out[end - 1], b':' | b' ') {
            end -= 1;
        }
        Ok(start..end)
    }

    /// An object or array, each entry read by `entry`.
    fn container(&mut self, open: u8, close: u8, mut entry: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.take(open);
        self.space();
        if self.peek() == Some(close) {
            self.take(close);
            return Ok(());
        }
        loop {
            self.space();
            entry(self)?;
            self.space();
            match self.peek() {
                Some(b',') => self.comma(),
                Some(found) if found == close => {
                    self.take(close);
                    return Ok(());
                }
                Some(_) => return Err(self.error("expected a comma or the end of the list")),
                None => return Err(self.error("the text ends too early")),
            }
        }
    }

    /// Any value inside `depth` open containers. Does not recurse: a bit of `objects` per open container says its kind.
    fn value(&mut self, depth: u32) -> Result<(), Error> {
        let mut objects: u128 = 0;
        let mut open = 0;
        loop {
            self.space();
            match self.peek() {
                Some(found @ (b'{' | b'[')) => {
                    if depth + open >= MAX_DEPTH {
                        return Err(self.error("more than 128 levels of nesting"));
                    }
                    let is_object = found == b'{';
                    self.take(found);
                    self.space();
                    open += 1;
                    objects = (objects << 1) | u128::from(is_object);
                    if self.peek() == Some(if is_object { b'}' } else { b']' }) {
                        // Empty: closed below like any other.
                    } else {
                        if is_object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.literal(b"true")?,
                Some(b'f') => self.literal(b"false")?,
                Some(b'n') => self.literal(b"null")?,
                Some(_) => return Err(self.error("expected a value")),
                None => return Err(self.error("the text ends too early")),
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                let is_object = objects & 1 == 1;
                self.space();
                match (self.peek(), is_object) {
                    (Some(b','), _) => {
                        self.comma();
                        if is_object {
                            self.space();
                            self.key()?;
                        }
                        break;
                    }
                    (Some(close @ b'}'), true) | (Some(close @ b']'), false) => {
                        self.take(close);
                        open -= 1;
                        objects >>= 1;
                    }
                    (Some(_), _) => return Err(self.error("expected a comma or the end of the list")),
                    (None, _) => return Err(self.error("the text ends too early")),
                }
            }
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Error> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a key in double quotes"));
        }
        self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.error("expected a colon"));
        }
        self.at += 1;
        self.out.extend_from_slice(if self.layout == Layout::Dumps { b": " } else { b":" });
        Ok(())
    }

    fn string(&mut self) -> Result<(), Error> {
        self.take(b'"');
        loop {
            let rest = &self.input[self.at..];
            let plain = rest.iter().position(|&byte| !is_plain(byte)).unwrap_or(rest.len());
            self.out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.take(b'"');
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.error("a control character inside a string")),
                Some(b'/') => {
                    self.at += 1;
                    write_char('/', self.layout, &mut self.out);
                }
                Some(_) => {
                    let text = std::str::from_utf8(&self.input[self.at..]).expect("the input was checked to be UTF-8");
                    let char = text.chars().next().expect("a byte was there");
                    self.at += char.len_utf8();
                    write_char(char, self.layout, &mut self.out);
                }
                None => return Err(self.error("the text ends inside a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.at += 1;
        let char = match self.peek() {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let char = self.unicode_escape().map_err(|reason| Error { reason, at: start })?;
                write_char(char, self.layout, &mut self.out);
                return Ok(());
            }
            _ => return Err(Error { reason: "an unknown escape inside a string", at: start }),
        };
        self.at += 1;
        write_char(char, self.layout, &mut self.out);
        Ok(())
    }

    /// The character of `XXXX` or `XXXX\uXXXX`, the first `\u` being read.
    fn unicode_escape(&mut self) -> Result<char, &'static str> {
        let first = self.hex4()?;
        let code = match first {
            0xd800..=0xdbff if self.input[self.at..].starts_with(b"\\u") => {
                self.at += 2;
                let second = self.hex4()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err("a lone surrogate inside a string");
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        char::from_u32(code).ok_or("a lone surrogate inside a string")
    }

    fn hex4(&mut self) -> Result<u32, &'static str> {
        let digits = self.input.get(self.at..self.at + 4).ok_or("the text ends inside a string")?;
        let mut code = 0;
        for &digit in digits {
            code = code * 16 + char::from(digit).to_digit(16).ok_or("an escape that is not four hexadecimal digits")?;
        }
        self.at += 4;
        Ok(code)
    }

    /// A number, digits untouched.
    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        self.skip(|byte| byte == b'-', 1);
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error("expected a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.skip(|byte| matches!(byte, b'+' | b'-'), 1);
            self.digits()?;
        }
        self.out.extend_from_slice(&self.input[start..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Error> {
        if self.skip(|byte| byte.is_ascii_digit(), usize::MAX) == 0 { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    fn literal(&mut self, word: &'static [u8]) -> Result<(), Error> {
        if !self.input[self.at..].starts_with(word) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        self.out.extend_from_slice(word);
        Ok(())
    }

    fn comma(&mut self) {
        self.at += 1;
        self.out.extend_from_slice(if self.layout == Layout::Dumps { b", " } else { b"," });
    }

    fn take(&mut self, byte: u8) {
        self.at += 1;
        self.out.push(byte);
    }

    fn space(&mut self) {
        self.skip(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t'), usize::MAX);
    }

    fn skip(&mut self, accept: impl Fn(u8) -> bool, most: usize) -> usize {
        let count = self.input[self.at..].iter().take(most).take_while(|&&byte| accept(byte)).count();
        self.at += count;
        count
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn error(&self, reason: &'static str) -> Error {
        Error { reason, at: self.at }
    }
}

/// `members` with the last of each key only.
fn without_repeated(mut members: Vec<Member>, out: &[u8]) -> Vec<Member> {
    let key = |member: &Member| &out[member.key.clone()];
    // Comparing a few is quicker than hashing them; comparing many would take a time that a sender could choose.
    let few = members.len() <= 16;
    if few && members.iter().enumerate().all(|(index, member)| !members[..index].iter().any(|other| key(other) == key(member))) {
        return members;
    }
    let mut seen = HashSet::with_capacity(members.len());
    let mut keep: Vec<bool> = members.iter().rev().map(|member| seen.insert(key(member))).collect();
    members.retain(|_| keep.pop().unwrap_or(true));
    members
}

/// Stands for itself in every layout.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7f) && !matches!(byte, b'"' | b'\\' | b'/')
}

fn quote_into(text: &str, layout: Layout, out: &mut Vec<u8>) {
    out.push(b'"');
    for char in text.chars() {
        write_char(char, layout, out);
    }
    out.push(b'"');
}

fn write_char(char: char, layout: Layout, out: &mut Vec<u8>) {
    match char {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '/' if layout == Layout::Ujson => out.extend_from_slice(b"\\/"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        ' '..='\u{7f}' => out.push(char as u8),
        _ => {
            for &mut unit in char.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                for shift in [12, 8, 4, 0] {
                    out.push(b"0123456789abcdef"[usize::from((unit >> shift) & 0xf)]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
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
}
