//! Turns on record: whether a message is answered, and what was said to it.

use trunkline_core::{BotMessage, Offset};
use trunkline_journal::{By, Limits, ReadError};

use crate::intake::Identity;
use crate::partition::Partition;

/// A turn that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndedTurn {
    /// The message that it answers: of several, the last.
    pub(crate) message: Offset,
    /// Where its last event stands.
    pub(crate) end: Offset,
}

impl Partition {
    /// The turn that answered the message at `message`; `None` while there is none.
    pub(crate) async fn turn_of(&self, conversation: &str, message: Offset) -> Result<Option<EndedTurn>, ReadError> {
        let end = self.journal.find(conversation, Identity::turn(message).as_str()).await?;
        Ok(end.map(|end| EndedTurn { message, end }))
    }

    /// Whether a reply to the message at `message` was recorded on its own.
    pub(crate) async fn is_begun(&self, conversation: &str, message: Offset) -> Result<bool, ReadError> {
        Ok(self.journal.find(conversation, Identity::said(message, 0).as_str()).await?.is_some())
    }

    /// What was said in a turn, in order.
    pub(crate) async fn said_in(&self, conversation: &str, turn: EndedTurn) -> Result<Vec<BotMessage>, ReadError> {
        let (mut said, mut next) = (Vec::new(), turn.message + 1);
        let is_linked = turn.end > self.journal.layout_2_to();
        while next <= turn.end {
            let chunk = self.journal.read_by(By::Conversation(conversation), next, Limits::default()).await?;
            for event in chunk.events.iter().filter(|event| event.offset <= turn.end) {
                let is_answer = event.answers == Some(turn.message) || !is_linked;
                if is_answer && event.event_type == "bot" {
                    said.extend(BotMessage::from_event(event));
                }
                // A program of layout 2 did not say what an answer answers: it is everything since the end of the turn before.
                if !is_linked && event.offset < turn.end && event.action_name().as_deref() == Some("action_listen") {
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
