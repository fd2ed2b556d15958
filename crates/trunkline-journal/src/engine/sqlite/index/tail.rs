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

/// Entries on their way into the file.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// How many records are in here.
    pub(super) records: usize,
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
        }
    }

    fn add_name(&mut self, by: By<'_>, offset: Offset) {
        let (kind, name) = numbered(by);
        match self.names[kind].get_mut(name) {
            Some(offsets) => offsets.push(offset),
            None => drop(self.names[kind].insert(name.into(), vec![offset])),
        }
    }

    /// Both sets in one; `newer` begins behind this one.
    pub(super) fn joined(&self, newer: &Self) -> Self {
        let records = self.records + newer.records;
        let mut all = Self { records, last: newer.last.max(self.last), ..Self::default() };
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
