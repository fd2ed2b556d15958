//! Diagnostics as text for people: a line that says it all, the source line with a caret, a hint.

use crate::diagnostic::{Diagnostic, Excerpt, Severity};
use crate::node::Span;
use crate::secret::{REDACTED, has_credentials, sounds_secret};

/// Whether to colour the text. The caller knows whether a person looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With ANSI escape sequences.
    Ansi,
}

/// The text of a file, and the stretches of it that must not be shown.
pub(crate) struct SourceFile {
    pub(crate) name: String,
    lines: Vec<String>,
    pub(crate) masks: Vec<Span>,
}

impl SourceFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        // YAML ends a line at LF, CR LF, or CR alone.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        Self { name: name.to_owned(), lines: text.split('\n').map(str::to_owned).collect(), masks: Vec::new() }
    }

    fn line(&self, number: usize) -> Option<&str> {
        self.lines.get(number.checked_sub(1)?).map(String::as_str)
    }

    /// Whether a line that was not parsed, or the line with the key that it belongs to, may hold a secret.
    fn may_hold_secret(&self, number: usize) -> bool {
        for line in self.lines.iter().take(number).rev() {
            if sounds_secret(line) || has_credentials(line) {
                return true;
            }
            if line.contains(':') {
                return false;
            }
        }
        false
    }

    /// The first and the last column that are masked in a line, per mask.
    fn masks_of(&self, number: usize) -> Vec<(usize, usize)> {
        let in_line = |span: &&Span| (span.line..=span.end_line).contains(&number);
        let columns = |span: &Span| {
            let from = if number == span.line { span.column } else { 1 };
            let to = if number == span.end_line { span.end_column } else { usize::MAX };
            (from, to)
        };
        self.masks.iter().filter(in_line).map(columns).filter(|(from, to)| from < to).collect()
    }
}

/// `error: file:7:9: path: message`
pub(crate) fn header(diagnostic: &Diagnostic, style: Style) -> String {
    let severity = match diagnostic.severity {
        Severity::Error => paint("error", RED, style),
        Severity::Warning => paint("warning", YELLOW, style),
    };
    let place = match diagnostic.line {
        0 => String::new(),
        line => format!(":{line}:{}", diagnostic.column),
    };
    let separator = if diagnostic.path.is_empty() { "" } else { ": " };
    let [file, path, message] = [&diagnostic.file, &diagnostic.path, &diagnostic.message].map(|text| clean(text));
    format!("{severity}: {file}{place}{separator}{path}: {message}")
}

/// The header, the source line with a caret, and the hint; each line ends with a newline.
pub(crate) fn block(diagnostic: &Diagnostic, file: Option<&SourceFile>, style: Style) -> String {
    let mut lines = vec![header(diagnostic, style)];
    if let Some(excerpt) = file.and_then(|file| excerpt(diagnostic, file)) {
        let number = diagnostic.line.to_string();
        let colour = if diagnostic.severity == Severity::Error { RED } else { YELLOW };
        let gutter = paint(&format!("  {number} |"), BLUE, style);
        let empty_gutter = paint(&format!("  {:1$} |", "", number.len()), BLUE, style);
        let caret = format!("{:1$}{2}", "", excerpt.caret, "^".repeat(excerpt.width));
        lines.push(format!("{gutter} {}", excerpt.text.trim_end()).trim_end().to_owned());
        lines.push(format!("{empty_gutter} {}", paint(&caret, colour, style)));
    }
    if let Some(hint) = &diagnostic.hint {
        lines.push(format!("  {}: {}", paint("hint", CYAN, style), clean(hint)));
    }
    lines.join("\n") + "\n"
}

/// A source line made fit to be shown, with the place of the caret in it.
struct ShownLine {
    text: String,
    caret: usize,
    width: usize,
}

fn excerpt(diagnostic: &Diagnostic, file: &SourceFile) -> Option<ShownLine> {
    const WIDEST: usize = 110;
    const BEFORE_CARET: usize = 60;
    let line = file.line(diagnostic.line)?;
    let unparsed = diagnostic.excerpt == Excerpt::Unparsed;
    if unparsed && file.may_hold_secret(diagnostic.line) {
        return Some(ShownLine { text: REDACTED.to_owned(), caret: 0, width: REDACTED.len() });
    }
    let span = diagnostic.span;
    if diagnostic.excerpt == Excerpt::Key && (span.line, span.column) == (span.end_line, span.end_column) {
        return None;
    }
    let masks = file.masks_of(diagnostic.line);
    let mut shown: Vec<char> = Vec::new();
    let (mut start, mut end) = (None, None);
    for (index, c) in line.chars().enumerate() {
        let column = index + 1;
        if column >= span.end_column && span.line == span.end_line {
            end.get_or_insert(shown.len());
            if diagnostic.excerpt == Excerpt::Key && column > span.end_column {
                shown.extend(" …".chars());
                break;
            }
        }
        if column >= span.column {
            start.get_or_insert(shown.len());
        }
        match masks.iter().find(|(from, to)| (*from..*to).contains(&column)) {
            // A mask is shown once, where it begins.
            Some((from, _)) if *from == column => shown.extend(REDACTED.chars()),
            Some(_) => {}
            None => shown.push(if c.is_control() { ' ' } else { c }),
        }
    }
    let start = start.unwrap_or(shown.len());
    let end = end.unwrap_or(shown.len()).max(start + 1);
    // A long line is shown around its caret.
    let skipped = if shown.len() > WIDEST { start.saturating_sub(BEFORE_CARET) } else { 0 };
    Some(ShownLine {
        text: shown.into_iter().skip(skipped).take(WIDEST).collect(),
        caret: start - skipped,
        width: (end - start).min(WIDEST - (start - skipped).min(WIDEST - 1)),
    })
}

const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const BLUE: &str = "\u{1b}[34m";
const CYAN: &str = "\u{1b}[36m";

fn paint(text: &str, colour: &str, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Ansi => format!("{colour}{text}\u{1b}[0m"),
    }
}

/// Without control characters, which could take over the reader's terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
