//! The newest events, shared, so that a reader that keeps up never touches the disk.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use trunkline_core::{Event, Offset};

use crate::Limits;

/// What an event weighs beside its body.
const OVERHEAD: usize = std::mem::size_of::<Event>() + 64;

/// A run of events without a gap, ending with the newest; bounded in bytes.
#[derive(Debug)]
pub(crate) struct Recent {
    limit: usize,
    events: RwLock<Run>,
}

#[derive(Debug, Default)]
struct Run {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

impl Recent {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, events: RwLock::default() }
    }

    /// Adds the events of a commit and lets the oldest go.
    pub(crate) fn extend(&self, events: impl Iterator<Item = Arc<Event>>) {
        let mut run = self.events.write().unwrap_or_else(PoisonError::into_inner);
        for event in events {
            if run.events.back().is_some_and(|last| last.offset + 1 != event.offset) {
                *run = Run::default();
            }
            run.bytes += event.body.len() + OVERHEAD;
            run.events.push_back(event);
        }
        while run.bytes > self.limit {
            let Some(oldest) = run.events.pop_front() else { break };
            run.bytes -= oldest.body.len() + OVERHEAD;
        }
    }

    /// The events from `from` on; `None` when they are not all here.
    pub(crate) fn read(&self, from: Offset, limits: Limits) -> Option<Vec<Arc<Event>>> {
        let run = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let first = run.events.front()?.offset;
        let skip = usize::try_from(from.checked_sub(first)?).ok()?;
        let mut bytes = 0;
        let within = |event: &&Arc<Event>| {
            let fits = bytes == 0 || bytes + event.body.len() <= limits.bytes;
            bytes += event.body.len();
            fits
        };
        Some(run.events.range(skip.min(run.events.len())..).take(limits.events).take_while(within).cloned().collect())
    }

    /// One event, when it is here.
    pub(crate) fn get(&self, offset: Offset) -> Option<Arc<Event>> {
        let run = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(offset.checked_sub(run.events.front()?.offset)?).ok()?;
        run.events.get(index).cloned()
    }
}
