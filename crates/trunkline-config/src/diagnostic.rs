//! Problems, and the place where all problems of a run are collected.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use crate::interpolate;
use crate::node::{Node, Span, Value};
use crate::render::{self, SourceFile, Style};
use crate::secret::REDACTED;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably not as its writer thinks.
    Warning,
}

/// One problem, with the place where a person would repair it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named to [`Document::parse`](crate::Document::parse).
    pub file: String,
    /// Line, from 1; 0 when the problem has no place in the file.
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem has no place in the file.
    pub column: usize,
    /// The key path, such as `event_broker[1].port`; empty at the root.
    pub path: String,
    /// The whole problem as a lower-case fragment, with `expected` and `found` worked in.
    pub message: String,
    /// What the file has there, never a secret and never the content of an environment variable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What would have been right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip)]
    pub(crate) span: Span,
    #[serde(skip)]
    pub(crate) excerpt: Excerpt,
}

/// How much of the source line may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excerpt {
    /// The line, without the secrets known to stand in it.
    Line,
    /// The line up to the end of the span: for keys whose value nobody knows.
    Key,
    /// The line, unless it or the key above it sounds secret: for text that could not be parsed.
    Unparsed,
}

impl Diagnostic {
    /// A problem of a file that has no place in it, such as a contradiction between two files.
    pub fn new(severity: Severity, file: impl Into<String>, message: impl Into<String>) -> Self {
        Self::at(severity, &file.into(), Span::point(0, 0), "", message.into())
    }

    pub(crate) fn at(severity: Severity, file: &str, span: Span, path: &str, message: String) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            line: span.line,
            column: span.column,
            path: path.to_owned(),
            message,
            found: None,
            expected: None,
            hint: None,
            span,
            excerpt: Excerpt::Line,
        }
    }

    /// An error at a value that is not what it should be.
    pub(crate) fn mismatch(file: &str, node: &Node, path: &str, expected: &str) -> Self {
        let mut diagnostic = Self::at(Severity::Error, file, node.span, path, String::new());
        diagnostic.expected = Some(expected.to_owned());
        diagnostic.set_found(node.describe());
        diagnostic
    }

    fn set_found(&mut self, found: String) {
        let expected = self.expected.as_deref().unwrap_or("something else");
        self.message = format!("expected {expected}, found {found}");
        self.found = Some(found);
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }

    pub(crate) fn excerpt(mut self, excerpt: Excerpt) -> Self {
        self.excerpt = excerpt;
        self
    }
}

/// The first line of the rendered form, without colour: `error: file:7:9: path: message`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::header(self, Style::Plain))
    }
}

/// Collects the problems of any number of files.
///
/// It is shared by reference between all readers of a run. It keeps the text of the files for the source lines in
/// [`render`](Self::render); its `Debug` does not show that text.
#[derive(Default)]
pub struct Diagnostics {
    list: RefCell<Vec<Diagnostic>>,
    files: RefCell<Vec<SourceFile>>,
}

impl Diagnostics {
    /// No problems yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records a problem.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    /// Whether anything forbids using the configuration.
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether there is no problem at all.
    pub fn is_empty(&self) -> bool {
        self.list.borrow().is_empty()
    }

    /// The number of problems of one severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.borrow().iter().filter(|d| d.severity == severity).count()
    }

    /// All problems by file name, then by position, then in the order in which they were recorded.
    pub fn sorted(&self) -> Vec<Diagnostic> {
        let mut list = self.list.borrow().clone();
        let files = self.files.borrow();
        for diagnostic in list.iter_mut().filter(|diagnostic| diagnostic.found.is_some()) {
            // Only now, because a value may be read as a secret after its problem was recorded.
            if files.iter().any(|file| file.name == diagnostic.file && file.masks.contains(&diagnostic.span)) {
                diagnostic.set_found(REDACTED.to_owned());
            }
        }
        list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        list
    }

    /// All problems as text for people, each with its source line and hint, in the order of [`sorted`](Self::sorted).
    pub fn render(&self, style: Style) -> String {
        let files = self.files.borrow();
        let blocks: Vec<String> = self
            .sorted()
            .iter()
            .map(|diagnostic| {
                let file = files.iter().find(|file| file.name == diagnostic.file);
                render::block(diagnostic, file, style)
            })
            .collect();
        blocks.join("\n")
    }

    /// Keeps the text of a file for rendering; a file that is parsed again replaces its former text.
    pub(crate) fn add_file(&self, name: &str, text: &str) {
        let mut files = self.files.borrow_mut();
        files.retain(|file| file.name != name);
        files.push(SourceFile::new(name, text));
    }

    /// Keeps a scalar, or all scalars below a node, from ever being shown. A lone `${NAME}` shows nothing anyway.
    pub(crate) fn mask(&self, file: &str, node: &Node) {
        if let Some(file) = self.files.borrow_mut().iter_mut().find(|known| known.name == file) {
            mask(&mut file.masks, node);
        }
    }
}

fn mask(masks: &mut Vec<Span>, node: &Node) {
    match &node.value {
        Value::Sequence(items) => items.iter().for_each(|item| mask(masks, item)),
        Value::Mapping(entries) => entries.iter().for_each(|(_, value)| mask(masks, value)),
        _ => {
            if node.as_shown().is_some_and(|text| interpolate::sole_reference(text).is_none()) {
                masks.push(node.span);
            }
        }
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.sorted()).finish()
    }
}
