//! `trunkline dead-letters`: what subscriptions gave up on.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use serde_json::json;
use trunkline_gateway::{Adapters, JournalPlan};
use trunkline_journal::{DeadLetter, DeadLetterId, DeadLetterState, Journal, ReadOnlyJournal};

use super::JournalArgs;
use super::client::Client;
use super::format::{count, dead_letter_json, local, table};
use super::gist::{gist, shortened};
use super::output::{self, Failure, Outcome};

/// Look at the events that a subscription gave up on, and decide about them.
///
/// A dead letter is a copy of the event, kept until it is delivered after all, or dropped.
#[derive(Args, Debug)]
pub(super) struct DeadLetters {
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
    /// List them, the oldest first.
    List {
        /// Only those of this subscription: the name of a broker, `assistant`, or `channel:` and the name of a channel.
        #[arg(long, value_name = "NAME")]
        subscription: Option<String>,
    },
    /// Show one with its event and why it was given up.
    Show {
        /// Its id, as `list` shows it.
        id: String,
    },
    /// Deliver some once more: at once when a gateway runs, otherwise when the next one starts.
    Replay {
        /// Their ids, as `list` shows them.
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All of them.
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// With --all: only those of this subscription.
        #[arg(long, value_name = "NAME", requires = "all")]
        subscription: Option<String>,
    },
    /// Delete some for good; their events are never delivered to that subscription.
    Drop {
        /// Their ids, as `list` shows them.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Do not ask. It asks on a terminal only.
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Replay,
    Drop,
}

impl DeadLetters {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let plan = self.journal.plan(adapters)?;
        let journal = ReadOnlyJournal::open(&plan.directory)?;
        let json = self.json;
        match self.command {
            Command::List { subscription } => list(&journal.dead_letters(subscription.as_deref())?, json),
            Command::Show { id } => show(&letters(&journal, &[id])?, json),
            Command::Replay { ids, all: false, .. } => change(plan, &letters(&journal, &ids)?, Change::Replay, json),
            Command::Replay { subscription, .. } => {
                let mut letters = journal.dead_letters(subscription.as_deref())?;
                letters.retain(|letter| letter.state != DeadLetterState::Replay);
                change(plan, &letters, Change::Replay, json)
            }
            Command::Drop { ids, yes } => {
                let letters = letters(&journal, &ids)?;
                if yes || is_confirmed(letters.len())? {
                    return change(plan, &letters, Change::Drop, json);
                }
                Err(Failure::new("nothing was dropped"))
            }
        }
    }
}

/// The dead letters of these ids; when one does not exist, nothing is done with the others.
fn letters(journal: &ReadOnlyJournal, ids: &[String]) -> Result<Vec<DeadLetter>, Failure> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match journal.dead_letter(&DeadLetterId::new(id))? {
            Some(letter) => found.push(letter),
            None => missing.push(id.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(Failure::new(format!("there is no dead letter {}; `trunkline dead-letters list` lists them", missing.join(", "))))
}

fn list(letters: &[DeadLetter], json: bool) -> Result<Outcome, Failure> {
    if json {
        output::print_exactly(letters.iter().map(|letter| dead_letter_json(letter) + "\n").collect::<String>())?;
    } else if letters.is_empty() {
        output::print_line("There are no dead letters.")?;
    } else {
        let row = |letter: &DeadLetter| {
            vec![
                letter.id.to_string(),
                letter.subscription.clone(),
                letter.state.as_str().to_owned(),
                local(letter.died),
                letter.event.offset.to_string(),
                shortened(&letter.event.conversation, 40),
                shortened(&letter.event.event_type, 40),
                shortened(&letter.reason, 80),
            ]
        };
        let headings = ["ID", "SUBSCRIPTION", "STATE", "GIVEN UP", "OFFSET", "CONVERSATION", "TYPE", "REASON"];
        output::print(table(&headings, &["ID", "OFFSET"], &letters.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(Outcome::Done)
}

fn show(letters: &[DeadLetter], json: bool) -> Result<Outcome, Failure> {
    if json {
        return list(letters, json);
    }
    for letter in letters {
        let event = &letter.event;
        let state = match letter.state {
            DeadLetterState::Dead => "dead: its conversation went on without it",
            DeadLetterState::Held => "held: its conversation waits until it is replayed or dropped",
            DeadLetterState::Replay => "replay: it will be delivered once more",
        };
        for (key, value) in [
            ("id", letter.id.to_string()),
            ("subscription", letter.subscription.clone()),
            ("state", state.to_owned()),
            ("reason", shortened(&letter.reason, 2_000)),
            ("given up", format!("{} after {}", local(letter.died), count(letter.attempts.into(), "attempt"))),
            ("offset", event.offset.to_string()),
            ("event id", event.id.to_string()),
            ("time", local(event.time)),
            ("conversation", shortened(&event.conversation, 255)),
            ("type", shortened(&event.event_type, 255)),
            ("gist", gist(event)),
            ("event", shortened(event.body_str(), usize::MAX)),
        ] {
            output::print_line(format!("{key:<12}  {value}"))?;
        }
    }
    Ok(Outcome::Done)
}

/// Asks on a terminal; elsewhere nobody could answer, and what was asked for is meant.
fn is_confirmed(number: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(true);
    }
    write!(io::stderr(), "Drop {} for good? [y/N] ", count(number as u64, "dead letter"))?;
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Through the gateway when one runs, because it has the journal and is to act at once; otherwise in the journal itself.
fn change(plan: JournalPlan, letters: &[DeadLetter], change: Change, json: bool) -> Result<Outcome, Failure> {
    let client = Client::of_running(&plan.directory)?;
    let runs = client.is_some();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match client {
            Some(client) => {
                for letter in letters {
                    match change {
                        Change::Replay => client.replay(&letter.id).await?,
                        Change::Drop => client.drop_dead_letter(&letter.id).await?,
                    }
                    report(letter, change, json)?;
                }
                Ok(())
            }
            None if letters.is_empty() => Ok(()),
            None => {
                let (journal, _appender) = Journal::open(&plan.directory, plan.options)?;
                let result = change_in(&journal, letters, change, json).await;
                journal.close().await;
                result
            }
        }
    })?;
    if !json {
        output::report(match (letters.len() as u64, change, runs) {
            (0, ..) => "There are no dead letters to replay.".to_owned(),
            (number, Change::Replay, true) => format!("{} will be delivered again now.", count(number, "dead letter")),
            (number, Change::Replay, false) => {
                format!("{} will be delivered again at the next `trunkline serve`.", count(number, "dead letter"))
            }
            (number, Change::Drop, _) => format!("{} dropped.", count(number, "dead letter")),
        })?;
    }
    Ok(Outcome::Done)
}

async fn change_in(journal: &Journal, letters: &[DeadLetter], change: Change, json: bool) -> Result<(), Failure> {
    for letter in letters {
        let existed = match change {
            Change::Replay => journal.set_dead_letter(&letter.id, DeadLetterState::Replay, None).await?,
            Change::Drop => journal.delete_dead_letter(&letter.id).await?,
        };
        if existed {
            report(letter, change, json)?;
        }
    }
    Ok(())
}

fn report(letter: &DeadLetter, change: Change, json: bool) -> Result<(), Failure> {
    let state = match change {
        Change::Replay => "replay",
        Change::Drop => "dropped",
    };
    if json { output::report(json!({"id": letter.id.as_str(), "state": state}).to_string()) } else { Ok(()) }
}
