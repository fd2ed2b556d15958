//! Putting JSON together from parts that are JSON already.

use crate::json::{self, Layout};

/// An object under construction.
pub(super) struct ObjectWriter {
    text: String,
    layout: Layout,
}

impl ObjectWriter {
    pub(super) fn new(layout: Layout) -> Self {
        Self { text: "{".to_owned(), layout }
    }

    /// Adds `value`, a JSON text, as the member `name`.
    pub(super) fn member(&mut self, name: &str, value: &str) {
        self.raw_member(&json::quote(name, self.layout), value);
    }

    /// Adds `value`, a JSON text, under `key`, a JSON string.
    pub(super) fn raw_member(&mut self, key: &str, value: &str) {
        self.key(key);
        self.text.push_str(value);
    }

    /// Adds an array of `elements`, each a JSON text, as the member `name`.
    pub(super) fn array<'a>(&mut self, name: &str, elements: impl Iterator<Item = &'a str>) {
        self.key(&json::quote(name, self.layout));
        push_array(&mut self.text, elements, self.layout);
    }

    pub(super) fn finish(mut self) -> String {
        self.text.push('}');
        self.text
    }

    fn key(&mut self, key: &str) {
        if self.text.len() > 1 {
            self.text.push_str(comma(self.layout));
        }
        self.text.push_str(key);
        self.text.push_str(if self.layout == Layout::Dumps { ": " } else { ":" });
    }
}

/// `elements`, each a JSON text, as an array.
pub(super) fn array<'a>(elements: impl Iterator<Item = &'a str>, layout: Layout) -> String {
    let mut text = String::new();
    push_array(&mut text, elements, layout);
    text
}

/// `text` as a JSON string, null when there is none.
pub(super) fn optional(text: Option<&str>, layout: Layout) -> String {
    text.map_or_else(|| "null".to_owned(), |text| json::quote(text, layout))
}

fn push_array<'a>(text: &mut String, elements: impl Iterator<Item = &'a str>, layout: Layout) {
    text.push('[');
    for (index, element) in elements.enumerate() {
        if index > 0 {
            text.push_str(comma(layout));
        }
        text.push_str(element);
    }
    text.push(']');
}

fn comma(layout: Layout) -> &'static str {
    if layout == Layout::Dumps { ", " } else { "," }
}
