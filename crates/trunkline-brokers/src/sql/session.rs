//! What a broker needs of a connection to a server, whichever its dialect.

use std::sync::Arc;

use async_trait::async_trait;
use trunkline_core::{CursorKey, Event, Offset};

use super::refused::Refused;
use crate::cursor::Cursor;

/// The longest that a statement takes on the server, in seconds. Shorter than [`CALL_TIMEOUT`], so that a statement whose
/// caller has gone does not go on for long.
///
/// [`CALL_TIMEOUT`]: super::broker::CALL_TIMEOUT
pub(super) const STATEMENT_SECONDS: u32 = 30;

/// The longest that a statement waits for a lock, in seconds.
pub(super) const LOCK_SECONDS: u32 = 10;

/// A connection whose tables were there and had the right shape when it was made.
///
/// The cursor is compared and moved in the transaction that inserts the rows. So whatever becomes of a transaction whose end
/// nobody saw, no other inserts the same rows: the second to come finds the cursor elsewhere.
#[async_trait]
pub(super) trait Session: Send {
    /// The cursor that was committed last.
    async fn cursor(&mut self, key: &CursorKey) -> Result<Option<Cursor>, Failure>;

    /// Inserts `events` up to the first that the table refuses, and moves the cursor from `from` to that one, or to `to` when
    /// there is none, in one transaction.
    async fn append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<&Cursor>,
        to: &Cursor,
    ) -> Result<Appended, Failure>;

    /// Inserts `events` up to the first that the table refuses, which is answered. The cursor `passes`, when it stands at
    /// one of them, is moved past it, by a writer.
    async fn replay(&mut self, events: &[Arc<Event>], passes: Option<(&CursorKey, &str)>) -> Result<Option<Refused>, Failure>;

    /// A sentence when the tables do not have the right shape any more.
    async fn objection(&mut self) -> Result<Option<String>, Failure>;

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

/// Why something did not work, and that the connection is not to be used again.
#[derive(Debug)]
pub(super) struct Failure {
    /// For a person.
    pub(super) reason: String,
    /// Whether it was the connection that failed, so that another may succeed at once.
    pub(super) is_lost: bool,
    /// Whether it would happen to every row, although to try without any shows nothing: there is no space, or no further id.
    pub(super) is_shortage: bool,
}

impl Failure {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_lost: false, is_shortage: false }
    }
}

/// The offset as the databases store it.
pub(super) fn number(offset: Offset) -> i64 {
    offset.cast_signed()
}
