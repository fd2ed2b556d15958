//! The past of the journal.

use std::sync::Arc;

use trunkline_core::{Event, Offset};
use trunkline_journal::{By, Chunk, Limits, ReadOnlyJournal};

use super::history::Past;
use super::state::Position;

/// The journal up to a fixed offset: all of it, or some conversations one after another.
pub(super) struct JournalHistory<'j> {
    journal: &'j ReadOnlyJournal,
    conversations: Option<Vec<String>>,
    end: Offset,
    position: Position,
}

impl<'j> JournalHistory<'j> {
    pub(super) fn new(journal: &'j ReadOnlyJournal, conversations: Option<Vec<String>>, end: Offset, position: Position) -> Self {
        let first = conversations.as_ref().and_then(|conversations| conversations.first().cloned());
        let conversation = position.conversation.or(first);
        Self { journal, conversations, end: end.max(1), position: Position { conversation, next: position.next.max(1) } }
    }

    pub(super) fn page(&mut self) -> Result<Option<Vec<Past>>, String> {
        let Position { conversation, next } = &self.position;
        let (conversation, from) = (conversation.clone(), *next);
        if from >= self.end {
            return Ok(self.turn().then(Vec::new));
        }
        let chunk = match &conversation {
            Some(name) => self.journal.read_by(By::Conversation(name), from, Limits::default()),
            None => self.journal.read(from, Limits::default()),
        };
        let Chunk { events, damaged, next } = chunk.map_err(|error| error.to_string())?;
        // What does not go on has come to its end.
        self.position.next = if next > from { next } else { self.end };
        let events = events.into_iter().map(|event| (event.offset, Ok(event)));
        let left_out = |offset| format!("the record at offset {offset} is damaged and left out");
        let damaged = damaged.into_iter().map(|offset| (offset, Err(left_out(offset))));
        let mut all: Vec<(Offset, Result<Arc<Event>, String>)> = events.chain(damaged).collect();
        all.retain(|(offset, _)| *offset < self.end);
        all.sort_by_key(|(offset, _)| *offset);
        let behind = |offset| Position { conversation: conversation.clone(), next: offset + 1 };
        Ok(Some(all.into_iter().map(|(offset, event)| Past { event, next: behind(offset) }).collect()))
    }

    /// Goes on with the next conversation; `false` when there is none.
    fn turn(&mut self) -> bool {
        let following = self.index().and_then(|index| self.conversations.as_ref()?.get(index + 1).cloned());
        let is_there = following.is_some();
        if is_there {
            self.position = Position { conversation: following, next: 1 };
        }
        is_there
    }

    /// The place of the conversation that is being read.
    fn index(&self) -> Option<usize> {
        let current = self.position.conversation.as_ref()?;
        self.conversations.as_ref()?.iter().position(|name| name == current)
    }

    pub(super) fn progress(&self) -> (u64, u64) {
        match (self.index(), &self.conversations) {
            (Some(index), Some(conversations)) => (index as u64, conversations.len() as u64),
            _ => (self.position.next.min(self.end) - 1, self.end - 1),
        }
    }
}
