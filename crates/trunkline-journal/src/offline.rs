//! The journal as another process sees it: read-only, whether a server runs or not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline_core::{Event, JournalId, Offset, Timestamp};

use crate::lock::Lock;
use crate::read::{self, Reader};
use crate::row::Found;
use crate::subscription::{self, StoredSubscription};
use crate::verify::{self, Verification};
use crate::{Chunk, ConversationSummary, DeadLetter, Limits, OpenError, ReadError, Stats, dead_letter, index};

/// A journal open for reading only. Its calls block.
#[derive(Debug)]
pub struct OfflineJournal {
    directory: PathBuf,
    reader: Reader,
}

impl OfflineJournal {
    /// Opens the journal in `directory`.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        if !directory.join("journal.db").exists() {
            return Err(OpenError::Missing { directory: directory.to_owned() });
        }
        let database_error = |source| OpenError::Database { path: directory.join("journal.db"), source };
        let reader = Reader::open(directory).map_err(database_error)?;
        Ok(Self { directory: directory.to_owned(), reader })
    }

    /// Whether a process has the journal open for writing now.
    pub fn is_in_use(directory: &Path) -> bool {
        Lock::is_held(directory)
    }

    /// The identity of the journal.
    pub fn id(&self) -> JournalId {
        self.reader.journal
    }

    /// The directory it lies in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The offset of the newest durable event; 0 when there is none.
    pub fn head(&self) -> Result<Offset, ReadError> {
        Ok(read::head(&self.reader.events)?)
    }

    /// The events from `from` on, as many as `limits` allow.
    pub fn read(&self, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let head = self.head()?;
        if from > head {
            return Ok(Chunk { next: from, ..Chunk::default() });
        }
        Ok(self.reader.range(from.max(1), head, limits)?)
    }

    /// The events of a conversation from offset `from` on, as many as `limits` allow, in the order of the journal. What the index has not seen yet
    /// is searched for in the journal.
    pub fn conversation(&self, name: &str, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let indexed_to = index::file::indexed_to(&self.reader.index)?;
        let offsets = index::file::conversation(&self.reader.index, name, from, limits.events)?;
        let mut chunk = self.reader.at(&offsets, limits.bytes)?;
        chunk.next = chunk.next.max(from);
        if offsets.len() == limits.events || offsets.last().is_some_and(|last| *last >= chunk.next) {
            // The index has more of it, perhaps.
            return Ok(chunk);
        }
        let head = self.head()?;
        chunk.next = chunk.next.max(indexed_to + 1);
        while chunk.next <= head && chunk.events.len() < limits.events {
            let newer = self.reader.range(chunk.next, head, Limits::default())?;
            chunk.next = newer.next;
            chunk.damaged.extend(newer.damaged);
            chunk.events.extend(newer.events.into_iter().filter(|event| event.conversation == name));
        }
        if chunk.events.len() > limits.events {
            chunk.events.truncate(limits.events);
            chunk.next = chunk.events.last().map_or(chunk.next, |last| last.offset + 1);
        }
        Ok(chunk)
    }

    /// The first offset that was appended at `time` or later; one more than the newest when there is none.
    pub fn offset_at(&self, time: Timestamp) -> Result<Offset, ReadError> {
        Ok(self.reader.offset_at(time)?)
    }

    /// The conversations, those with the newest events first, as far as the index has seen them (about a second behind).
    pub fn conversations(&self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        Ok(index::file::conversations(&self.reader.index, most)?)
    }

    /// One event; `None` when there is none at this offset, or it is damaged.
    pub fn event(&self, offset: Offset) -> Result<Option<Arc<Event>>, ReadError> {
        Ok(match self.reader.get(offset)? {
            Some(Found::Event(event, _)) => Some(event),
            _ => None,
        })
    }

    /// All subscriptions that were ever stored.
    pub fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        Ok(subscription::load(&self.reader.events)?)
    }

    /// The dead letters of a subscription, or of all, oldest first.
    pub fn dead_letters(&self, subscription: Option<&str>) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(dead_letter::list(&self.reader.events, self.id(), subscription, usize::MAX)?)
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> Result<u64, ReadError> {
        Ok(dead_letter::count(&self.reader.events)?)
    }

    /// One dead letter.
    pub fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, ReadError> {
        Ok(dead_letter::get(&self.reader.events, self.id(), number)?)
    }

    /// The journal in figures.
    pub fn stats(&self) -> Result<Stats, ReadError> {
        Ok(self.reader.stats()?)
    }

    /// Reads everything and checks it. `progress` is called now and then with the offset reached and the newest.
    pub fn verify(&self, progress: &mut dyn FnMut(Offset, Offset)) -> Result<Verification, ReadError> {
        Ok(verify::verify(&self.reader, progress)?)
    }
}
