//! The cursor of a subscription as it stands in Redis, beside the data.
//!
//! Its value is the offset of the next event and who wrote it: `1207 5f0c…`. A script only goes ahead when the value is the one
//! that we saw last.

use trunkline_core::CursorKey;

use crate::cursor::Cursor;

/// The value of a cursor; empty when there is none.
pub(super) fn text(cursor: Option<&Cursor>) -> String {
    cursor.map_or_else(String::new, |Cursor { next, writer }| format!("{next} {writer}"))
}

/// Reads what stands in Redis.
pub(super) fn parse(value: Option<&str>) -> Result<Option<Cursor>, String> {
    let value = value.unwrap_or_default();
    let cursor =
        value.split_once(' ').and_then(|(next, writer)| Some(Cursor { next: next.parse().ok()?, writer: writer.to_owned() }));
    // Another way to write it would never be the one that a script expects.
    if text(cursor.as_ref()) == value { Ok(cursor) } else { Err(format!("{value:?} is no cursor")) }
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

    #[test]
    fn a_value_is_read_as_it_was_written() {
        let cursor = Cursor { next: 7, writer: "me".to_owned() };
        assert_eq!(text(Some(&cursor)), "7 me");
        assert_eq!(parse(Some("7 me")), Ok(Some(cursor)));
        assert_eq!((parse(None), parse(Some("")), text(None)), (Ok(None), Ok(None), String::new()));
        for value in ["theirs", "theirs too", "007 me", "7"] {
            assert!(parse(Some(value)).unwrap_err().contains(value), "{value}");
        }
    }
}
