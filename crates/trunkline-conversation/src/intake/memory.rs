//! What is known of conversations, so that not every event has to be looked up in the journal.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compact_str::CompactString;
use lru::LruCache;
use trunkline_core::{Offset, Timestamp};
use trunkline_journal::{Journal, Limits, ReadError};

/// So many conversations are remembered; the others are looked up.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// How far back the last message, and the last event that names a channel, are searched for.
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

/// The conversations that were appended to lately. True as long as all appends of a conversation go through here.
#[derive(Debug)]
pub(super) struct Memory(Mutex<LruCache<CompactString, Known>>);

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(REMEMBERED)))
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, LruCache<CompactString, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a conversation; `None` when that is nothing.
    pub(super) fn recall(&self, conversation: &str) -> Option<Known> {
        self.lock().get(conversation).cloned()
    }

    /// Remembers in advance what will be known of a conversation when what is about to be appended is recorded; `None` when that is
    /// nothing. Those that are appended behind it see it already.
    pub(super) fn foresee(&self, conversation: String, known: Option<Known>) -> Foresight<'_> {
        if let Some(known) = known {
            let mut memory = self.lock();
            match memory.get_mut(conversation.as_str()) {
                Some(place) => *place = known,
                None => drop(memory.put(conversation.as_str().into(), known)),
            }
        }
        Foresight { memory: self, conversation: Some(conversation) }
    }
}

/// What was remembered in advance. Unless it came true, it is forgotten, and the journal is asked the next time: the append failed, it
/// was known already, or whoever waited for it went away.
pub(super) struct Foresight<'m> {
    memory: &'m Memory,
    conversation: Option<String>,
}

impl Foresight<'_> {
    pub(super) fn came_true(mut self) {
        self.conversation = None;
    }
}

impl Drop for Foresight<'_> {
    fn drop(&mut self) {
        if let Some(conversation) = &self.conversation {
            self.memory.lock().pop(conversation.as_str());
        }
    }
}

/// What the journal tells of a conversation; `None` when it has no event.
pub(super) async fn look_up(journal: &Journal, conversation: &str) -> Result<Option<Known>, ReadError> {
    let (mut known, mut is_there) = (Known::default(), false);
    let (mut before, mut searched) = (Offset::MAX >> 1, 0);
    let mut page = PAGES[0];
    while before > 0 && searched < SEARCHED {
        let limits = Limits { events: page.min(SEARCHED - searched), ..Limits::default() };
        let chunk = journal.conversation_back(conversation, before, limits).await?;
        is_there |= !chunk.events.is_empty() || !chunk.damaged.is_empty();
        for event in &chunk.events {
            if known.channel.is_none() {
                known.channel.clone_from(&event.channel);
            }
            if known.last_message.is_none() && event.event_type == "user" {
                known.last_message = Some(event.time);
            }
        }
        if known.channel.is_some() && known.last_message.is_some() {
            break;
        }
        searched += limits.events;
        (before, page) = (chunk.next, PAGES[1]);
    }
    Ok(is_there.then_some(known))
}
