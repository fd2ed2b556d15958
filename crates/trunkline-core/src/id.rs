//! Identities that Trunkline gives: of a journal, and of every event in it.

use std::fmt;

use uuid::Uuid;

use crate::{Offset, Timestamp};

/// The number of a partition: of a slice of conversations that has a journal of its own. 0 where there is only one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionNumber(u16);

impl PartitionNumber {
    /// More partitions than this are never made: event ids have room for so many.
    pub const COUNT: u16 = 1 << 12;

    /// The partition `number`; `None` from [`PartitionNumber::COUNT`] on.
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// Names one journal for ever: a random UUID made when the journal is created, and the partition whose events it has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalId {
    uuid: Uuid,
    partition: PartitionNumber,
}

impl JournalId {
    /// A fresh, random identity, of partition 0.
    pub fn random() -> Self {
        Self { uuid: Uuid::new_v4(), partition: PartitionNumber::default() }
    }

    /// The journal of `partition` beside this one.
    #[must_use]
    pub fn with_partition(self, partition: PartitionNumber) -> Self {
        Self { partition, ..self }
    }

    /// The partition whose events it has.
    pub fn partition(self) -> PartitionNumber {
        self.partition
    }

    /// Reads what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let (uuid, partition) = text.split_once('+').unwrap_or((text, "0"));
        let partition = PartitionNumber::new(partition.parse().ok()?)?;
        Some(Self { uuid: Uuid::try_parse(uuid).ok()?, partition })
    }

    /// The bits that go into every event id of this journal: 14 that all its partitions share, and 12 that tell them apart. Those of
    /// partition 0 are the last 26 of the UUID, as they were when there were no partitions.
    fn tag(self) -> u64 {
        (self.uuid.as_u64_pair().1 & 0x03ff_ffff) ^ u64::from(self.partition.0)
    }
}

impl fmt::Display for JournalId {
    /// 32 lower-case hexadecimal digits, and `+` with its number for a partition other than 0.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid.simple().fmt(f)?;
        match self.partition.0 {
            0 => Ok(()),
            number => write!(f, "+{number}"),
        }
    }
}

impl fmt::Debug for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JournalId({self})")
    }
}

/// The stable id of an event, the same for every receiver on every attempt.
///
/// It is derived, not stored: a UUID version 7 (RFC 9562) made of the time of the append, 26 bits for the journal and its
/// partition, and the offset, so it sorts by time and costs no column. The time keeps ids apart when a journal is restored from a
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

    /// Where the event stands if it is one of `journal` or of another partition beside it; `None` when it is of another journal.
    /// Journals are told apart by 14 bits only, so the event there must be asked for its id.
    pub fn place_in(self, journal: JournalId) -> Option<(PartitionNumber, Offset)> {
        let (high, low) = self.0.as_u64_pair();
        let tag = ((high & 0xfff) << 14) | ((low >> Self::OFFSET_BITS) & 0x3fff);
        let difference = tag ^ journal.with_partition(PartitionNumber::default()).tag();
        let partition = PartitionNumber::new(u16::try_from(difference).ok()?)?;
        Some((partition, low & ((1 << Self::OFFSET_BITS) - 1)))
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

    fn journal(low: u64) -> JournalId {
        JournalId { uuid: Uuid::from_u64_pair(1, low), partition: PartitionNumber::default() }
    }

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
    fn ids_are_those_that_were_given_out_before_there_were_partitions() {
        // Taken from a journal that the program of that time wrote.
        let journal = JournalId::parse("f96ccbfa31b047669666caea36449ca6").expect("an identity");
        assert_eq!(EventId::derive(journal, Timestamp(0x01a2_2d9f_2e1d), 8).to_string(), "01a22d9f2e1d79129ca6000000000008");
    }

    #[test]
    fn an_id_that_comes_back_tells_where_its_event_stands() {
        let (here, there) = (journal(5), journal(0x0200_0005));
        let id = EventId::derive(here, Timestamp(1_795_248_186_293), 77);
        let read = EventId::parse(&id.to_string()).expect("it is one of ours");
        let first = PartitionNumber::default();
        assert_eq!((read, read.place_in(here), read.place_in(there)), (id, Some((first, 77)), None));
        assert_eq!(EventId::parse("delivery 7"), None);
        assert_eq!(EventId::parse(&Uuid::new_v4().simple().to_string()), None);
    }

    #[test]
    fn every_partition_has_ids_of_its_own_and_is_found_from_any_other() {
        let journals = [0, 1, 77, 4_095].map(|number| {
            let partition = PartitionNumber::new(number).expect("there are as many");
            journal(0x02ab_cdef).with_partition(partition)
        });
        for one in journals {
            let id = EventId::derive(one, Timestamp(5), 9);
            assert!(journals.iter().all(|other| id.place_in(*other) == Some((one.partition(), 9))));
            assert!(journals.iter().all(|other| (EventId::derive(*other, Timestamp(5), 9) == id) == (*other == one)));
            assert_eq!(JournalId::parse(&one.to_string()), Some(one));
        }
        assert_eq!(journals[2].to_string(), "00000000000000010000000002abcdef+77");
        assert_eq!(PartitionNumber::new(4_096), None);
        assert_eq!(JournalId::parse("00000000000000010000000002abcdef+4096"), None);
    }

    #[test]
    fn the_same_offset_at_another_time_or_in_another_journal_is_another_id() {
        let (here, there) = (JournalId::random(), JournalId::random());
        let id = EventId::derive(here, Timestamp(5), 9);
        assert_ne!(id, EventId::derive(here, Timestamp(6), 9));
        assert_ne!(here.tag() == there.tag(), id != EventId::derive(there, Timestamp(5), 9));
    }
}
