//! The located tree: every key and value with its place in the file.

use std::fmt;

/// A stretch of the file. Lines and columns count from 1, columns in characters; the end is exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line of the first character.
    pub line: usize,
    /// Column of the first character.
    pub column: usize,
    /// Line of the first character behind the stretch.
    pub end_line: usize,
    /// Column of the first character behind the stretch.
    pub end_column: usize,
}

impl Span {
    /// An empty stretch, as a missing value has.
    pub fn point(line: usize, column: usize) -> Self {
        Self { line, column, end_line: line, end_column: column }
    }
}

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key's text.
    pub name: String,
    /// Where the key stands.
    pub span: Span,
}

/// A value with its place. Values that an alias copied keep the place of the original.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// Where the value stands. A block mapping or list begins at its first key or dash.
    pub span: Span,
    /// The value itself.
    pub value: Value,
    /// The text as written, where `value` does not hold it: scalars that are no strings, and interpolated strings.
    pub(crate) written: Option<String>,
    pub(crate) quoted: bool,
    pub(crate) origin: Origin,
}

/// Where a scalar's text came from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    File,
    /// At least one environment variable was put in.
    Environment,
    /// Its value could not be had and that is already reported; readers treat it as present and stay silent.
    Unresolved,
}

/// The kinds of value. `Debug` shows the kind and the keys, never a scalar's content.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`, unquoted.
    Bool(bool),
    /// An unquoted integer of 64 bits.
    Integer(i64),
    /// An unquoted number with point or exponent, or an integer of more than 64 bits.
    Float(f64),
    /// Everything else, quoted or not.
    String(String),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping in the order of the file; keys are unique.
    Mapping(Vec<(Key, Node)>),
}

impl Node {
    pub(crate) fn new(span: Span, value: Value) -> Self {
        Self { span, value, written: None, quoted: false, origin: Origin::File }
    }

    /// The text of a scalar other than null, whatever its kind: `012` stays `"012"`, `True` stays `"True"`.
    ///
    /// Environment variables are filled in, so this may be a secret.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            Value::Bool(_) | Value::Integer(_) | Value::Float(_) => self.written.as_deref(),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Whether the scalar stood in quotes.
    pub fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// Whether the scalar's text came, in whole or in part, from the environment.
    pub fn is_from_environment(&self) -> bool {
        self.origin == Origin::Environment
    }

    /// Whether the value is null or not given, which readers treat alike.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value of a key of a mapping; `None` for other kinds.
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Value::Mapping(entries) = &self.value else { return None };
        entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// A scalar's text with `${NAME}` in place of what came from the environment.
    pub(crate) fn as_shown(&self) -> Option<&str> {
        self.written.as_deref().or(self.text())
    }

    /// What is found here, for a message: short, on one line. `Diagnostics` replaces it where the value is secret.
    pub(crate) fn describe(&self) -> String {
        const LONGEST: usize = 60;
        let text = match &self.value {
            Value::Null => return "nothing".to_owned(),
            Value::Sequence(_) => return "a list".to_owned(),
            Value::Mapping(_) => return "a mapping".to_owned(),
            _ => self.as_shown().unwrap_or_default(),
        };
        match &self.value {
            Value::String(_) if text.chars().count() > LONGEST => {
                format!("{:?}…", text.chars().take(LONGEST).collect::<String>())
            }
            Value::String(_) => format!("{text:?}"),
            _ => text.to_owned(),
        }
    }

    /// The value as JSON, in the order of the file, for receivers that take free-form options.
    ///
    /// Environment variables are filled in, so the result may hold secrets. Infinity and NaN become null.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::String(text) => text.as_str().into(),
            Value::Sequence(items) => items.iter().map(Node::to_json).collect(),
            Value::Mapping(entries) => entries.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect(),
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} ", self.span.line, self.span.column)?;
        self.value.fmt(f)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(_) => f.write_str("boolean"),
            Self::Integer(_) => f.write_str("integer"),
            Self::Float(_) => f.write_str("float"),
            Self::String(_) => f.write_str("string"),
            Self::Sequence(items) => f.debug_list().entries(items).finish(),
            Self::Mapping(entries) => f.debug_map().entries(entries.iter().map(|(key, node)| (&key.name, node))).finish(),
        }
    }
}
