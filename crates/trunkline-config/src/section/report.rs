//! What a section has to say about its keys.

use super::{Section, UnknownKeys};
use crate::convert::Mismatch;
use crate::diagnostic::{Diagnostic, Excerpt, Severity};
use crate::node::Node;
use crate::suggest::closest;

impl Section<'_> {
    /// Records an error at a key's value that an adapter does not accept: "expected …, found …".
    pub fn unexpected(&self, key: &str, expected: &str, hint: Option<&str>) {
        if let Some(node) = self.usable(key) {
            let mismatch = Mismatch { expected: expected.to_owned(), hint: hint.map(str::to_owned) };
            self.mismatch::<()>(node, &self.path_of(key), &mismatch);
        }
    }

    /// Records an error at a key, such as a contradiction with another key.
    pub fn error(&self, key: &str, message: impl Into<String>, hint: Option<&str>) {
        self.note(Severity::Error, key, message.into(), hint);
    }

    /// Records a warning at a key, such as an option that has no effect here.
    pub fn warning(&self, key: &str, message: impl Into<String>, hint: Option<&str>) {
        self.note(Severity::Warning, key, message.into(), hint);
    }

    fn note(&self, severity: Severity, key: &str, message: String, hint: Option<&str>) {
        let diagnostic = Diagnostic::at(severity, self.file, self.key_span(key), &self.path_of(key), message);
        self.diagnostics.push(diagnostic.excerpt(Excerpt::Key).hint(hint.map(str::to_owned)));
    }

    pub(super) fn mismatch<T>(&self, node: &Node, path: &str, mismatch: &Mismatch) -> Option<T> {
        let diagnostic = Diagnostic::mismatch(self.file, node, path, &mismatch.expected);
        self.diagnostics.push(diagnostic.hint(mismatch.hint.clone()));
        None
    }

    /// Reports the keys nobody asked for. Nobody knows whether their values are secret, so these are never shown.
    pub(super) fn report_unknown_keys(&self) {
        const MOST_LISTED: usize = 16;
        let asked = self.asked.borrow();
        for (key, node) in self.entries.iter().filter(|(key, _)| !asked.contains(&key.name)) {
            self.diagnostics.mask(self.file, node);
            let (severity, message) = match self.unknown.get() {
                UnknownKeys::Refuse => (Severity::Error, format!("unknown key `{}`", key.name)),
                UnknownKeys::Warn => (Severity::Warning, format!("unknown key `{}` is ignored", key.name)),
            };
            // A key that is already set is no candidate for a misspelt one.
            let absent = asked.iter().map(String::as_str).filter(|name| !self.has(name));
            let hint = closest(&key.name, absent).map(|name| format!("did you mean `{name}`?")).or_else(|| {
                let names: Vec<&str> = asked.iter().map(String::as_str).collect();
                (1..=MOST_LISTED).contains(&names.len()).then(|| format!("known keys are {}", names.join(", ")))
            });
            let diagnostic = Diagnostic::at(severity, self.file, key.span, &self.path_of(&key.name), message);
            self.diagnostics.push(diagnostic.excerpt(Excerpt::Key).hint(hint));
        }
    }
}
