//! Names of brokers and sources, and what to say about one that is not there.

use trunkline_config::Section;

/// The name of the subscription that answers messages. Its cursor and its dead letters stand beside those of the brokers.
pub(crate) const ASSISTANT: &str = "assistant";

/// The longest name, in characters; cursors, files and figures are called after it.
pub(crate) const MOST_CHARS: usize = 64;

/// The `name` of a section, or `default` where it has none. `why` tells what depends on it, for the error when it will not do.
pub(super) fn name(section: &Section<'_>, default: &str, why: &str) -> String {
    let name = section.string("name").unwrap_or_else(|| default.to_owned());
    if !is_name(&name) {
        section.unexpected("name", "1 to 64 letters, digits, `-`, `_` and `.`, the first not a `.`", Some(why));
    }
    name
}

/// Whether a broker, a source or a channel can be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    (1..=MOST_CHARS).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_plain)
}

/// ``there is no broker `x`; there are: a, b``, where `what` is ``broker `x` ``.
pub fn there_is_no<N: AsRef<str>>(what: &str, names: impl IntoIterator<Item = N>) -> String {
    format!("there is no {what}; there are: {}", listed(names))
}

/// `a, b`, or `none`.
pub fn listed<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> String {
    let mut names = names.into_iter();
    let Some(first) = names.next() else { return "none".to_owned() };
    names.fold(first.as_ref().to_owned(), |list, name| list + ", " + name.as_ref())
}
