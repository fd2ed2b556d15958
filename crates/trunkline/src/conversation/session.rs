//! When a session starts: with the first event of a conversation, and again after a silence.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use compact_str::CompactString;
use lru::LruCache;
use trunkline_core::Timestamp;
use trunkline_journal::{Journal, ReadError};

/// So many conversations are remembered; the others are looked up in the journal.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// How far back the last message of a conversation is searched for.
const SEARCHED: usize = 1_000;

/// What is known of the sessions of conversations.
#[derive(Debug)]
pub(crate) struct Sessions {
    expiration: Duration,
    known: Mutex<LruCache<CompactString, Session>>,
}

/// A conversation that has events.
#[derive(Clone, Copy, Debug)]
struct Session {
    /// When its last user message was recorded, if it has one.
    last_message: Option<Timestamp>,
}

impl Sessions {
    /// Sessions end so long after the last user message; zero: never.
    pub(crate) fn new(expiration: Duration) -> Self {
        Self { expiration, known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Whether the conversation has no event yet.
    pub(crate) async fn is_new(&self, journal: &Journal, conversation: &str) -> Result<bool, ReadError> {
        Ok(self.session(journal, conversation).await?.is_none())
    }

    /// Whether a message recorded `now` starts a session: in a new conversation, and when the last message is too long ago.
    pub(crate) async fn starts(&self, journal: &Journal, conversation: &str, now: Timestamp) -> Result<bool, ReadError> {
        Ok(match self.session(journal, conversation).await? {
            None => true,
            Some(Session { last_message: Some(last) }) => !self.expiration.is_zero() && now.since(last) > self.expiration,
            Some(Session { last_message: None }) => false,
        })
    }

    /// Remembers what was recorded.
    pub(crate) fn recorded(&self, conversation: &str, message_at: Option<Timestamp>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(conversation) {
            Some(session) => session.last_message = message_at.or(session.last_message),
            None if message_at.is_some() => drop(known.put(conversation.into(), Session { last_message: message_at })),
            // Without a message only the journal knows whether there was one before.
            None => {}
        }
    }

    async fn session(&self, journal: &Journal, conversation: &str) -> Result<Option<Session>, ReadError> {
        if let Some(session) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(conversation) {
            return Ok(Some(*session));
        }
        let message = journal.last_of_conversation(conversation, SEARCHED, |event, _| event.event_type == "user").await?;
        let last_message = message.map(|(event, _)| event.time);
        if last_message.is_none() && journal.last_of_conversation(conversation, 1, |_, _| true).await?.is_none() {
            return Ok(None);
        }
        let session = Session { last_message };
        self.known.lock().unwrap_or_else(PoisonError::into_inner).put(conversation.into(), session);
        Ok(Some(session))
    }
}
