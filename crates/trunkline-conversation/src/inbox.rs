//! What people write: recorded, and answered to whoever waits.

use std::borrow::Cow;

use async_trait::async_trait;
use tokio::sync::mpsc;
use trunkline_core::{
    Inbox, InboxError, Incoming, Kind, NewEvent, Offset, Recording, Replies, UserMessage, check_channel, check_conversation,
};
use trunkline_journal::ReadError;

use crate::intake::{Entry, Identity, Recorded, Route, SessionStart, Unrecorded};
use crate::partition::{Partition, Partitions};

#[async_trait]
impl Inbox for Partitions {
    async fn receive(&self, incoming: Incoming) -> Result<(), InboxError> {
        self.of(&incoming.message.sender_id).take(&incoming).await.map(drop)
    }

    async fn converse(&self, incoming: Incoming, stream: bool) -> Result<Replies, InboxError> {
        self.of(&incoming.message.sender_id).converse(&incoming, stream).await
    }
}

impl Partition {
    /// Records a message, with a session start where one is due.
    async fn take(&self, incoming: &Incoming) -> Result<Recorded, InboxError> {
        let Incoming { message, channel, key } = incoming;
        check_conversation(&message.sender_id)?;
        check_channel(message.input_channel.as_deref().unwrap_or_default())?;
        let (kind, session) = match self.recording {
            Recording::Assistant => (Kind::Prompt, SessionStart::Never),
            Recording::Gateway => (Kind::Message, SessionStart::WhenDue),
        };
        let identity = key.as_deref().map(|key| Identity::key(Route::Channel(channel), &message.sender_id, key));
        // Without a channel its answer would be carried to nobody.
        let mut message = Cow::Borrowed(message);
        if message.input_channel.is_none() {
            message.to_mut().input_channel = Some(channel.to_string());
        }
        let locked = self.intake.lock(&message.sender_id).await;
        let events = vec![NewEvent::user(&message, kind, locked.seconds())];
        locked.append(Entry { events, identity, session }).await.map_err(refused)
    }

    /// Records a message and waits for what is said to it.
    async fn converse(&self, incoming: &Incoming, stream: bool) -> Result<Replies, InboxError> {
        // Waiting begins before the message is appended: the answer may be quicker than we are.
        let wait = self.waiting.begin(&incoming.message.message_id, stream);
        match self.take(incoming).await? {
            Recorded::New { .. } => Ok(wait.turn_will_come()),
            Recorded::Known { last } => self.replies_to_earlier(&incoming.message.sender_id, last).await,
        }
    }

    /// The replies to an earlier message, once its turn is over.
    async fn replies_to_earlier(&self, conversation: &str, offset: Offset) -> Result<Replies, InboxError> {
        let first = self.journal.event(offset).await.map_err(|error| unreadable(&error))?;
        let Some(message) = first.and_then(|event| UserMessage::from_event(&event.body)) else {
            return Err(InboxError::Unavailable("the first message of this identity cannot be read".to_owned()));
        };
        // Waiting begins before looking, so that a turn that ends in between is not missed.
        let mut wait = self.waiting.begin(&message.message_id, false);
        let mut turn = self.turn_of(conversation, offset).await.map_err(|error| unreadable(&error))?;
        if turn.is_none() {
            wait.ended().await;
            turn = self.turn_of(conversation, offset).await.map_err(|error| unreadable(&error))?;
        }
        let Some(turn) = turn else {
            return Err(InboxError::Unavailable("the first message of this identity has no answer yet".to_owned()));
        };
        let said = self.said_in(conversation, turn).await.map_err(|error| unreadable(&error))?;
        let (sender, replies) = mpsc::unbounded_channel();
        for reply in said {
            let _ = sender.send(reply);
        }
        Ok(replies)
    }
}

fn refused(error: Unrecorded) -> InboxError {
    match error {
        Unrecorded::Refused(reason) => InboxError::Unavailable(reason),
        maybe @ Unrecorded::Maybe(_) => InboxError::MaybeRecorded(maybe.to_string()),
    }
}

fn unreadable(error: &ReadError) -> InboxError {
    InboxError::Unavailable(error.to_string())
}
