//! JSON strings: writing and reading them.

use std::borrow::Cow;

use super::Layout;

/// `text` as a JSON string, with its quotes.
pub fn quote(text: &str, layout: Layout) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(text, layout, &mut out);
    String::from_utf8(out).expect("quoting writes ASCII only")
}

/// What the JSON string `raw`, taken from a [`Document`](super::Document), says; `None` when it is not a string.
pub fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str::<String>(raw).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

fn quote_into(text: &str, layout: Layout, out: &mut Vec<u8>) {
    out.push(b'"');
    for char in text.chars() {
        write_char(char, layout, out);
    }
    out.push(b'"');
}

/// One character inside a string.
pub(super) fn write_char(char: char, layout: Layout, out: &mut Vec<u8>) {
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
