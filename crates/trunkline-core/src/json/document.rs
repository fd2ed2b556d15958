//! A document that was checked, and the parts of its outermost value.

use std::borrow::Cow;
use std::ops::Range;

use super::scanner::{Bounds, scan};
use super::unquote;

/// The deepest nesting that is read. `serde_json` and many other parsers stop at the same depth.
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
    layout: Layout,
    root: Root,
}

/// What the outermost value is, and where its parts stand.
#[derive(Clone, Debug)]
pub(super) enum Root {
    Object(Vec<Member>),
    Array(Vec<Element>),
    Scalar,
}

/// An element of the outermost array: where it stands in the new layout, and where it stood in the text that was read.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) laid_out: Range<usize>,
    pub(super) source: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// Checks `bytes`, which came from outside, and lays them out anew.
pub fn lay_out_input(bytes: &[u8], layout: Layout) -> Result<Document, Error> {
    lay_out_within(bytes, layout, Bounds::INPUT)
}

/// Checks `bytes`, which we or our peers put together, and lays them out anew.
pub fn lay_out(bytes: &[u8], layout: Layout) -> Result<Document, Error> {
    lay_out_within(bytes, layout, Bounds::OURS)
}

fn lay_out_within(bytes: &[u8], layout: Layout, bounds: Bounds) -> Result<Document, Error> {
    let text = std::str::from_utf8(bytes).map_err(|error| Error { reason: "invalid UTF-8", at: error.valid_up_to() })?;
    let (text, root) = scan(text, layout, bounds)?;
    Ok(Document { text, layout, root })
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
        self.members().find_map(|(quoted, value)| is_key(quoted, key).then_some(value))
    }

    /// The string that the member `key` holds; `None` when it is absent or not a string.
    pub fn get_str(&self, key: &str) -> Option<Cow<'_, str>> {
        unquote(self.get(key)?)
    }

    /// The whole text with `raw`, which is JSON, in place of the value of the member `key`, a name in plain ASCII; everything else
    /// stays byte for byte. `None` when there is no such member.
    pub fn with(&self, key: &str, raw: &str) -> Option<String> {
        let Root::Object(members) = &self.root else { return None };
        let value = &members.iter().find(|member| is_key(self.part(&member.key), key))?.value;
        Some([self.part(&(0..value.start)), raw, self.part(&(value.end..self.text.len()))].concat())
    }

    /// The elements of the outermost array, as raw texts; `None` when it is no array.
    pub fn elements(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        let Root::Array(elements) = &self.root else { return None };
        Some(elements.iter().map(|element| self.part(&element.laid_out)))
    }

    /// The elements of the outermost array as they stood in `source`, the text that this document was read from.
    pub fn elements_of<'s>(&self, source: &'s [u8]) -> Option<impl ExactSizeIterator<Item = &'s [u8]>> {
        let Root::Array(elements) = &self.root else { return None };
        Some(elements.iter().map(move |element| source.get(element.source.clone()).unwrap_or_default()))
    }

    /// The object that the member `key` holds; `None` when it is absent or no object.
    pub fn object(&self, key: &str) -> Option<Self> {
        let raw = self.get(key).filter(|raw| raw.starts_with('{'))?;
        lay_out(raw.as_bytes(), self.layout).ok()
    }

    fn part(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).expect("the ranges lie within the text, which is ASCII")
    }
}

/// Whether the raw text of a key is the name `key`.
fn is_key(quoted: &str, key: &str) -> bool {
    quoted.strip_prefix('"').and_then(|name| name.strip_suffix('"')) == Some(key)
}
