//! Recording what people write.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard, Semaphore, mpsc};
use trunkline_channels::{Inbox, InboxError, Replies};
use trunkline_core::{BotMessage, Event, Kind, NewEvent, Offset, Recording, UserMessage, check_conversation};
use trunkline_journal::{Append, Journal, Limits, ReadError, Unavailable};

use super::session::Sessions;
use super::{Channels, Turns, turn_identity};

/// So many trackers are put together at the same time.
const TRACKERS: usize = 4;
/// Conversations are recorded one append after another; different ones share a lock only by chance.
const LOCKS: usize = 1_024;

/// Records what people write, and what the API appends.
#[derive(Debug)]
pub(crate) struct Conversations {
    pub(super) journal: Journal,
    pub(super) sessions: Sessions,
    pub(super) channels: Arc<Channels>,
    recording: Recording,
    turns: Arc<Turns>,
    locks: Vec<Mutex<()>>,
    /// Bounds the memory that trackers take.
    pub(super) tracker_room: Semaphore,
}

impl Conversations {
    pub(crate) fn new(
        journal: Journal,
        channels: Arc<Channels>,
        recording: Recording,
        turns: Arc<Turns>,
        session_expiration: Duration,
    ) -> Self {
        let locks = (0..LOCKS).map(|_| Mutex::default()).collect();
        Self {
            journal,
            sessions: Sessions::new(session_expiration),
            channels,
            recording,
            turns,
            locks,
            tracker_room: Semaphore::new(TRACKERS),
        }
    }

    /// Held while the events of a conversation are looked at and more are appended because of it.
    pub(super) async fn lock(&self, conversation: &str) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        conversation.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or_default();
        self.locks[index].lock().await
    }

    /// Appends the message, with a session start where one is due. Answers its offset, and whether an earlier message had the
    /// same identity.
    async fn record(&self, message: &UserMessage, identity: Option<String>) -> Result<(Offset, bool), InboxError> {
        let (conversation, channel) = (message.sender_id.as_str(), message.input_channel.as_deref());
        let clock = self.journal.clock();
        let _lock = self.lock(conversation).await;
        let mut events = Vec::with_capacity(4);
        let kind = match self.recording {
            Recording::Assistant => Kind::Prompt,
            Recording::Gateway => {
                if self.sessions.starts(&self.journal, conversation, clock.now()).await.map_err(|error| unreadable(&error))? {
                    events.extend(NewEvent::session_start(conversation, channel, clock.seconds()));
                }
                Kind::Message
            }
        };
        events.push(NewEvent::user(message, kind, clock.seconds()));
        self.channels.fill_in(&mut events).await.map_err(|error| unreadable(&error))?;
        let appended = self.journal.append(Append { events, identity }).await.map_err(|error| unavailable(&error))?;
        if !appended.duplicate {
            self.sessions.recorded(conversation, Some(clock.now()));
        }
        Ok((appended.last, appended.duplicate))
    }

    /// The replies to an earlier message, once its turn is over.
    async fn replies_to(&self, offset: Offset) -> Result<Replies, InboxError> {
        let first = self.journal.event(offset).await.map_err(|error| unreadable(&error))?;
        let Some(message) = first.and_then(|event| UserMessage::from_event(&event.body)) else {
            return Err(InboxError::Unavailable("the first message of this identity cannot be read".to_owned()));
        };
        // Waiting begins before looking, so that a turn that ends in between is not missed.
        let mut rest = self.turns.wait(&message.message_id, false);
        let mut end = self.journal.find(&turn_identity(offset)).await.map_err(|error| unreadable(&error))?;
        if end.is_some() {
            self.turns.finish(&message.message_id);
        } else {
            while rest.recv().await.is_some() {}
            end = self.journal.find(&turn_identity(offset)).await.map_err(|error| unreadable(&error))?;
        }
        let Some(end) = end else {
            return Err(InboxError::Unavailable("the first message of this identity has no answer yet".to_owned()));
        };
        let said = self.said_between(&message.sender_id, offset, end).await.map_err(|error| unreadable(&error))?;
        let (sender, replies) = mpsc::unbounded_channel();
        for reply in said {
            let _ = sender.send(reply);
        }
        Ok(replies)
    }

    /// What was said in the turn that the event at `end` ended: everything since the end of the turn before.
    async fn said_between(&self, conversation: &str, from: Offset, end: Offset) -> Result<Vec<BotMessage>, ReadError> {
        let (mut said, mut next) = (Vec::new(), from + 1);
        while next <= end {
            let chunk = self.journal.conversation(conversation, next, Limits::default()).await?;
            for event in chunk.events.iter().filter(|event| event.offset <= end) {
                if event.event_type == "bot" {
                    said.extend(BotMessage::from_event(&event.body));
                } else if event.offset < end && is_listen(event) {
                    said.clear();
                }
            }
            if chunk.next <= next {
                break;
            }
            next = chunk.next;
        }
        Ok(said)
    }
}

#[async_trait]
impl Inbox for Conversations {
    async fn receive(&self, message: UserMessage, identity: Option<String>, stream: bool) -> Result<Replies, InboxError> {
        check_conversation(&message.sender_id).map_err(|error| InboxError::Invalid(error.to_string()))?;
        // Waiting begins before the message is appended: the answer may be quicker than we are.
        let (replies, waiting) = (self.turns.wait(&message.message_id, stream), Waiting::for_turn(&self.turns, &message));
        let (offset, is_known) = self.record(&message, identity).await?;
        if is_known {
            return self.replies_to(offset).await;
        }
        waiting.until_it_ends();
        Ok(replies)
    }
}

/// Ends the waiting for a turn that will not come: the message was not recorded, or the request went away before.
struct Waiting<'a> {
    turns: &'a Turns,
    message_id: Option<String>,
}

impl<'a> Waiting<'a> {
    fn for_turn(turns: &'a Turns, message: &UserMessage) -> Self {
        Self { turns, message_id: Some(message.message_id.clone()) }
    }

    /// The turn will come, and end the waiting.
    fn until_it_ends(mut self) {
        self.message_id = None;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(message_id) = &self.message_id {
            self.turns.finish(message_id);
        }
    }
}

fn is_listen(event: &Event) -> bool {
    event.action_name().as_deref() == Some("action_listen")
}

fn unavailable(error: &Unavailable) -> InboxError {
    InboxError::Unavailable(error.to_string())
}

fn unreadable(error: &ReadError) -> InboxError {
    InboxError::Unavailable(error.to_string())
}
