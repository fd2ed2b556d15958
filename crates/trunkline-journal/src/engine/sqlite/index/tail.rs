//! The part of the index that is not in the file yet.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};
use trunkline_core::Offset;

use super::{NAMES, numbered};
use crate::By;
use crate::engine::Record;

/// The offsets of each name of one kind, ascending.
pub(super) type Named = HashMap<CompactString, Vec<Offset>>;

/// A set of so many records is written at once. Sorted writes get cheaper with size; memory and the time to read the tail
/// again after a crash set the limit.
pub(super) const BATCH: usize = 16_384;
/// The same in bytes, for records with long names.
const BATCH_BYTES: usize = 8 << 20;
/// What a name and an identity weigh beside their texts and offsets.
const OVERHEAD: usize = 64;

/// Entries on their way into the file.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// How many records are in here.
    pub(super) records: usize,
    /// About what they take in memory.
    bytes: usize,
    /// The newest of them.
    pub(super) last: Offset,
    pub(super) identities: HashMap<i64, Vec<Offset>>,
    /// Conversations, users and sessions.
    pub(super) names: [Named; NAMES],
}

impl Entries {
    pub(super) fn add(&mut self, Record { event, identity }: &Record) {
        self.records += 1;
        self.last = event.offset;
        self.add_name(By::Conversation(&event.conversation), event.offset);
        if let Some(user) = &event.user {
            self.add_name(By::User(user), event.offset);
        }
        if let Some(session) = &event.session {
            self.add_name(By::Session(session), event.offset);
        }
        if let Some(identity) = identity {
            let hash = super::hash(&event.conversation, identity);
            self.identities.entry(hash).or_default().push(event.offset);
            self.bytes += OVERHEAD;
        }
    }

    fn add_name(&mut self, by: By<'_>, offset: Offset) {
        let (kind, name) = numbered(by);
        self.bytes += size_of::<Offset>();
        if let Some(offsets) = self.names[kind].get_mut(name) {
            offsets.push(offset);
        } else {
            self.bytes += name.len() + OVERHEAD;
            self.names[kind].insert(name.into(), vec![offset]);
        }
    }

    /// How many sets worth writing it is.
    pub(super) fn batches(&self) -> usize {
        (self.records / BATCH).max(self.bytes / BATCH_BYTES)
    }

    /// Both sets in one; `newer` begins behind this one.
    pub(super) fn joined(&self, newer: &Self) -> Self {
        let records = self.records + newer.records;
        let mut all = Self { records, bytes: self.bytes + newer.bytes, last: newer.last.max(self.last), ..Self::default() };
        for set in [self, newer] {
            for (hash, offsets) in &set.identities {
                all.identities.entry(*hash).or_default().extend(offsets);
            }
            for (joined, names) in all.names.iter_mut().zip(&set.names) {
                for (name, offsets) in names {
                    joined.entry(name.clone()).or_default().extend(offsets);
                }
            }
        }
        all
    }
}

/// Two sets: one being written, one being filled.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) filling: Entries,
    pub(super) writing: Option<Arc<Entries>>,
}

impl Tail {
    /// The sets, older first.
    fn sets(&self) -> impl Iterator<Item = &Entries> {
        self.writing.as_deref().into_iter().chain([&self.filling])
    }

    /// The offsets of the records whose identity hashes to `hash`, ascending.
    pub(super) fn identity(&self, hash: i64) -> Vec<Offset> {
        self.sets().filter_map(|set| set.identities.get(&hash)).flatten().copied().collect()
    }

    /// The offsets of a name, ascending.
    pub(super) fn named(&self, by: By<'_>) -> Vec<Offset> {
        let (kind, name) = numbered(by);
        self.sets().filter_map(|set| set.names[kind].get(name)).flatten().copied().collect()
    }

    /// Every conversation in here with its number of records, first and last offset.
    pub(super) fn summaries(&self) -> HashMap<CompactString, (u64, Offset, Offset)> {
        let mut found: HashMap<CompactString, (u64, Offset, Offset)> = HashMap::new();
        for (name, offsets) in self.sets().flat_map(|set| &set.names[0]) {
            let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { continue };
            let entry = found.entry(name.clone()).or_insert((0, first, last));
            entry.0 += offsets.len() as u64;
            entry.2 = last;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::{Event, JournalId, NewEvent, Timestamp};

    use super::*;

    pub(in super::super) fn record(offset: Offset, conversation: &str, identity: Option<&str>) -> Record {
        let event = NewEvent::parse(br#"{"sender_id": "a", "event": "restart"}"#, Some(conversation), 1.0).unwrap();
        let event = event.recorded(JournalId::random(), Timestamp(1), offset);
        let event = Event { user: Some("al".into()), session: offset.is_multiple_of(2).then(|| "s".into()), ..event };
        Record { event: Arc::new(event), identity: identity.map(str::to_owned) }
    }

    fn entries(records: &[Record]) -> Entries {
        let mut entries = Entries::default();
        for record in records {
            entries.add(record);
        }
        entries
    }

    #[test]
    fn what_is_being_written_is_found_before_what_is_being_filled() {
        let writing = entries(&[record(1, "a", Some("k")), record(2, "b", None)]);
        let filling = entries(&[record(3, "a", Some("k")), record(4, "a", Some("l"))]);
        assert_eq!((filling.records, filling.last), (2, 4));
        let tail = Tail { filling, writing: Some(Arc::new(writing)) };
        let hash = super::super::hash;
        assert_eq!(tail.identity(hash("a", "k")), [1, 3]);
        // The same key of another conversation is another.
        assert_eq!(tail.identity(hash("b", "k")), [] as [Offset; 0]);
        assert_eq!(tail.named(By::Conversation("a")), [1, 3, 4]);
        assert_eq!(tail.named(By::User("al")), [1, 2, 3, 4]);
        assert_eq!(tail.named(By::Session("s")), [2, 4]);
        // Names of one kind are not those of another.
        assert_eq!(tail.named(By::Session("a")), [] as [Offset; 0]);
        let summaries = tail.summaries();
        assert_eq!((summaries["a"], summaries["b"], summaries.len()), ((3, 1, 4), (1, 2, 2), 2));
    }

    #[test]
    fn a_set_is_worth_writing_when_it_has_many_records_or_long_names() {
        let many: Vec<_> = (1..=BATCH as Offset * 2).map(|offset| record(offset, "a", None)).collect();
        assert_eq!([&many[..BATCH - 1], &many[..BATCH], &many].map(|records| entries(records).batches()), [0, 1, 2]);
        let long = |offset: Offset| record(offset, &format!("{offset:05}{}", "😀".repeat(250)), None);
        let weight = 1_005 + OVERHEAD;
        // Beside its conversation each has the offsets of a user and every second time of a session.
        let most = BATCH_BYTES / (weight + 21);
        let mut set = entries(&(1..=most as Offset).map(long).collect::<Vec<_>>());
        assert_eq!(set.batches(), 0);
        (1..=100).for_each(|more| set.add(&long(most as Offset + more)));
        assert_eq!((set.batches(), set.joined(&set).batches()), (1, 2));
    }

    #[test]
    fn sets_are_joined_in_their_order() {
        let older = entries(&[record(1, "a", Some("k")), record(2, "b", None)]);
        let newer = entries(&[record(3, "a", Some("k"))]);
        let all = older.joined(&newer);
        assert_eq!((all.records, all.last), (3, 3));
        assert_eq!(all.identities[&super::super::hash("a", "k")], [1, 3]);
        assert_eq!((all.names[0]["a"].as_slice(), all.names[1]["al"].as_slice()), (&[1, 3][..], &[1, 2, 3][..]));
        assert_eq!(older.joined(&Entries::default()).last, 2);
    }
}
