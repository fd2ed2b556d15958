//! From YAML text to a [`Document`].

mod budget;
mod builder;
mod leaf;

use granit_parser::Event;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::{Node, Span, Value};
use crate::section::{Section, UnknownKeys};
use builder::Builder;

/// The largest text that is read, in bytes: 1 MiB.
pub const MAX_BYTES: usize = 1 << 20;
/// The largest number of keys and values, with those that aliases copy.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting; the root is level 0.
pub const MAX_DEPTH: usize = 64;

/// A YAML file as a located tree. Its root is a mapping; an empty file is an empty one.
#[derive(Debug)]
pub struct Document {
    file: String,
    root: Node,
}

impl Document {
    /// Parses `text`, resolves aliases, and fills in environment variables through `environment`.
    ///
    /// Every problem goes to `diagnostics`. `None` means that there is no tree to read: a syntax error, a root that is
    /// not a mapping, or a limit exceeded. Duplicate keys and unset variables are errors too, but leave a tree, so
    /// that the rest of the file can be examined in the same run.
    pub fn parse(
        file: &str,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
        diagnostics: &Diagnostics,
    ) -> Option<Self> {
        if text.len() > MAX_BYTES {
            let message = format!("the file has {} bytes, more than the {MAX_BYTES} that are read", text.len());
            diagnostics.push(Diagnostic::new(crate::Severity::Error, file, message));
            return None;
        }
        diagnostics.add_file(file, text);
        let mut builder = Builder::new(file, text, environment, diagnostics);
        let root = builder.document().ok()?;
        let start = Span::point(1, 1);
        let root = match root.value {
            Value::Mapping(_) => root,
            Value::Null => Node::new(start, Value::Mapping(Vec::new())),
            _ => {
                diagnostics.push(
                    Diagnostic::mismatch(file, &root, "", "a mapping at the root of the file")
                        .hint("write `key: value` lines".to_owned()),
                );
                return None;
            }
        };
        Some(Self { file: file.to_owned(), root })
    }

    /// The root mapping.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Reads the root mapping. `unknown` says what a key means that `read` does not ask for; sections inherit it.
    pub fn read<T>(&self, unknown: UnknownKeys, diagnostics: &Diagnostics, read: impl FnOnce(&Section<'_>) -> T) -> T {
        Section::root(&self.file, &self.root, unknown, diagnostics).finish_with(read)
    }
}

/// A problem that ends the reading of a file. It is already reported.
struct Stop;

type Result<T> = std::result::Result<T, Stop>;

/// What a span of the parser is in our terms.
fn span(span: granit_parser::Span) -> Span {
    Span { line: span.start.line(), column: span.start.col() + 1, end_line: span.end.line(), end_column: span.end.col() + 1 }
}

/// Whether an event ends a collection.
fn is_end(event: &Event<'_>) -> bool {
    matches!(event, Event::SequenceEnd | Event::MappingEnd)
}
