//! What a source is to us: a broker that events are read from.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

/// A broker that events are read from: to follow it from a terminal, or to append what it has to the journal.
///
/// It is built from the same kind of section as a [`Broker`](crate::Broker), without touching anything outside the process.
#[async_trait]
pub trait Source: Send + Sync {
    /// Where it reads, for a person: `queue rasa_core_events at localhost:5672`. A file is called by its path from the root, as in
    /// `file /srv/events.log`. Contains no secret.
    fn place(&self) -> String;

    /// Connects and begins to read. The error says what to do.
    ///
    /// A reader that fails is dropped, and another opened after a while; it begins with what was not yet settled.
    async fn open(&self) -> Result<Box<dyn Reader>, String>;

    /// Whether it could be read: reached, allowed, and there. Takes and creates nothing, and disturbs no reader that is at work. The
    /// error says what to do.
    async fn is_ready(&self) -> Result<(), String>;
}

/// Reads events from a connected source.
#[async_trait]
pub trait Reader: Send {
    /// Waits for the next events, at least one and a few hundred at the most; `None` when there will be no more, which only
    /// happens to sources with an end. The future may be dropped without losing an event.
    async fn receive(&mut self) -> Result<Option<Vec<Received>>, String>;

    /// Tells the source that everything received so far is dealt with, durably: it need not come again. What is received and
    /// not settled comes again after a crash on either side.
    async fn settle(&mut self) -> Result<(), String>;
}

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The bytes as they came; an event when they are a JSON object with a `sender_id` and an `event`.
    pub body: Bytes,
    /// What stays the same when it comes again, and differs from everything else that the source gives: an id from our own
    /// headers, a message id, or a position. `None`: the source has nothing of the kind.
    pub id: Option<Arc<str>>,
    /// Where it stood, for a person: `partition 3, offset 1207`.
    pub origin: String,
}
