//! Builds the tree from the parser's events, one function per kind of node.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::budget::Budget;
use super::leaf::Scalar;
use super::{Result, Stop, is_end, span};
use crate::diagnostic::{Diagnostic, Diagnostics, Excerpt, Severity};
use crate::interpolate::{self, Environment};
use crate::node::{Key, Node, Span, Value};
use crate::path::{push_index, push_key};
use crate::secret::sounds_secret;

pub(super) struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    pub(super) file: &'a str,
    text: &'a str,
    pub(super) environment: Environment<'a>,
    pub(super) diagnostics: &'a Diagnostics,
    anchors: HashMap<usize, Node>,
    /// The key path of the node that is being built.
    path: String,
    budget: Budget,
}

impl<'a> Builder<'a> {
    pub(super) fn new(file: &'a str, text: &'a str, environment: Environment<'a>, diagnostics: &'a Diagnostics) -> Self {
        let options = granit_parser::options! { emit_comments: false, disallow_directives: true };
        let parser = Parser::new_from_str_with_options(text, options);
        let (anchors, path, budget) = (HashMap::new(), String::new(), Budget::default());
        Self { parser, file, text, environment, diagnostics, anchors, path, budget }
    }

    /// The only document of the stream; null when the stream has none.
    pub(super) fn document(&mut self) -> Result<Node> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_else(|| Node::new(at, Value::Null))),
                Event::DocumentStart(..) if root.is_some() => {
                    return self.stop(at, "a second document begins here; a file holds one");
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => root = Some(self.node(event, at, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, at: Span, depth: usize) -> Result<Node> {
        if !matches!(event, Event::Scalar(..) | Event::Alias(_)) {
            let charged = self.budget.charge(0, depth);
            self.within_budget(charged, at)?;
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&Scalar { text: &text, style, tag: tag.as_deref(), span: at });
                let charged = self.budget.charge_tree(&node, depth);
                self.within_budget(charged, at)?;
                (anchor, node)
            }
            Event::SequenceStart(_, anchor, tag) => (anchor, self.sequence(tag.as_deref(), at, depth)?),
            Event::MappingStart(_, anchor, tag) => (anchor, self.mapping(tag.as_deref(), at, depth)?),
            Event::Alias(anchor) => {
                let Some(target) = self.anchors.get(&anchor) else {
                    return self.stop(at, "an alias cannot refer to the value it stands in");
                };
                let charged = self.budget.charge_tree(target, depth);
                let copy = target.clone();
                return self.within_budget(charged, at).map(|()| copy);
            }
            _ => return self.stop(at, "the parser reported an unexpected event"),
        };
        if anchor != 0 {
            // The copy is kept for the aliases and counts like one.
            let charged = self.budget.charge_tree(&node, depth);
            self.within_budget(charged, at)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn sequence(&mut self, tag: Option<&Tag>, at: Span, depth: usize) -> Result<Node> {
        self.check_tag(tag, "seq", at);
        let mut items = Vec::new();
        let parent = self.path.len();
        loop {
            let (event, item_at) = self.next()?;
            if is_end(&event) {
                return Ok(Node::new(at, Value::Sequence(items)));
            }
            push_index(&mut self.path, items.len());
            items.push(self.node(event, item_at, depth + 1)?);
            self.path.truncate(parent);
        }
    }

    fn mapping(&mut self, tag: Option<&Tag>, at: Span, depth: usize) -> Result<Node> {
        self.check_tag(tag, "map", at);
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = Vec::new();
        let parent = self.path.len();
        loop {
            let (event, key_at) = self.next()?;
            if is_end(&event) {
                break;
            }
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<");
            let key = self.key(event, key_at, depth)?;
            push_key(&mut self.path, key.as_deref().unwrap_or("?"));
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            match key {
                None => self.diagnostics.mask(self.file, &value),
                Some(_) if is_merge => merged.extend(self.merge_sources(value)),
                Some(name) => match lines.entry(name.clone()) {
                    Entry::Occupied(first) => {
                        let message = format!("duplicate key; `{name}` is already set on line {}", first.get());
                        self.key_error(key_at, message, "remove one of the two");
                        self.diagnostics.mask(self.file, &value);
                    }
                    Entry::Vacant(vacant) => {
                        vacant.insert(key_at.line);
                        if sounds_secret(&name) {
                            self.diagnostics.mask(self.file, &value);
                        }
                        entries.push((Key { name, span: key_at }, value));
                    }
                },
            }
            self.path.truncate(parent);
        }
        // Keys written here win over merged ones, and earlier merges over later ones.
        for (key, value) in merged {
            if let Entry::Vacant(vacant) = lines.entry(key.name.clone()) {
                vacant.insert(key.span.line);
                entries.push((key, value));
            }
        }
        Ok(Node::new(at, Value::Mapping(entries)))
    }

    /// The text of a key; `None` when the key is refused, which leaves its value to be skipped.
    fn key(&mut self, event: Event<'a>, at: Span, depth: usize) -> Result<Option<String>> {
        let interpolated = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if interpolate::qualifies(text));
        if interpolated {
            let message = "environment variables are not filled in for keys".to_owned();
            self.key_error(at, message, "quote the key to keep it as text");
            return Ok(None);
        }
        let node = self.node(event, at, depth + 1)?;
        if let Value::String(name) = node.value {
            return Ok(Some(name));
        }
        self.key_error(at, format!("expected a key that is text, found {}", node.describe()), "quote it");
        Ok(None)
    }

    /// The entries that the value of a `<<` key brings in.
    fn merge_sources(&mut self, value: Node) -> Vec<(Key, Node)> {
        let sources = match value.value {
            Value::Sequence(items) => items,
            _ => vec![value],
        };
        let mut entries = Vec::new();
        for source in sources {
            match source.value {
                Value::Mapping(more) => entries.extend(more),
                _ => self.error(
                    source.span,
                    "`<<` merges a mapping or a list of mappings",
                    Some("quote \"<<\" if it is meant as a key"),
                ),
            }
        }
        entries
    }

    fn within_budget(&self, charged: std::result::Result<(), String>, at: Span) -> Result<()> {
        charged.or_else(|message| self.stop(at, &message))
    }

    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        match self.parser.next() {
            Some(Ok((event, at))) => Ok((event, span(at))),
            Some(Err(error)) => {
                let at = Span::point(error.marker().line(), error.marker().col() + 1);
                let message = format!("not valid YAML: {}", error.info());
                let diagnostic = Diagnostic::at(Severity::Error, self.file, at, &self.path, message);
                let line = self.text.lines().nth(at.line.saturating_sub(1));
                let hint = line.filter(|line| line.contains("${")).map(|_| {
                    "inside `{ }` and `[ ]`, `${NAME}` is no valid YAML; write the entries on lines of their own".to_owned()
                });
                self.diagnostics.push(diagnostic.excerpt(Excerpt::Unparsed).hint(hint));
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn stop<T>(&self, at: Span, message: &str) -> Result<T> {
        let diagnostic = Diagnostic::at(Severity::Error, self.file, at, &self.path, message.to_owned());
        self.diagnostics.push(diagnostic.excerpt(Excerpt::Unparsed));
        Err(Stop)
    }

    fn key_error(&self, at: Span, message: String, hint: &str) {
        let diagnostic = Diagnostic::at(Severity::Error, self.file, at, &self.path, message);
        self.diagnostics.push(diagnostic.excerpt(Excerpt::Key).hint(hint.to_owned()));
    }

    pub(super) fn error(&self, at: Span, message: &str, hint: Option<&str>) {
        let diagnostic = Diagnostic::at(Severity::Error, self.file, at, &self.path, message.to_owned());
        self.diagnostics.push(diagnostic.hint(hint.map(str::to_owned)));
    }

    pub(super) fn warning(&self, at: Span, message: String, hint: String) {
        self.diagnostics.push(Diagnostic::at(Severity::Warning, self.file, at, &self.path, message).hint(hint));
    }
}
