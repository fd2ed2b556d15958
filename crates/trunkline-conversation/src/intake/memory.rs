//! What is known of conversations, so that not every event has to be looked up in the journal.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compact_str::CompactString;
use lru::LruCache;
use trunkline_core::{Offset, Timestamp};
use trunkline_journal::{Journal, Limits, ReadError};

/// So many conversations are remembered; the others are looked up.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// How far back the last message, and the last event that names a channel, are searched for, in events.
const SEARCHED: usize = 1_000;
/// How much of that is read at once, first and later. Mostly one of the last few events tells all.
const PAGES: [usize; 2] = [16, 128];

/// A conversation that has events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// When its last user message was recorded, if it has one.
    pub(super) last_message: Option<Timestamp>,
    /// The channel that it went through last, if it has one.
    pub(super) channel: Option<CompactString>,
}

/// The conversations that were appended to lately. Whoever appends to one takes out what is known of it, and puts it back when the
/// append is recorded; after one that failed nothing is known, and the journal is asked.
///
/// What is taken out leaves an empty place, so that putting it back moves no memory.
#[derive(Debug)]
pub(super) struct Memory(Mutex<LruCache<CompactString, Option<Known>>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, LruCache<CompactString, Option<Known>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a conversation, which is forgotten now.
    pub(super) fn take(&self, conversation: &str) -> Option<Known> {
        self.lock().get_mut(conversation)?.take()
    }

    pub(super) fn remember(&self, conversation: CompactString, known: Known) {
        self.lock().put(conversation, Some(known));
    }
}

/// What the journal tells of a conversation; `None` when it has no event.
pub(super) async fn look_up(journal: &Journal, conversation: &str) -> Result<Option<Known>, ReadError> {
    let (mut known, mut is_there, mut oldest) = (Known::default(), false, None);
    let (mut before, mut searched) = (Offset::MAX >> 1, 0);
    let mut page = PAGES[0];
    while before > 0 && searched < SEARCHED {
        let limits = Limits { events: page.min(SEARCHED - searched), ..Limits::default() };
        let chunk = journal.conversation_back(conversation, before, limits).await?;
        is_there |= !chunk.events.is_empty() || !chunk.damaged.is_empty();
        oldest = chunk.events.last().map(|event| event.time).or(oldest);
        for event in &chunk.events {
            if known.channel.is_none() {
                known.channel.clone_from(&event.channel);
            }
            if known.last_message.is_none() && event.event_type == "user" {
                known.last_message = Some(event.time);
            }
        }
        if known.channel.is_some() && known.last_message.is_some() {
            return Ok(Some(known));
        }
        searched += limits.events;
        (before, page) = (chunk.next, PAGES[1]);
    }
    if before > 0 {
        // Whether it has a message nobody knows; if so, that is older than this.
        known.last_message = known.last_message.or(oldest);
    }
    Ok(is_there.then_some(known))
}
