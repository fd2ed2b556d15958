//! Names that are made from an event: `rasa.$event.$sender_id`.
//!
//! The syntax is that of Python's `string.Template`, because ACA-Py's topic maps are written in it: `$name`, `${name}`, and `$$`
//! for a dollar. A name begins with a letter or `_` and goes on with letters, digits and `_`, ASCII only. A value is inserted as it
//! is and never looked at for placeholders.

use crate::Event;

/// A text with placeholders, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A dollar that begins nothing.
    #[error("`$` at character {position} begins no placeholder; write `$$` for a dollar")]
    Placeholder {
        /// Counted from 1.
        position: usize,
    },
    /// A name that has no value.
    #[error("there is no `${name}`; known: {}", known.iter().map(|known| format!("`${known}`")).collect::<Vec<_>>().join(", "))]
    Name {
        /// As it was written.
        name: String,
        /// What could be written.
        known: Vec<String>,
    },
}

/// The placeholders of a template over a tracker event.
pub const EVENT_NAMES: [&str; 4] = ["sender_id", "event", "input_channel", "id"];

impl Template {
    /// Reads a template whose placeholders are all in `known`.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            literal.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            }
            let position = text.chars().count() - after.chars().count();
            let (name, after) = placeholder(after).ok_or(TemplateError::Placeholder { position })?;
            if !known.contains(&name) {
                let known = known.iter().map(|&known| known.to_owned()).collect();
                return Err(TemplateError::Name { name: name.to_owned(), known });
            }
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Name(name.to_owned()));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    /// Reads a template over a tracker event, with the placeholders of [`EVENT_NAMES`].
    pub fn for_events(text: &str) -> Result<Self, TemplateError> {
        Self::parse(text, &EVENT_NAMES)
    }

    /// The text when there is no placeholder in it.
    pub fn constant(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text with the value of each placeholder; `value` is only asked for known names.
    pub fn render<'v>(&self, mut value: impl FnMut(&str) -> std::borrow::Cow<'v, str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Name(name) => text.push_str(&value(name)),
            }
        }
        text
    }

    /// The text for an event. An event without an input channel has an empty one.
    pub fn render_event(&self, event: &Event) -> String {
        self.render(|name| match name {
            "sender_id" => event.conversation.as_str().into(),
            "event" => event.event_type.as_str().into(),
            "input_channel" => event.channel.as_deref().unwrap_or_default().into(),
            _ => event.id.to_string().into(),
        })
    }
}

/// The name at the beginning of `text`, bare or in braces, and what follows.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let (text, is_braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = text.find(|c: char| !(c == '_' || c.is_ascii_alphanumeric())).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    Some((name, if is_braced { rest.strip_prefix('}')? } else { rest }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(text, &["wallet_id", "state"])?;
        Ok(template.render(|name| if name == "state" { "$wallet_id".into() } else { "w1".into() }))
    }

    #[test]
    fn placeholders_are_those_of_python() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("acapy-webhook-$wallet_id", "acapy-webhook-w1"),
            ("${wallet_id}s", "w1s"),
            ("$wallet_id-x", "w1-x"),
            ("$$wallet_id 5$$", "$wallet_id 5$"),
            ("é$wallet_id", "éw1"),
            ("$wallet_idé", "w1é"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn values_are_never_looked_at_for_placeholders() {
        assert_eq!(render("$state").as_deref(), Ok("$wallet_id"));
    }

    #[test]
    fn what_is_no_placeholder_is_refused_by_its_place() {
        for (text, position) in [("$", 1), ("a$ b", 2), ("é$1", 2), ("${wallet_id", 1), ("${}", 1), ("${wallet id}", 1)] {
            assert_eq!(render(text), Err(TemplateError::Placeholder { position }), "{text}");
        }
        assert_eq!(render("$nobody").unwrap_err().to_string(), "there is no `$nobody`; known: `$wallet_id`, `$state`");
    }

    #[test]
    fn a_template_without_placeholders_is_a_constant() {
        let constant = |text: &str| Template::for_events(text).unwrap().constant().map(ToOwned::to_owned);
        assert_eq!(constant("a$$b").as_deref(), Some("a$b"));
        assert_eq!(constant("").as_deref(), Some(""));
        assert_eq!(constant("rasa.$event"), None);
    }
}
