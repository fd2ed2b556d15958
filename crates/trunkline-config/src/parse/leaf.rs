//! Scalars: their style, their tag, and the environment variables in them.

use granit_parser::{ScalarStyle, Tag};

use super::builder::Builder;
use crate::interpolate;
use crate::node::{Node, Origin, Span, Value};
use crate::scalar;
use crate::secret::has_credentials;

/// The properties of a scalar event.
pub(super) struct Scalar<'a> {
    pub(super) text: &'a str,
    pub(super) style: ScalarStyle,
    pub(super) tag: Option<&'a Tag>,
    pub(super) span: Span,
}

impl Builder<'_> {
    pub(super) fn scalar(&mut self, scalar: &Scalar<'_>) -> Node {
        let Scalar { text, style, tag, span } = *scalar;
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        let env_tag = tag.is_some_and(|tag| tag.original() == "!env_var");
        let may_expand = matches!(style, ScalarStyle::Plain | ScalarStyle::Literal) && tag.is_none();
        let mut node = if env_tag || (may_expand && interpolate::qualifies(text)) {
            self.interpolated(text, span)
        } else if self.is_plain(style, tag, span) {
            let value = scalar::resolve(text);
            let written = (!matches!(value, Value::String(_))).then(|| text.to_owned());
            Node { written, ..Node::new(span, value) }
        } else {
            Node::new(span, Value::String(text.to_owned()))
        };
        node.quoted = quoted;
        if quoted && tag.is_none() && interpolate::sole_reference(text).is_some_and(|name| (self.environment)(name).is_some()) {
            let hint = "remove the quotes to fill in the environment variable".to_owned();
            self.warning(span, format!("quotes keep `{text}` as text"), hint);
        }
        if node.as_shown().is_some_and(has_credentials) {
            self.diagnostics.mask(self.file, &node);
        }
        node
    }

    /// Whether a scalar is resolved by its looks, after its style and its tag. Reports a tag that is not supported.
    fn is_plain(&self, style: ScalarStyle, tag: Option<&Tag>, at: Span) -> bool {
        match tag.map(Tag::core_suffix) {
            None => style == ScalarStyle::Plain,
            Some(Some("str")) => false,
            Some(Some("int" | "float" | "bool" | "null")) => true,
            Some(_) if tag.is_some_and(|tag| tag.original() == "!") => false,
            Some(_) => {
                self.check_tag(tag, "str", at);
                false
            }
        }
    }

    fn interpolated(&self, text: &str, at: Span) -> Node {
        let expansion = interpolate::expand(text, self.environment);
        for word in &expansion.refused {
            let (message, hint) = interpolate::explain(word);
            self.error(at, &message, Some(hint));
        }
        if expansion.refused.is_empty() {
            for leftover in &expansion.leftovers {
                let hint = "set the variable; only a word that begins with it makes this an error".to_owned();
                self.warning(at, format!("`{leftover}` is not set in the environment and stays as text"), hint);
            }
        }
        let origin = match (expansion.refused.is_empty(), expansion.replaced) {
            (false, _) => Origin::Unresolved,
            (true, true) => Origin::Environment,
            (true, false) => Origin::File,
        };
        Node { written: Some(text.to_owned()), origin, ..Node::new(at, Value::String(expansion.text)) }
    }

    pub(super) fn check_tag(&self, tag: Option<&Tag>, expected: &str, at: Span) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(expected)) {
            let message = format!("tag `{}` is not supported", tag.original());
            self.error(at, &message, Some("supported are YAML's own tags and `!env_var`"));
        }
    }
}
