//! Any text is parsed, read and rendered without a panic, and what is masked does not appear.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_config::{Diagnostics, Document, Node, Section, Style, TimeUnit, UnknownKeys, Value};

fuzz_target!(|text: &str| {
    let environment = |name: &str| (name == "A").then(|| "from-the-environment".to_owned());
    let diagnostics = Diagnostics::new();
    if let Some(document) = Document::parse("fuzz.yml", text, &environment, &diagnostics) {
        let _ = document.root().to_json();
        document.read(UnknownKeys::Warn, &diagnostics, |root| read(root, document.root()));
    } else {
        assert!(diagnostics.has_errors());
    }
    let rendered = diagnostics.render(Style::Plain);
    assert!(text.contains("from-the-environment") || !rendered.contains("from-the-environment"));
});

/// Reads every key of a section in every way.
fn read(section: &Section<'_>, node: &Node) {
    let Value::Mapping(entries) = &node.value else { return };
    for (key, value) in entries {
        let key = &key.name;
        section.boolean(key);
        section.integer(key, -5..=5_i8);
        section.port(key);
        section.duration(key, TimeUnit::Minutes);
        section.bytes(key);
        section.url(key);
        section.strings(key);
        section.enumeration(key, &[("one", 1), ("two", 2)]);
        section.section(key, |inner| read(inner, value));
        section.sections(key, |inner| inner.path().len());
        section.secret(key);
    }
}
