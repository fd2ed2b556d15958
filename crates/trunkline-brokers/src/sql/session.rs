//! What a broker needs of a connection to a server, whichever its dialect.

use std::sync::Arc;

use async_trait::async_trait;
use trunkline_core::{CursorKey, Event, Offset};

/// The longest that a statement takes on the server, in seconds. Shorter than [`CALL_TIMEOUT`], so that a statement whose
/// caller has gone does not go on for long.
///
/// [`CALL_TIMEOUT`]: super::broker::CALL_TIMEOUT
pub(super) const STATEMENT_SECONDS: u32 = 30;

/// The longest that a statement waits for a lock, in seconds.
pub(super) const LOCK_SECONDS: u32 = 10;

/// A connection whose tables are there and have the right shape.
///
/// The cursor is compared and moved in the transaction that inserts the rows. So whatever becomes of a transaction whose end
/// nobody saw, no other inserts the same rows: the second to come finds the cursor elsewhere.
#[async_trait]
pub(super) trait Session: Send {
    /// The cursor that was committed last.
    async fn cursor(&mut self, key: &CursorKey) -> Result<Option<Offset>, Failure>;

    /// Moves the cursor back to `to`, if it still stands at `from`.
    async fn rewind(&mut self, key: &CursorKey, from: Offset, to: Offset) -> Result<(), Failure>;

    /// Inserts `events` up to the first that the table refuses, and moves the cursor from `from` to that one, or to `to` when
    /// there is none, in one transaction.
    async fn append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<Offset>,
        to: Offset,
    ) -> Result<Appended, Failure>;

    /// Inserts `events` up to the first that the table refuses, which is answered. The cursor `passes`, when it stands at
    /// one of them, is moved past it.
    async fn replay(&mut self, events: &[Arc<Event>], passes: Option<&CursorKey>) -> Result<Option<Refused>, Failure>;

    /// Tries what a delivery does, with no rows.
    async fn rehearse(&mut self) -> Result<(), Failure>;
}

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Appended {
    Done,
    /// Committed up to the refused row, with the cursor at it.
    Refused(Refused),
    /// Nothing was done, because the cursor is not where it was expected.
    CursorMoved,
}

/// The row that a batch stopped at, because the table refused it.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its place among the events given.
    pub(super) index: usize,
    pub(super) offset: Offset,
    pub(super) reason: String,
}

/// Why something did not work, and that the connection is not to be used again.
#[derive(Debug)]
pub(super) struct Failure {
    /// For a person.
    pub(super) reason: String,
    /// Whether it was the connection that failed, so that another may succeed at once.
    pub(super) is_lost: bool,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_lost: false }
    }
}

/// The offset as the databases store it.
pub(super) fn number(offset: Offset) -> i64 {
    offset.cast_signed()
}

/// The sentence for a row that the table refused.
pub(super) fn refusal(message: &str) -> String {
    format!("the table `events` refused the row: {message}")
}
