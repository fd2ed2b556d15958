//! The words of Trunkline: [`Event`], [`UserMessage`], [`BotMessage`], [`Broker`], [`Source`], [`Assistant`], [`Inbox`],
//! [`Receiver`].
//!
//! Everything here is plain data and traits. Nothing opens a file or a socket, and nothing knows which journal, broker or
//! channel is in use; that is what lets each of them be tested alone.

mod assistant;
mod broker;
mod clock;
mod event;
mod id;
mod inbox;
pub mod json;
mod last_trouble;
pub mod limits;
mod message;
mod place;
mod receiver;
mod render;
pub mod shape;
mod source;
mod template;
mod topic_map;
pub mod tracker;

pub use assistant::{Assistant, AssistantError, Recording, Turn};
pub use broker::{Batch, Broker, CursorKey, EXPORT_HEADER, Outcome};
pub use clock::{Clock, Timestamp};
pub use event::{Event, EventError, Kind, NewEvent, check_channel, check_conversation};
pub use id::{EventId, JournalId, PartitionNumber};
pub use inbox::{Inbox, InboxError, Incoming, Replies};
pub use last_trouble::LastTrouble;
pub use message::{BotMessage, DEFAULT_SENDER, UserMessage};
pub use place::Place;
pub use receiver::Receiver;
pub use render::{CollectedMessage, Forms, Shown, render};
pub use shape::Shape;
pub use source::{Reader, Received, Source};
pub use template::{EVENT_NAMES, Template, TemplateError};
pub use topic_map::{PatternError, TopicMap};

/// The position of an event in the journal: 1 for the first event ever appended, strictly increasing, never reused.
pub type Offset = u64;
