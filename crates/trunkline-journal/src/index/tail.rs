//! The part of the index that is not in the file yet.

use std::sync::Arc;

use compact_str::CompactString;
use foldhash::{HashMap, HashMapExt as _};
use trunkline_core::Offset;

/// Entries on their way into the file.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// How many records are in here.
    pub(super) records: usize,
    /// The newest of them.
    pub(super) last: Offset,
    pub(super) identities: HashMap<i64, Vec<Offset>>,
    pub(super) conversations: HashMap<CompactString, Vec<Offset>>,
}

impl Entries {
    pub(super) fn add(&mut self, offset: Offset, conversation: &CompactString, identity: Option<&str>) {
        self.records += 1;
        self.last = offset;
        match self.conversations.get_mut(conversation) {
            Some(offsets) => offsets.push(offset),
            None => drop(self.conversations.insert(conversation.clone(), vec![offset])),
        }
        if let Some(identity) = identity {
            self.identities.entry(super::hash(identity)).or_default().push(offset);
        }
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

    /// The offsets of a conversation, ascending.
    pub(super) fn conversation(&self, name: &str) -> Vec<Offset> {
        self.sets().filter_map(|set| set.conversations.get(name)).flatten().copied().collect()
    }

    /// Every conversation in here with its number of records, first and last offset.
    pub(super) fn summaries(&self) -> HashMap<CompactString, (u64, Offset, Offset)> {
        let mut found: HashMap<CompactString, (u64, Offset, Offset)> = HashMap::new();
        for (name, offsets) in self.sets().flat_map(|set| &set.conversations) {
            let (Some(&first), Some(&last)) = (offsets.first(), offsets.last()) else { continue };
            let entry = found.entry(name.clone()).or_insert((0, first, last));
            entry.0 += offsets.len() as u64;
            entry.2 = last;
        }
        found
    }
}
