//! The events of the past: where they are read from, which of them an export begins with, and where it goes on.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use trunkline_brokers::SqlTrackerStore;
use trunkline_core::Event;
use trunkline_journal::{By, Limits, ReadOnlyJournal};

use super::journal::JournalHistory;
use super::state::{ExportState, Origin, Position, Selection};
use super::store::StoreHistory;
use crate::cli::output::{self, Failure};

/// Where the events are read from, open.
pub(super) enum Opened {
    Journal { journal: Box<ReadOnlyJournal>, directory: PathBuf },
    TrackerStore(SqlTrackerStore),
}

/// The events from some position on, one after another.
pub(super) enum History<'o> {
    Journal(JournalHistory<'o>),
    TrackerStore(StoreHistory<'o>),
}

/// An event of the past.
#[derive(Debug)]
pub(super) struct Past {
    /// The event, or why what stands there could not be read.
    pub(super) event: Result<Arc<Event>, String>,
    /// The position behind it.
    pub(super) next: Position,
}

impl Opened {
    /// An export to `broker` that begins now. Which conversations it is about is decided here, once: what comes and goes
    /// meanwhile changes nothing about where it goes on. Those that do not exist are told, and left out.
    pub(super) async fn begin(&self, broker: &str, selection: Selection) -> Result<ExportState, Failure> {
        let mut state = ExportState::new(broker, self.origin(), self.place(), selection);
        match self {
            Self::Journal { journal, .. } => {
                let head = journal.head()?;
                if head == 0 {
                    return Err(Failure::new("the journal has no events"));
                }
                state.end = Some(head + 1);
                let one = Limits { events: 1, ..Limits::default() };
                let exists = |name: &str| journal.read_by(By::Conversation(name), 1, one).map(|chunk| !chunk.events.is_empty());
                if let Some(wanted) = state.selection.conversations.take() {
                    let known = wanted.iter().map(|name| exists(name)).collect::<Result<Vec<_>, _>>()?;
                    state.selection.conversations = Some(chosen(wanted, &known, "the journal")?);
                }
            }
            Self::TrackerStore(store) => {
                let there = store.conversations().await.map_err(Failure::new)?;
                if there.is_empty() {
                    return Err(Failure::new(format!("{store} has no events")));
                }
                state.selection.conversations = Some(match state.selection.conversations.take() {
                    Some(wanted) => {
                        let all: HashSet<_> = there.iter().collect();
                        let known: Vec<_> = wanted.iter().map(|name| all.contains(name)).collect();
                        chosen(wanted, &known, "the tracker store")?
                    }
                    None => there,
                });
            }
        }
        Ok(state)
    }

    /// What an export still has to read.
    pub(super) fn history(&self, state: &ExportState) -> Result<History<'_>, Failure> {
        let (began, here) = (&state.place, self.place());
        if *began != here {
            return Err(Failure::new(match self {
                Self::Journal { directory, .. } => {
                    format!("the export began with another journal than the one in {}", directory.display())
                }
                Self::TrackerStore(_) => format!("the export began with {began}, and the endpoints file names {here}"),
            }));
        }
        let (conversations, position) = (state.selection.conversations.clone(), state.position.clone());
        Ok(match self {
            Self::Journal { journal, .. } => {
                History::Journal(JournalHistory::new(journal, conversations, state.end.unwrap_or_default(), position))
            }
            Self::TrackerStore(store) => {
                History::TrackerStore(StoreHistory::new(store, conversations.unwrap_or_default(), &position))
            }
        })
    }

    fn origin(&self) -> Origin {
        match self {
            Self::Journal { .. } => Origin::Journal,
            Self::TrackerStore(_) => Origin::TrackerStore,
        }
    }

    /// Which journal or tracker store it is.
    fn place(&self) -> String {
        match self {
            Self::Journal { journal, .. } => journal.id().to_string(),
            Self::TrackerStore(store) => store.to_string(),
        }
    }
}

impl History<'_> {
    /// The next events, perhaps none; `None` at the end.
    pub(super) async fn page(&mut self) -> Result<Option<Vec<Past>>, String> {
        match self {
            Self::Journal(history) => history.page(),
            Self::TrackerStore(history) => history.page().await,
        }
    }

    /// How much is read, and how much there is.
    pub(super) fn progress(&self) -> (u64, u64) {
        match self {
            Self::Journal(history) => history.progress(),
            Self::TrackerStore(history) => history.progress(),
        }
    }
}

/// Those of the conversations that are known; the others are told.
fn chosen(wanted: Vec<String>, known: &[bool], place: &str) -> Result<Vec<String>, Failure> {
    let (chosen, unknown): (Vec<_>, Vec<_>) = wanted.into_iter().zip(known).partition(|(_, known)| **known);
    for (name, _) in &unknown {
        output::note(format!("there is no conversation `{name}` in {place}"));
    }
    if chosen.is_empty() {
        return Err(Failure::new(format!("none of the conversations is in {place}")));
    }
    Ok(chosen.into_iter().map(|(name, _)| name).collect())
}
