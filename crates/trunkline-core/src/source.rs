//! What a source is to us: a broker that events are read from.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Place;

/// A broker that events are read from: to follow it from a terminal, or to append what it has to the journal.
///
/// It is built from the same kind of section as a [`Broker`](crate::Broker), without touching anything outside the process.
#[async_trait]
pub trait Source: Send + Sync {
    /// Where it reads.
    fn place(&self) -> Place;

    /// Connects and begins to read. `position` is what [`Reader::position`] answered last, for a source that can remember nowhere else
    /// how far it was read. The error says what to do.
    ///
    /// A reader that fails is dropped, and another opened after a while; it begins with what was not yet settled.
    async fn open_at(&self, position: Option<&str>) -> Result<Box<dyn Reader>, String>;

    /// The same where no position is remembered.
    async fn open(&self) -> Result<Box<dyn Reader>, String> {
        self.open_at(None).await
    }

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

    /// Where everything received so far ends, in its own words, when the source can remember that nowhere else. Whoever has dealt
    /// with all of it keeps this before settling, and gives it back when another reader is opened.
    async fn position(&mut self) -> Result<Option<String>, String> {
        Ok(None)
    }
}

/// What a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The bytes as they came, which are an event or not.
    pub body: Bytes,
    /// What stays the same when it comes again, and differs from everything else that the source gives: an id from our own
    /// headers, a message id, or a position. `None`: the source gives none.
    pub id: Option<Arc<str>>,
    /// Where it stood, for a person: `partition 3, offset 1207`.
    pub origin: String,
}
