//! A batch that stopped at a row.

use std::fmt;
use std::sync::Arc;

use trunkline_core::{Event, Offset, Outcome};

/// The row that a batch stopped at, because the table refused it.
#[derive(Debug)]
pub(super) struct Refused {
    /// Its place among the events given.
    pub(super) index: usize,
    pub(super) offset: Offset,
    outcome: Outcome,
}

impl Refused {
    /// `message` is what the database says.
    pub(super) fn new(index: usize, event: &Event, message: impl fmt::Display) -> Self {
        let reason = format!("the table `events` refused the row: {message}");
        Self { index, offset: event.offset, outcome: Outcome::Reject { reason } }
    }

    /// The same, when the table would refuse any row, for this reason.
    pub(super) fn by_fault_of_table(self, reason: String) -> Self {
        Self { outcome: Outcome::retry(reason), ..self }
    }

    /// Those of `events` that came before it.
    pub(super) fn before<'e>(&self, events: &'e [Arc<Event>]) -> &'e [Arc<Event>] {
        events.get(..self.index).unwrap_or_default()
    }
}

/// An outcome for each of `count` events, when the first `there` are in the table already and those behind were tried up to
/// `refused`.
pub(super) fn outcomes(count: usize, there: usize, refused: Option<Refused>) -> Vec<Outcome> {
    let Some(Refused { index, outcome, .. }) = refused else { return Outcome::Delivered.all(count) };
    let mut outcomes = Outcome::Delivered.all(there + index);
    outcomes.push(outcome);
    outcomes.resize(count, Outcome::retry("not tried, because an event before it was refused"));
    outcomes
}
