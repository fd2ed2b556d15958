//! The words of Trunkline: [`Event`], [`UserMessage`], [`BotMessage`], [`Broker`], [`Source`], [`Assistant`],
//! [`OutputChannel`].
//!
//! Everything here is plain data and traits. Nothing opens a file or a socket, and nothing knows which journal, broker or
//! channel is in use; that is what lets each of them be tested alone.

mod assistant;
mod broker;
mod channel;
mod clock;
mod event;
mod id;
pub mod json;
mod message;
pub mod shape;
mod source;
mod template;
mod topic_map;
pub mod tracker;

pub use assistant::{Assistant, AssistantError, Recording, Turn};
pub use broker::{Batch, Broker, CursorKey, EXPORT_HEADER, Outcome};
pub use channel::{CollectedMessage, CollectingOutputChannel, OutputChannel, send_response};
pub use clock::{Clock, Timestamp};
pub use event::{Event, EventError, Kind, MAX_CONVERSATION_CHARS, NewEvent, check_conversation};
pub use id::{EventId, JournalId, PartitionNumber};
pub use message::{BotMessage, DEFAULT_SENDER, UserMessage};
pub use shape::Shape;
pub use source::{Reader, Received, Source};
pub use template::{EVENT_NAMES, Template, TemplateError};
pub use topic_map::{PatternError, TopicMap};

/// The position of an event in the journal: 1 for the first event ever appended, strictly increasing, never reused.
pub type Offset = u64;
