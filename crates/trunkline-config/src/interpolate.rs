//! `${NAME}` from the environment, by the rules of Rasa's loader.
//!
//! A scalar qualifies when it is one line and contains `${…}`; then `$NAME` inside it is replaced as well. A variable
//! that is not set is an error only in a whitespace-separated word that begins with `$`; elsewhere the text stays.

/// Looks up an environment variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The outcome of expanding one scalar.
#[derive(Default)]
pub(crate) struct Expansion {
    /// The text with every variable replaced that is set.
    pub(crate) text: String,
    /// Whether at least one variable was replaced.
    pub(crate) replaced: bool,
    /// What was left as written, such as `${U}` or `$U`, in order; fit to be shown.
    pub(crate) leftovers: Vec<String>,
    /// The words that make the scalar an error, as written.
    pub(crate) refused: Vec<String>,
}

/// Whether a plain or literal scalar is subject to interpolation: one line with `${` and a later `}`.
pub(crate) fn qualifies(text: &str) -> bool {
    let line = text.strip_suffix('\n').unwrap_or(text);
    !line.contains('\n') && line.split_once("${").is_some_and(|(_, rest)| rest.contains('}'))
}

/// Replaces every `${NAME}` and `$NAME` that is set. Values are not expanded again.
pub(crate) fn expand(source: &str, environment: Environment<'_>) -> Expansion {
    let mut expansion = Expansion::default();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('$') {
        expansion.text.push_str(before);
        let (name, written, tail) = reference(after);
        if let Some(value) = name.and_then(environment) {
            expansion.text.push_str(&value);
            expansion.replaced = true;
        } else {
            expansion.text.push_str(&written);
            // What is no name may be a default value, and thus a secret.
            match name {
                Some(name) if is_name(name) => expansion.leftovers.push(written),
                Some(_) => expansion.leftovers.push("${…}".to_owned()),
                None => {}
            }
        }
        rest = tail;
    }
    expansion.text.push_str(rest);
    // A word that stands in the source as well was left over; one that does not came out of a variable.
    expansion.refused = expansion
        .text
        .split_whitespace()
        .filter(|word| word.starts_with('$') && source.contains(word))
        .map(str::to_owned)
        .collect();
    expansion
}

/// The variable name after a `$`, the reference as written, and what follows it. A lone `$` has no name.
fn reference(after: &str) -> (Option<&str>, String, &str) {
    if let Some((name, tail)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (Some(name), format!("${{{name}}}"), tail);
    }
    let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
    match after.split_at(end) {
        ("", tail) => (None, "$".to_owned(), tail),
        (name, tail) => (Some(name), format!("${name}"), tail),
    }
}

/// The message and the hint for one refused word. A default value is not repeated, for it may be a secret.
pub(crate) fn explain(word: &str) -> (String, &'static str) {
    let (name, _, _) = reference(word.strip_prefix('$').unwrap_or(word));
    let (name, default) = match name.and_then(|name| name.split_once(':')) {
        Some((name, _)) => (Some(name), true),
        None => (name, false),
    };
    match name.filter(|name| is_name(name)) {
        Some(name) if default => (
            format!("`${{{name}:…}}` has a default value, which is not supported"),
            "set the variable, and write `${NAME}` alone",
        ),
        Some(name) => {
            (format!("environment variable `{name}` is not set"), "set the variable before the start; quotes keep `${…}` as text")
        }
        None => {
            ("a word begins with `$` and names no environment variable".to_owned(), "write `${NAME}`; quotes keep `$` as text")
        }
    }
}

/// The name in a text that is one `${NAME}` and nothing else.
pub(crate) fn sole_reference(text: &str) -> Option<&str> {
    let name = text.trim_end().strip_prefix("${")?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
