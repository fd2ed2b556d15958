//! A batch on its way to another thread.

use std::sync::Arc;

use trunkline_core::{Batch, CursorKey, Event, Offset};

/// What a [`Batch`] says, owned.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) cursor: CursorKey,
    pub(crate) next: Option<Offset>,
    is_export: bool,
}

impl Job {
    /// The cursor that goes past a replayed event when it stands at that very event: it does when the event was refused and none
    /// came after it, and once the event is there, a restart must not bring it again.
    pub(crate) fn passes(&self) -> Option<&CursorKey> {
        (self.next.is_none() && !self.is_export).then_some(&self.cursor)
    }
}

impl From<&Batch> for Job {
    fn from(batch: &Batch) -> Self {
        Self { events: batch.events.clone(), cursor: batch.cursor.clone(), next: batch.next, is_export: batch.export.is_some() }
    }
}

/// The cursor that this process itself has stored last.
///
/// A call that its caller gave up may still have done its work. When the same events come again, those below this cursor
/// are there already. What an earlier process stored does not count here: that is what `Broker::position` answers, and a
/// caller that knowingly starts before it, with a journal restored from a backup, must not have its events swallowed.
#[derive(Debug, Default)]
pub(crate) struct Stored(Option<(CursorKey, Offset)>);

impl Stored {
    /// How many events at the head of `job` are there already.
    pub(crate) fn events_already_there(&self, job: &Job) -> usize {
        match &self.0 {
            Some((cursor, next)) if job.next.is_some() && *cursor == job.cursor => {
                job.events.iter().take_while(|event| event.offset < *next).count()
            }
            _ => 0,
        }
    }

    /// Remembers that the cursor of `job` was moved to `next`; a replay moves nothing.
    pub(crate) fn advance(&mut self, job: &Job, next: Option<Offset>) {
        if let Some(next) = next {
            match &mut self.0 {
                Some((cursor, stored)) if *cursor == job.cursor => *stored = next.max(*stored),
                other => *other = Some((job.cursor.clone(), next)),
            }
        }
    }
}
