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

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, NewEvent, Timestamp};

    use super::*;

    /// An event whose body has `bytes`.
    fn event(offset: Offset, bytes: usize) -> Arc<Event> {
        let new = NewEvent::parse(br#"{"sender_id": "a", "event": "restart"}"#, None, 1.0).unwrap();
        let new = NewEvent { body: vec![b' '; bytes].into(), ..new };
        Arc::new(new.recorded(JournalId::random(), Timestamp(1), offset))
    }

    fn offsets(recent: &Recent, from: Offset, limits: Limits) -> Option<Vec<Offset>> {
        Some(recent.read(from, limits)?.iter().map(|event| event.offset).collect())
    }

    #[test]
    fn as_many_are_read_as_the_limits_allow_and_one_at_the_least() {
        let recent = Recent::new(1 << 20);
        assert_eq!(offsets(&recent, 1, Limits::default()), None);
        recent.extend((5..9).map(|offset| event(offset, 100)));
        let read = |from: Offset, events: usize, bytes: usize| offsets(&recent, from, Limits { events, bytes });
        assert_eq!(read(5, 9, 1_000), Some(vec![5, 6, 7, 8]));
        assert_eq!(read(6, 2, 1_000), Some(vec![6, 7]));
        assert_eq!((read(5, 9, 299), read(5, 9, 300)), (Some(vec![5, 6]), Some(vec![5, 6, 7])));
        assert_eq!(read(8, 9, 1), Some(vec![8]));
        assert_eq!((read(9, 9, 9), read(4, 9, 9)), (Some(vec![]), None));
        assert_eq!(recent.get(7).map(|event| event.offset), Some(7));
        assert!(recent.get(4).is_none() && recent.get(9).is_none());
    }

    #[test]
    fn the_oldest_go_when_they_weigh_too_much_and_all_go_at_a_gap() {
        let recent = Recent::new(3 * (100 + OVERHEAD));
        let all = || offsets(&recent, recent.events.read().unwrap().events.front().unwrap().offset, Limits::default()).unwrap();
        recent.extend((1..4).map(|offset| event(offset, 100)));
        assert_eq!(all(), [1, 2, 3]);
        recent.extend([event(4, 101)].into_iter());
        assert_eq!(all(), [3, 4]);
        recent.extend([event(5, 1)].into_iter());
        assert_eq!(all(), [3, 4, 5]);
        recent.extend([event(7, 1)].into_iter());
        assert_eq!(all(), [7]);
    }
}
