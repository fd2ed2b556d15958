//! Identities that Trunkline gives: of a journal, and of every event in it.

use std::fmt;

use uuid::Uuid;

use crate::{Offset, Timestamp};

/// Names one journal for ever: a random UUID made when the journal is created.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId(Uuid);

impl JournalId {
    /// A fresh, random identity.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// The bits that go into every event id of this journal.
    fn tag(self) -> u64 {
        self.0.as_u64_pair().1 & 0x03ff_ffff
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// The stable id of an event, the same for every receiver on every attempt.
///
/// It is derived, not stored: a UUID version 7 (RFC 9562) made of the time of the append, 26 bits of the journal's identity
/// and the offset, so it sorts by time and costs no column. The time keeps ids apart when a journal is restored from a
/// backup and the same offsets are given out once more.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    const OFFSET_BITS: u32 = 48;

    /// The id of the event at `offset` of `journal`, appended at `time`.
    pub fn derive(journal: JournalId, time: Timestamp, offset: Offset) -> Self {
        let tag = journal.tag();
        let millis = u64::try_from(time.0).unwrap_or(0) & ((1 << 48) - 1);
        let high = (millis << 16) | (0x7 << 12) | (tag >> 14);
        let low = (0b10 << 62) | ((tag & 0x3fff) << Self::OFFSET_BITS) | (offset & ((1 << Self::OFFSET_BITS) - 1));
        Self(Uuid::from_u64_pair(high, low))
    }

    /// Reads what [`fmt::Display`] wrote; `None` when it is no id of ours.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().filter(|id| id.get_version_num() == 7).map(Self)
    }

    /// Where the event stands if it is one of `journal`; `None` when it is of another. Journals are told apart by 26 bits only, so
    /// the event there must be asked for its id.
    pub fn offset_in(self, journal: JournalId) -> Option<Offset> {
        let (high, low) = self.0.as_u64_pair();
        let tag = ((high & 0xfff) << 14) | ((low >> Self::OFFSET_BITS) & 0x3fff);
        (tag == journal.tag()).then_some(low & ((1 << Self::OFFSET_BITS) - 1))
    }
}

impl fmt::Display for EventId {
    /// 32 lower-case hexadecimal digits, as Rasa's own message ids.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_7_and_sort_by_time_and_then_offset() {
        let journal = JournalId::random();
        let first = EventId::derive(journal, Timestamp(1_795_248_186_293), 1);
        let second = EventId::derive(journal, Timestamp(1_795_248_186_293), 2);
        let later = EventId::derive(journal, Timestamp(1_795_248_186_294), 1);
        assert!(first < second && second < later);
        assert_eq!(first.0.get_version_num(), 7);
        assert_eq!(first.to_string().len(), 32);
    }

    #[test]
    fn an_id_that_comes_back_tells_where_its_event_stands() {
        let (here, there) = (JournalId(Uuid::from_u64_pair(1, 5)), JournalId(Uuid::from_u64_pair(1, 0x0200_0005)));
        let id = EventId::derive(here, Timestamp(1_795_248_186_293), 77);
        let read = EventId::parse(&id.to_string()).expect("it is one of ours");
        assert_eq!((read, read.offset_in(here), read.offset_in(there)), (id, Some(77), None));
        assert_eq!(EventId::parse("delivery 7"), None);
        assert_eq!(EventId::parse(&Uuid::new_v4().simple().to_string()), None);
    }

    #[test]
    fn the_same_offset_at_another_time_or_in_another_journal_is_another_id() {
        let (here, there) = (JournalId::random(), JournalId::random());
        let id = EventId::derive(here, Timestamp(5), 9);
        assert_ne!(id, EventId::derive(here, Timestamp(6), 9));
        assert_ne!(here.tag() == there.tag(), id != EventId::derive(there, Timestamp(5), 9));
    }
}
