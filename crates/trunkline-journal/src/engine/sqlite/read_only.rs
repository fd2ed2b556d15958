//! The journal as another process sees it: read-only, whether a server runs or not.

use std::path::Path;
use std::sync::Arc;

use trunkline_core::{Event, JournalId, Offset, Timestamp};

use super::lock::Lock;
use super::read::{self, Connections};
use super::row::Found;
use super::verify::{self, Verification};
use super::{dead_letters, index, schema, subscriptions};
use crate::engine::Record;
use crate::{By, Chunk, ConversationSummary, DeadLetter, DeadLetterId, Limits, OpenError, ReadError, Stats, StoredSubscription};

/// A journal open for reading only. Its calls block.
#[derive(Debug)]
pub struct ReadOnlyJournal {
    connections: Connections,
}

impl ReadOnlyJournal {
    /// Opens the journal in `directory`. One of an older layout is read as it is.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("journal.db");
        if !path.exists() {
            return Err(OpenError::Missing { place: directory.display().to_string() });
        }
        let index = directory.join("index.db");
        if !index.exists() {
            return Err(OpenError::at(&index, &"it is missing; the next `trunkline serve` makes it again from the journal"));
        }
        let connections = Connections::open(directory).map_err(|error| OpenError::at(&path, &error))?;
        schema::see_as_newest(&connections.events, directory)?;
        index::file::see_as_newest(&connections.index).map_err(|error| OpenError::at(&index, &error))?;
        Ok(Self { connections })
    }

    /// Whether a process has the journal open for writing now.
    pub fn is_in_use(directory: &Path) -> bool {
        Lock::is_held(directory)
    }

    /// The identity of the journal.
    pub fn id(&self) -> JournalId {
        self.connections.journal
    }

    /// The offset of the newest durable event; 0 when there is none.
    pub fn head(&self) -> Result<Offset, ReadError> {
        Ok(read::head(&self.connections.events)?)
    }

    /// The events from `from` on, as many as `limits` allow.
    pub fn read(&self, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let head = self.head()?;
        if from > head {
            return Ok(Chunk { next: from, ..Chunk::default() });
        }
        Ok(self.connections.range(from.max(1), head, limits)?)
    }

    /// The events of somebody from offset `from` on, as many as `limits` allow, in the order of the journal. What the index has not
    /// seen yet is searched for in the journal.
    pub fn read_by(&self, by: By<'_>, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let Connections { index, .. } = &self.connections;
        let indexed_to = index::file::indexed_to(index)?;
        let offsets = index::file::named(index, by, from, limits.events)?;
        let (mut chunk, looked_at) = self.connections.at(&offsets, limits.bytes)?;
        chunk.next = offsets.get(..looked_at).and_then(<[_]>::last).map_or(from, |last| last + 1);
        if looked_at < offsets.len() || offsets.len() == limits.events {
            // The index has more of it, perhaps.
            return Ok(chunk);
        }
        let head = self.head()?;
        chunk.next = chunk.next.max(indexed_to + 1);
        while chunk.next <= head && chunk.events.len() < limits.events {
            let newer = self.connections.range(chunk.next, head, Limits::default())?;
            chunk.next = newer.next;
            chunk.damaged.extend(newer.damaged);
            chunk.events.extend(newer.events.into_iter().filter(|event| by.has(event)));
        }
        if chunk.events.len() > limits.events {
            chunk.events.truncate(limits.events);
            chunk.next = chunk.events.last().map_or(chunk.next, |last| last.offset + 1);
        }
        Ok(chunk)
    }

    /// The first offset that was appended at `time` or later; one more than the newest when there is none.
    pub fn offset_at(&self, time: Timestamp) -> Result<Offset, ReadError> {
        Ok(read::offset_at(&self.connections.events, time)?)
    }

    /// The conversations, those with the newest events first, as far as the index has seen them (about a second behind).
    pub fn conversations(&self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        Ok(index::file::conversations(&self.connections.index, most)?)
    }

    /// One event; `None` when there is none at this offset, or it is damaged.
    pub fn event(&self, offset: Offset) -> Result<Option<Arc<Event>>, ReadError> {
        Ok(match self.connections.get(offset)? {
            Some(Found::Event(Record { event, .. })) => Some(event),
            _ => None,
        })
    }

    /// All subscriptions that were ever stored.
    pub fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        Ok(subscriptions::load(&self.connections.events)?)
    }

    /// The dead letters of a subscription, or of all, oldest first.
    pub fn dead_letters(&self, subscription: Option<&str>) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(dead_letters::list(&self.connections.events, self.id(), subscription, usize::MAX)?)
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> Result<u64, ReadError> {
        Ok(dead_letters::count(&self.connections.events)?)
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: &DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        Ok(dead_letters::get(&self.connections.events, self.id(), id)?)
    }

    /// The journal in figures.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        Ok(self.connections.stats()?)
    }

    /// Reads everything and checks it. `progress` is called now and then with the offset reached and the newest.
    pub fn verify(&self, progress: &mut dyn FnMut(Offset, Offset)) -> Result<Verification, ReadError> {
        Ok(verify::verify(&self.connections, progress)?)
    }
}
