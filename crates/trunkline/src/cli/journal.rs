//! `trunkline journal`: the journal itself, in figures, checked, and as lines.

use std::fs;
use std::path::Path;

use clap::{Args, Subcommand};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use trunkline_core::{Offset, Timestamp};
use trunkline_gateway::Adapters;
use trunkline_journal::{Limits, ReadOnlyJournal, StoredSubscription, Verification};

use super::JournalArgs;
use super::format::{count, local, print_chunk, rfc3339, table};
use super::gist::shortened;
use super::output::{self, Failure, Outcome};

/// Look at the journal itself.
///
/// Works with and without a running gateway, and changes nothing.
#[derive(Args, Debug)]
pub(super) struct JournalCommand {
    #[command(flatten)]
    journal: JournalArgs,
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say how many events there are, how far the subscriptions have come, and what takes how much room.
    Stats,
    /// Read everything and check it. Exits with 1 when something is wrong.
    Verify,
    /// Print all events, one JSON object a line. Exits with 1 when a record was damaged and left out.
    Dump {
        /// Begin with this offset.
        #[arg(long, value_name = "OFFSET", default_value_t = 1)]
        from: Offset,
    },
}

impl JournalCommand {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let directory = self.journal.directory(adapters)?;
        let journal = ReadOnlyJournal::open(&directory)?;
        match self.command {
            Command::Stats => stats(&journal, &directory, self.json),
            Command::Verify => verify(&journal, self.json),
            Command::Dump { from } => dump(&journal, from),
        }
    }
}

fn stats(journal: &ReadOnlyJournal, directory: &Path, json: bool) -> Result<Outcome, Failure> {
    let (stats, subscriptions) = (journal.stats()?, journal.subscriptions()?);
    let (dead_letters, files) = (journal.dead_letter_count()?, files(directory)?);
    let records = (stats.head + 1).saturating_sub(stats.first);
    if json {
        let time = |millis: Option<i64>| millis.map(|millis| rfc3339(Timestamp(millis)));
        let subscription = |it: &StoredSubscription| {
            json!({"name": it.name, "position": it.progress.position, "lag": lag(it, stats.head),
                "unsettled": it.progress.unsettled.len(), "active": it.active, "updated": rfc3339(it.updated)})
        };
        let line = json!({
            "id": stats.id, "directory": directory, "first": stats.first, "head": stats.head,
            "first_time": time(stats.first_time), "head_time": time(stats.head_time), "records": records,
            "bytes": stats.bytes, "conversations": stats.conversations, "indexed_to": stats.indexed_to,
            "in_use": ReadOnlyJournal::is_in_use(directory),
            "subscriptions": subscriptions.iter().map(subscription).collect::<Vec<_>>(),
            "dead_letters": dead_letters,
            "files": files.iter().map(|(name, bytes)| json!({"name": name, "bytes": bytes})).collect::<Vec<_>>(),
        });
        output::print_line(line.to_string())?;
        return Ok(Outcome::Done);
    }
    let time = |millis: Option<i64>| millis.map_or_else(|| "-".to_owned(), |millis| local(Timestamp(millis)));
    for (key, value) in [
        ("journal", stats.id.clone()),
        ("directory", directory.display().to_string()),
        ("records", records.to_string()),
        ("first", format!("offset {}  {}", stats.first, time(stats.first_time))),
        ("last", format!("offset {}  {}", stats.head, time(stats.head_time))),
        ("size", HumanBytes(stats.bytes).to_string()),
        ("conversations", stats.conversations.to_string()),
        ("dead letters", dead_letters.to_string()),
    ] {
        output::print_line(format!("{key:<13}  {value}"))?;
    }
    let row = |it: &StoredSubscription| {
        let active = if it.active { "yes" } else { "no" };
        let (position, unsettled) = (it.progress.position.to_string(), it.progress.unsettled.len().to_string());
        vec![shortened(&it.name, 40), position, lag(it, stats.head).to_string(), unsettled, active.to_owned()]
    };
    let headings = ["SUBSCRIPTION", "POSITION", "LAG", "UNSETTLED", "ACTIVE"];
    let rows: Vec<_> = subscriptions.iter().map(row).collect();
    output::print(format!("\n{}", table(&headings, &headings[1..4], &rows)))?;
    let rows: Vec<_> = files.into_iter().map(|(name, bytes)| vec![name, HumanBytes(bytes).to_string()]).collect();
    output::print(format!("\n{}", table(&["FILE", "SIZE"], &["SIZE"], &rows)))?;
    Ok(Outcome::Done)
}

/// How many records it has not read yet.
fn lag(subscription: &StoredSubscription, head: Offset) -> Offset {
    (head + 1).saturating_sub(subscription.progress.position.max(1))
}

/// The files of the journal and their sizes in bytes, by name.
fn files(directory: &Path) -> Result<Vec<(String, u64)>, Failure> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // It may be gone already: SQLite's own files come and go.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            files.push((entry.file_name().to_string_lossy().into_owned(), metadata.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn verify(journal: &ReadOnlyJournal, json: bool) -> Result<Outcome, Failure> {
    // It shows itself on a terminal only.
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {eta}") {
        bar.set_style(style);
    }
    let found = journal.verify(&mut |offset, last| {
        bar.set_length(last);
        bar.set_position(offset);
    });
    bar.finish_and_clear();
    let found = found?;
    if json {
        let mut line = serde_json::to_value(&found)?;
        line["sound"] = found.is_sound().into();
        output::report(line.to_string())?;
    } else {
        let verdict = if found.is_sound() { "sound" } else { "not sound" };
        let (records, bytes) = (count(found.records, "record"), HumanBytes(found.bytes));
        let lines = findings(&found).into_iter().chain([format!("{records}, {bytes} of events: {verdict}")]);
        output::report(lines.collect::<Vec<_>>().join("\n"))?;
    }
    Ok(if found.is_sound() { Outcome::Done } else { Outcome::Unsound })
}

/// What is wrong or strange, a line each.
fn findings(found: &Verification) -> Vec<String> {
    let damaged = found.damaged.iter().map(|offset| format!("offset {offset}: the record is damaged"));
    let missing = found.missing.iter().map(|(first, last)| match last - first {
        0 => format!("offset {first}: the record is missing"),
        _ => format!("offsets {first} to {last}: the records are missing"),
    });
    let late = found.out_of_order.iter().map(|offset| format!("offset {offset}: the time is earlier than before"));
    let repeated = found.repeated_identities.iter().map(|(identity, offsets)| {
        let offsets: Vec<_> = offsets.iter().map(ToString::to_string).collect();
        format!("offsets {}: the identity `{}` was recorded more than once", offsets.join(", "), shortened(identity, 300))
    });
    let database = found.database.iter().map(|line| format!("journal.db: {}", shortened(line, 300)));
    damaged.chain(missing).chain(late).chain(repeated).chain(database).collect()
}

fn dump(journal: &ReadOnlyJournal, from: Offset) -> Result<Outcome, Failure> {
    let end = journal.head()? + 1;
    let (mut next, mut is_sound) = (from.max(1), true);
    while next < end {
        let mut chunk = journal.read(next, Limits::default())?;
        next = chunk.next;
        // What came after the start is left to the next dump, or this one might never end.
        chunk.events.retain(|event| event.offset < end);
        is_sound &= print_chunk(&chunk, true)?;
    }
    Ok(if is_sound { Outcome::Done } else { Outcome::Unsound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_by_offset() {
        let found = Verification {
            damaged: vec![5],
            missing: vec![(7, 7), (9, 12)],
            out_of_order: vec![14],
            repeated_identities: vec![("rest:ann:k".to_owned(), vec![1, 3])],
            database: vec!["row 5 missing from index".to_owned()],
            ..Verification::default()
        };
        assert_eq!(
            findings(&found),
            [
                "offset 5: the record is damaged",
                "offset 7: the record is missing",
                "offsets 9 to 12: the records are missing",
                "offset 14: the time is earlier than before",
                "offsets 1, 3: the identity `rest:ann:k` was recorded more than once",
                "journal.db: row 5 missing from index",
            ]
        );
        assert!(findings(&Verification::default()).is_empty());
    }
}
