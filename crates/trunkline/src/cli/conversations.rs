//! `trunkline conversations`: who writes.

use clap::Args;
use serde::Serialize;
use trunkline_core::{Offset, Timestamp};
use trunkline_gateway::Adapters;
use trunkline_journal::{By, ConversationSummary, Limits, ReadOnlyJournal};

use super::JournalArgs;
use super::format::{local, rfc3339, table};
use super::gist::{shortened, text};
use super::output::{self, Failure, Outcome};

/// How many offsets before the last event of a conversation its last text is looked for.
const LOOK_BACK: u64 = 1_000;

/// List the conversations, those with the newest events first.
///
/// Works with and without a running gateway. The newest events of a running one appear about a second late.
#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    journal: JournalArgs,
    /// How many at the most, 1 or more.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Conversation {
    #[serde(rename = "conversation")]
    id: String,
    events: u64,
    first: Offset,
    last: Offset,
    last_time: Option<String>,
    last_text: Option<String>,
    #[serde(skip)]
    time: Option<Timestamp>,
}

impl List {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let journal = ReadOnlyJournal::open(&self.journal.directory(adapters)?)?;
        let summaries = journal.conversations(usize::try_from(self.limit)?)?;
        let list = summaries.into_iter().map(|summary| Conversation::read(&journal, summary)).collect::<Result<Vec<_>, _>>()?;
        if self.json {
            let lines = list.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
            output::print_exactly(lines.into_iter().map(|line| line + "\n").collect::<String>())?;
        } else if list.is_empty() {
            output::print_line("There are no conversations yet.")?;
        } else {
            let rows: Vec<_> = list.iter().map(Conversation::row).collect();
            output::print(table(&["CONVERSATION", "EVENTS", "LAST EVENT", "LAST TEXT"], &["EVENTS"], &rows))?;
        }
        Ok(Outcome::Done)
    }
}

impl Conversation {
    fn read(journal: &ReadOnlyJournal, summary: ConversationSummary) -> Result<Self, Failure> {
        let ConversationSummary { conversation, events, first, last } = summary;
        let time = journal.event(last)?.map(|event| event.time);
        let from = last.saturating_sub(LOOK_BACK).max(first);
        let newest = journal.read_by(
            By::Conversation(&conversation),
            from,
            Limits { events: usize::try_from(LOOK_BACK)?, ..Limits::default() },
        )?;
        let last_text = newest.events.iter().rev().find_map(|event| text(event));
        Ok(Self { id: conversation, events, first, last, last_time: time.map(rfc3339), last_text, time })
    }

    fn row(&self) -> Vec<String> {
        vec![
            shortened(&self.id, 40),
            self.events.to_string(),
            self.time.map_or_else(|| "-".to_owned(), local),
            shortened(self.last_text.as_deref().unwrap_or_default(), 60),
        ]
    }
}
