//! Reading one mapping into a plan.

mod report;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::convert::{self, Mismatch, TimeUnit};
use crate::diagnostic::{Diagnostic, Diagnostics, Excerpt, Severity};
use crate::node::{Key, Node, Origin, Span, Value};
use crate::path::{push_index, push_key};
use crate::secret::Secret;

/// The meaning of a key that the reader of a section did not ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownKeys {
    /// An error: for our own files.
    Refuse,
    /// A warning that the key is ignored: for files whose original ignores such keys in silence.
    Warn,
}

/// A mapping that is being read, and the record of which keys were asked for.
///
/// Sections exist only inside the closures given to [`Document::read`](crate::Document::read),
/// [`section`](Self::section) and the like; when the closure returns, the keys nobody asked for are reported.
///
/// Every accessor returns `None` when the key is absent or null, and also when its value does not fit, after an error
/// is recorded. So `section.port("port").unwrap_or(5672)` is right in all three cases: a plan made beside an error is
/// never used. Accessors for numbers and booleans accept quoted text too, because Rasa's users write `"5672"` and
/// because variables always arrive as text.
///
/// ```
/// use std::time::Duration;
/// use trunkline_config::{Diagnostics, Document, Section, TimeUnit, UnknownKeys};
///
/// struct Rotate { max_bytes: u64, every: Duration, keep: u32 }
/// struct FilePlan { path: String, rotate: Option<Rotate> }
///
/// /// `{path: …, rotate: {max_size: …, every: …, keep: …}}`
/// fn plan(section: &Section<'_>) -> Option<FilePlan> {
///     section.unknown_keys(UnknownKeys::Refuse);
///     let rotate = section.section("rotate", |rotate| Rotate {
///         max_bytes: rotate.bytes("max_size").unwrap_or(64 << 20),
///         every: rotate.duration("every", TimeUnit::Seconds).unwrap_or(Duration::from_hours(24)),
///         keep: rotate.integer("keep", 1..=1000).unwrap_or(7),
///     });
///     // `?` comes last, so that the problems of all keys are found.
///     Some(FilePlan { path: section.required_string("path")?, rotate })
/// }
///
/// let text = "event_broker: {type: file, path: events.log, rotate: {max_size: 10 MB, keep: 3}}";
/// let diagnostics = Diagnostics::new();
/// let document = Document::parse("endpoints.yml", text, &|_| None, &diagnostics).expect("valid YAML");
/// let plans = document.read(UnknownKeys::Warn, &diagnostics, |root| {
///     root.sections("event_broker", |broker| match broker.string("type").as_deref() {
///         Some("file") => plan(broker),
///         _ => None,
///     })
/// });
/// assert!(diagnostics.is_empty());
/// let rotate = plans[0].as_ref().and_then(|plan| plan.rotate.as_ref()).expect("it is given");
/// assert_eq!((rotate.max_bytes, rotate.keep), (10_000_000, 3));
/// # assert_eq!(rotate.every, Duration::from_hours(24));
/// # assert_eq!(plans[0].as_ref().map(|plan| plan.path.as_str()), Some("events.log"));
/// ```
#[derive(Debug)]
pub struct Section<'a> {
    file: &'a str,
    diagnostics: &'a Diagnostics,
    entries: &'a [(Key, Node)],
    /// The key that leads here, or the first key of a list's element, for errors about what is missing.
    span: Span,
    path: String,
    unknown: Cell<UnknownKeys>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(file: &'a str, node: &'a Node, unknown: UnknownKeys, diagnostics: &'a Diagnostics) -> Self {
        Self {
            file,
            diagnostics,
            entries: entries_of(node).unwrap_or_default(),
            span: Span::point(1, 1),
            path: String::new(),
            unknown: Cell::new(unknown),
            asked: RefCell::default(),
        }
    }

    fn child(&self, entries: &'a [(Key, Node)], span: Span, path: String) -> Self {
        let (unknown, asked) = (self.unknown.clone(), RefCell::default());
        Self { file: self.file, diagnostics: self.diagnostics, entries, span, path, unknown, asked }
    }

    /// The only way to use a section: keys that `read` did not ask for are reported afterwards.
    pub(crate) fn finish_with<T>(self, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let plan = read(&self);
        self.report_unknown_keys();
        plan
    }

    /// The key path, such as `event_broker[1]`; empty at the root.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Changes what unknown keys mean in this section and in those opened from it afterwards.
    pub fn unknown_keys(&self, unknown: UnknownKeys) {
        self.unknown.set(unknown);
    }

    /// Whether the key has a value other than null. Does not count as asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Whether the key is there without a value. Does not count as asking for it.
    pub fn is_null(&self, key: &str) -> bool {
        self.entries.iter().any(|(k, node)| k.name == key && node.is_null())
    }

    /// The value of a key as it stands in the tree.
    pub fn node(&self, key: &str) -> Option<&'a Node> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.find(key)
    }

    /// All entries, null ones included, in the order of the file. Counts as asking for every key.
    ///
    /// For sections whose keys are data: channels in `credentials.yml`, keyword arguments of a custom class.
    pub fn entries(&self) -> &'a [(Key, Node)] {
        self.asked.borrow_mut().extend(self.entries.iter().map(|(key, _)| key.name.clone()));
        self.entries
    }

    /// Records an error when the key is absent or null; otherwise reads it: `section.required("url", Section::url)`.
    pub fn required<T>(&self, key: &str, read: impl FnOnce(&Self, &str) -> Option<T>) -> Option<T> {
        if self.has(key) {
            return read(self, key);
        }
        self.asked.borrow_mut().insert(key.to_owned());
        let message = "required key is missing".to_owned();
        let (span, hint) = match self.entries.iter().find(|(k, _)| k.name == key) {
            Some((key, _)) => (key.span, "it has no value".to_owned()),
            None => (self.span, format!("add `{key}: …`")),
        };
        let diagnostic = Diagnostic::at(Severity::Error, self.file, span, &self.path_of(key), message);
        self.diagnostics.push(diagnostic.excerpt(Excerpt::Key).hint(hint));
        None
    }

    /// Text. Any scalar will do and is taken as written, so `password: 0123` is `"0123"`.
    pub fn string(&self, key: &str) -> Option<String> {
        self.read(key, convert::text)
    }

    /// [`string`](Self::string), and an error when it is absent.
    pub fn required_string(&self, key: &str) -> Option<String> {
        self.required(key, Self::string)
    }

    /// Text that must not be shown; its source line is redacted in diagnostics from now on.
    pub fn secret(&self, key: &str) -> Option<Secret> {
        self.diagnostics.mask(self.file, self.node(key)?);
        self.read(key, convert::text).map(Secret::new)
    }

    /// One or several texts that must not be shown, as [`secret`](Self::secret) and [`strings`](Self::strings).
    pub fn secrets(&self, key: &str) -> Option<Vec<Secret>> {
        self.diagnostics.mask(self.file, self.node(key)?);
        Some(self.strings(key)?.into_iter().map(Secret::new).collect())
    }

    /// `true` or `false`. YAML 1.2 knows no `yes` and `on`; these are errors.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.read(key, convert::boolean)
    }

    /// An integer in a range, of any type up to 64 bits: `section.integer("connection_attempts", 1..=1000_u32)`.
    pub fn integer<T>(&self, key: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        self.read(key, |node| convert::integer(node, &range, "an integer"))
    }

    /// A port number from 1 to 65535.
    pub fn port(&self, key: &str) -> Option<u16> {
        self.read(key, |node| convert::integer(node, &(1..=u16::MAX), "a port number"))
    }

    /// A duration such as `500ms`, `1.5s`, `5m`, `2h` or `7d`, or a bare number of `unit`s. Never negative.
    pub fn duration(&self, key: &str, unit: TimeUnit) -> Option<Duration> {
        self.read(key, |node| convert::duration(node, unit))
    }

    /// A size in bytes such as `64 MiB` (1024²) or `10MB` (1000²), or a bare number; at most 2⁵³.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        self.read(key, convert::bytes)
    }

    /// Text that looks like `scheme://rest`, without white space. Parsing it is the caller's business.
    pub fn url(&self, key: &str) -> Option<String> {
        self.read(key, convert::url)
    }

    /// One of several names, in upper or lower case.
    pub fn enumeration<T: Clone>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |node| convert::enumeration(node, choices))
    }

    /// A list of texts; a single text counts as a list of one. Elements that do not fit are reported and left out.
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        let node = self.usable(key)?;
        let path = self.path_of(key);
        match &node.value {
            Value::Sequence(items) => {
                Some(numbered(&path, items).filter_map(|(path, item)| self.convert(item, &path, convert::text)).collect())
            }
            Value::Mapping(_) => self.mismatch(node, &path, &Mismatch::expected("text or a list of texts")),
            _ => self.convert(node, &path, convert::text).map(|text| vec![text]),
        }
    }

    /// A mapping from any keys to texts, such as HTTP headers, in the order of the file.
    pub fn string_map(&self, key: &str) -> Option<Vec<(String, String)>> {
        self.section(key, |map| {
            let keys = map.entries().iter().map(|(key, _)| key.name.clone());
            keys.filter_map(|key| map.string(&key).map(|text| (key, text))).collect()
        })
    }

    /// Reads a mapping; `None` when it is absent.
    pub fn section<T>(&self, key: &str, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        let node = self.usable(key)?;
        let path = self.path_of(key);
        match entries_of(node) {
            Some(entries) => Some(self.child(entries, self.key_span(key), path).finish_with(read)),
            None => self.mismatch(node, &path, &Mismatch::expected("a mapping")),
        }
    }

    /// Reads a mapping, or an empty one when it is absent or does not fit, so that defaults stand in one place.
    pub fn section_or_empty<T>(&self, key: &str, read: impl FnOnce(&Section<'a>) -> T) -> T {
        let node = self.usable(key);
        let (path, span) = (self.path_of(key), self.key_span(key));
        let entries = node.and_then(entries_of);
        if let (Some(node), None) = (node, entries) {
            self.mismatch::<()>(node, &path, &Mismatch::expected("a mapping"));
        }
        self.child(entries.unwrap_or_default(), span, path).finish_with(read)
    }

    /// Reads each mapping of a list; a single mapping counts as a list of one, an absent key as an empty list.
    ///
    /// Elements that are not mappings are reported and left out.
    pub fn sections<T>(&self, key: &str, mut read: impl FnMut(&Section<'a>) -> T) -> Vec<T> {
        let Some(node) = self.usable(key) else { return Vec::new() };
        let Value::Sequence(items) = &node.value else {
            return self.section(key, read).into_iter().collect();
        };
        numbered(&self.path_of(key), items)
            .filter_map(|(path, item)| match entries_of(item) {
                Some(entries) => {
                    let span = entries.first().map_or(item.span, |(key, _)| key.span);
                    Some(self.child(entries, span, path).finish_with(&mut read))
                }
                None if item.origin == Origin::Unresolved => None,
                None => self.mismatch(item, &path, &Mismatch::expected("a mapping")),
            })
            .collect()
    }

    fn find(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(k, _)| k.name == key).map(|(_, node)| node).filter(|node| !node.is_null())
    }

    /// The value of a key, unless it is already known to be faulty.
    fn usable(&self, key: &str) -> Option<&'a Node> {
        self.node(key).filter(|node| node.origin != Origin::Unresolved)
    }

    fn read<T>(&self, key: &str, convert: impl FnOnce(&Node) -> Result<T, Mismatch>) -> Option<T> {
        self.convert(self.usable(key)?, &self.path_of(key), convert)
    }

    fn convert<T>(&self, node: &Node, path: &str, convert: impl FnOnce(&Node) -> Result<T, Mismatch>) -> Option<T> {
        if node.origin == Origin::Unresolved {
            return None;
        }
        convert(node).map_or_else(|mismatch| self.mismatch(node, path, &mismatch), Some)
    }

    /// Where the key stands, or the section if it has no such key.
    fn key_span(&self, key: &str) -> Span {
        self.entries.iter().find(|(k, _)| k.name == key).map_or(self.span, |(key, _)| key.span)
    }

    fn path_of(&self, key: &str) -> String {
        let mut path = self.path.clone();
        push_key(&mut path, key);
        path
    }
}

fn entries_of(node: &Node) -> Option<&[(Key, Node)]> {
    match &node.value {
        Value::Mapping(entries) => Some(entries),
        _ => None,
    }
}

/// The items of a list with their key paths.
fn numbered<'n>(path: &str, items: &'n [Node]) -> impl Iterator<Item = (String, &'n Node)> {
    items.iter().enumerate().map(move |(index, item)| {
        let mut path = path.to_owned();
        push_index(&mut path, index);
        (path, item)
    })
}
