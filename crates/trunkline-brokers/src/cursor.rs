//! The cursor of a subscription as it stands at a receiver, beside the data, and the reasons why it may have moved.
//!
//! Beside the offset of the next event stands who put it there: the writer, a run of one adapter. An attempt only goes ahead when
//! both are as they were seen last, so whatever was sent before and comes late is without effect.

use std::ops::Range;
use std::sync::Arc;

use trunkline_core::{Event, Offset};
use uuid::Uuid;

/// A cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The offset of the next event.
    pub(crate) next: Offset,
    /// Who put it there.
    pub(crate) writer: String,
}

/// A name for a run of an adapter, 32 characters, that no other has.
pub(crate) fn new_writer() -> String {
    Uuid::new_v4().simple().to_string()
}

/// Why a cursor is not where it was expected, when it is no attempt of ours that was given up and has done its work after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Astray {
    /// It is not there any more, and nobody can say what else is lost.
    Gone,
    /// The receiver has lost events that it had confirmed, as after a failover to a server that was behind.
    Back,
    /// Somebody else publishes for the same subscription of the same journal.
    ByAnother,
}

/// Whether the cursor that is found may follow the one that was seen last.
///
/// Another writer than ourselves is only believed as long as we have not written: then it is the run before this one, whose last
/// attempt came late.
fn compare(expected: Option<&Cursor>, found: Option<&Cursor>, writer: &str) -> Result<(), Astray> {
    let Some(expected) = expected else { return Ok(()) };
    let Some(found) = found else { return Err(Astray::Gone) };
    match (expected.writer == writer, found.writer == writer) {
        // The first attempt of ours. It may have moved the cursor back, for a journal that was restored from a backup.
        (false, true) => Ok(()),
        _ if found.next < expected.next => Err(Astray::Back),
        (true, false) => Err(Astray::ByAnother),
        _ => Ok(()),
    }
}

/// A cursor as this run has seen it last, and what that says about the events.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    cursor: Option<Cursor>,
    /// Events with these offsets are there.
    done: Range<Offset>,
}

impl Known {
    /// It is looked at for the first time. What another run stored says nothing about the events: a caller that knowingly starts
    /// before it, with a journal restored from a backup, must not have its events swallowed.
    pub(crate) fn first(cursor: Option<Cursor>, writer: &str) -> Self {
        let done = cursor.as_ref().filter(|cursor| cursor.writer == writer).map_or(0, |cursor| cursor.next);
        Self { cursor, done: 0..done }
    }

    /// An attempt of ours has left it there.
    pub(crate) fn left(cursor: Cursor) -> Self {
        Self { done: 0..cursor.next, cursor: Some(cursor) }
    }

    pub(crate) fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    pub(crate) fn position(&self) -> Option<Offset> {
        self.cursor.as_ref().map(|cursor| cursor.next)
    }

    /// How many events at the head of `events` are there already.
    pub(crate) fn there(&self, events: &[Arc<Event>]) -> usize {
        events.iter().take_while(|event| self.done.contains(&event.offset)).count()
    }

    /// What is known when `found` is there now.
    pub(crate) fn find(&self, found: Option<Cursor>, writer: &str) -> Result<Self, Astray> {
        if self.cursor == found {
            return Ok(self.clone());
        }
        compare(self.cursor.as_ref(), found.as_ref(), writer)?;
        let seen = Self::first(found, writer);
        if !seen.done.is_empty() {
            return Ok(seen);
        }
        // The last attempt of the run before this one went on from where the cursor was, and no further than to where it is.
        let done = self.position().unwrap_or(0)..seen.position().unwrap_or(0);
        Ok(Self { done, ..seen })
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

    use super::*;

    /// As `7 me`; nothing is no cursor.
    fn cursor(text: &str) -> Option<Cursor> {
        let (next, writer) = text.split_once(' ')?;
        Some(Cursor { next: next.parse().unwrap(), writer: writer.to_owned() })
    }

    #[test]
    fn late_attempts_are_told_from_lost_data_and_from_other_writers() {
        let check = |expected: &str, found: &str, result: Result<(), Astray>| {
            assert_eq!(compare(cursor(expected).as_ref(), cursor(found).as_ref(), "me"), result, "{expected:?}, {found:?}");
        };
        check("7 me", "9 me", Ok(()));
        check("", "9 me", Ok(()));
        check("7 before", "9 before", Ok(()));
        check("", "9 before", Ok(()));
        check("7 before", "5 me", Ok(()));
        check("7 me", "5 me", Err(Astray::Back));
        check("7 me", "", Err(Astray::Gone));
        check("7 me", "5 before", Err(Astray::Back));
        check("7 before", "5 before", Err(Astray::Back));
        check("7 me", "9 other", Err(Astray::ByAnother));
        check("7 me", "7 other", Err(Astray::ByAnother));
    }

    /// Which of the events at 1 to 9 from `from` on are taken for those already there.
    fn there(known: &Known, from: Offset) -> usize {
        let event =
            |offset| Arc::new(NewEvent::new(Kind::Event, "u", "user", "").recorded(JournalId::random(), Timestamp(1), offset));
        known.there(&(from..10).map(event).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_a_late_attempt_can_have_published_is_taken_to_be_there() {
        // A journal that was restored from a backup begins before what was there at first.
        let known = Known::first(cursor("7 before"), "me");
        assert_eq!((there(&known, 3), there(&known, 7)), (0, 0));
        let late = known.find(cursor("9 before"), "me").unwrap();
        assert_eq!((there(&late, 3), there(&late, 7)), (0, 2));
        // As long as nothing changes, that does not either.
        assert_eq!(there(&late.find(cursor("9 before"), "me").unwrap(), 7), 2);
        let ours = known.find(cursor("5 me"), "me").unwrap();
        assert_eq!((there(&ours, 3), there(&ours, 5)), (2, 0));
        assert_eq!(there(&Known::left(cursor("5 me").unwrap()), 1), 4);
        assert_eq!(there(&Known::first(cursor("5 me"), "me"), 1), 4);
    }
}
