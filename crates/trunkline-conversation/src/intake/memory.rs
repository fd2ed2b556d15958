//! What is known of conversations, so that not every event has to be looked up in the journal.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use compact_str::CompactString;
use lru::LruCache;
use trunkline_core::{Offset, Timestamp};
use trunkline_journal::{Journal, Limits, ReadError};

/// So many conversations are remembered; the others are looked up.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// So many bytes of names at the most.
const MOST_BYTES: usize = 4 << 20;
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
pub(super) struct Memory(Mutex<Remembered>);

#[derive(Debug)]
struct Remembered {
    conversations: LruCache<CompactString, Option<Known>>,
    /// Of their names, and those of their channels.
    bytes: usize,
}

impl Default for Memory {
    fn default() -> Self {
        Self(Mutex::new(Remembered { conversations: LruCache::new(REMEMBERED), bytes: 0 }))
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a conversation, which is forgotten now.
    pub(super) fn take(&self, conversation: &str) -> Option<Known> {
        let mut remembered = self.lock();
        let known = remembered.conversations.get_mut(conversation)?.take()?;
        remembered.bytes -= known.bytes();
        Some(known)
    }

    pub(super) fn remember(&self, conversation: CompactString, known: Known) {
        self.lock().put(conversation, known);
    }
}

impl Remembered {
    fn put(&mut self, conversation: CompactString, known: Known) {
        self.bytes += conversation.len() + known.bytes();
        // What had its place, or the oldest when there are too many.
        if let Some(gone) = self.conversations.push(conversation, Some(known)) {
            self.uncount(&gone);
        }
        while self.bytes > MOST_BYTES
            && let Some(gone) = self.conversations.pop_lru()
        {
            self.uncount(&gone);
        }
    }

    fn uncount(&mut self, (conversation, known): &(CompactString, Option<Known>)) {
        self.bytes -= conversation.len() + known.as_ref().map_or(0, Known::bytes);
    }
}

impl Known {
    fn bytes(&self) -> usize {
        self.channel.as_ref().map_or(0, CompactString::len)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// How many conversations it holds, and their bytes.
    fn held(memory: &Memory) -> (usize, usize) {
        let remembered = memory.lock();
        (remembered.conversations.len(), remembered.bytes)
    }

    fn known(channel: &str) -> Known {
        Known { channel: Some(channel.into()), ..Known::default() }
    }

    #[test]
    fn what_is_taken_out_is_forgotten_until_it_is_put_back() {
        let memory = Memory::default();
        memory.remember("ann".into(), known("rest"));
        assert_eq!((memory.take("ann"), memory.take("ann"), memory.take("bob")), (Some(known("rest")), None, None));
        memory.remember("ann".into(), known("kiosk"));
        assert_eq!((memory.take("ann"), held(&memory)), (Some(known("kiosk")), (1, "ann".len())));
    }

    #[test]
    fn the_oldest_go_when_all_names_take_too_many_bytes() {
        let memory = Memory::default();
        let name = |number: usize| CompactString::from(format!("{number:01020}"));
        let most = MOST_BYTES / 2_040;
        for number in 0..most {
            memory.remember(name(number), known(&name(number)));
            // A name that is remembered again is counted once.
            memory.remember(name(number), known(&name(number)));
        }
        assert_eq!(held(&memory), (most, most * 2_040));
        memory.remember("one".into(), known(&"more".repeat(255)));
        assert_eq!(memory.take(&name(0)), None);
        assert!(memory.take(&name(1)).is_some() && memory.take("one").is_some());
        assert!(held(&memory).1 <= MOST_BYTES);
    }

    #[test]
    fn so_many_short_names_are_remembered_and_no_more() {
        let memory = Memory::default();
        for number in 0..=REMEMBERED.get() {
            memory.remember(CompactString::from(format!("{number:05}")), Known::default());
        }
        assert_eq!(held(&memory), (REMEMBERED.get(), REMEMBERED.get() * 5));
        assert_eq!((memory.take("00000"), memory.take("00001")), (None, Some(Known::default())));
    }
}
