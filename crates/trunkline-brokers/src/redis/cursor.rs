//! The cursor of a subscription as it stands in Redis, beside the data.
//!
//! Its value is the offset of the next event and who wrote it: `1207 5f0c…`. The writer is a run of one adapter. A script only
//! goes ahead when the value is the one that we saw last, so whatever was sent before and comes late is without effect.

use trunkline_core::{CursorKey, Offset};

use crate::cursor::{Astray, Cursor, compare};

/// The value of a cursor; empty when there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    text: String,
    next: Offset,
}

impl Stored {
    pub(super) fn new(next: Offset, writer: &str) -> Self {
        Self { text: format!("{next} {writer}"), next }
    }

    /// Reads what stands in Redis.
    pub(super) fn parse(text: Option<String>) -> Result<Self, String> {
        let text = text.unwrap_or_default();
        let number = text.split_once(' ').map_or(text.as_str(), |(number, _)| number);
        match number.parse() {
            Ok(next) => Ok(Self { text, next }),
            Err(_) if text.is_empty() => Ok(Self::default()),
            Err(_) => Err(format!("{text:?} is no cursor")),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn position(&self) -> Option<Offset> {
        (!self.text.is_empty()).then_some(self.next)
    }

    /// The offset below which `writer` itself has published everything. What another run stored does not count: a caller that
    /// knowingly starts before it, with a journal restored from a backup, must not have its events swallowed.
    pub(super) fn done_by(&self, writer: &str) -> Offset {
        if self.is_by(writer) { self.next } else { 0 }
    }

    fn is_by(&self, writer: &str) -> bool {
        self.text.split_once(' ').is_some_and(|(_, by)| by == writer)
    }

    /// What it means that `self` was expected and `found` is there.
    pub(super) fn compare(&self, found: &Self, writer: &str) -> Result<(), Astray> {
        compare(self.cursor().as_ref(), found.cursor().as_ref(), writer)
    }

    fn cursor(&self) -> Option<Cursor> {
        let writer = self.text.split_once(' ').map_or("", |(_, writer)| writer).to_owned();
        self.position().map(|next| Cursor { next, writer })
    }
}

/// The key of a cursor. On a cluster `tag` puts it into the slot of the data.
pub(super) fn key(cursor: &CursorKey, tag: Option<&str>) -> String {
    let CursorKey { journal, subscription } = cursor;
    match tag {
        Some(tag) => format!("trunkline:cursor:{{{tag}}}:{journal}:{subscription}"),
        None => format!("trunkline:cursor:{journal}:{subscription}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(text: &str) -> Stored {
        Stored::parse(Some(text.to_owned())).unwrap()
    }

    #[test]
    fn a_value_is_read_as_it_was_written() {
        assert_eq!(stored(Stored::new(7, "me").as_str()), Stored::new(7, "me"));
        assert_eq!(Stored::parse(None), Ok(Stored::default()));
        assert_eq!(Stored::default().position(), None);
        assert_eq!(stored("7").position(), Some(7));
        assert!(Stored::parse(Some("theirs".to_owned())).unwrap_err().contains("theirs"));
    }
}
