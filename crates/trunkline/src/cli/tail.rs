//! `trunkline tail`: the journal as it grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::MissedTickBehavior;
use trunkline_core::{Clock, Event, Offset};
use trunkline_gateway::Adapters;
use trunkline_journal::{By, Chunk, Limits, ReadOnlyJournal};

use super::JournalArgs;
use super::format::print_chunk;
use super::output::{Failure, Outcome};
use super::since::{self, Since};

/// How many events are shown when nobody says since when.
const LAST: usize = 10;

/// How often the journal is asked whether it has grown; SQLite tells other processes nothing.
const POLL: Duration = Duration::from_millis(200);

/// Over fewer records than these it costs less to read them than to ask the index.
const FEW: Offset = 4_096;

/// Follow the journal.
///
/// Works with and without a running gateway. Every line has the time, the offset, the conversation, the type and the gist of an
/// event. With --no-follow it exits with 1 when a record was damaged and left out.
#[derive(Args, Debug)]
pub(super) struct Tail {
    #[command(flatten)]
    journal: JournalArgs,
    #[command(flatten)]
    selection: Selection,
    /// Begin with the events since then: a duration such as 10m, 2h or 7d, a time such as 2026-03-01T18:00:00Z or
    /// "2026-03-01 18:00" (local), or `beginning`. [default: the last 10 events]
    #[arg(long, value_name = "WHEN", value_parser = since::parse)]
    since: Option<Since>,
    /// Go on with the events that come, until Ctrl-C; this is the default.
    #[arg(long, short, overrides_with = "no_follow")]
    follow: bool,
    /// Print what there is and end.
    #[arg(long, overrides_with = "follow")]
    no_follow: bool,
    /// Print one JSON object a line, with the whole event.
    #[arg(long)]
    json: bool,
}

/// Which events are shown.
#[derive(Args, Debug)]
struct Selection {
    /// Only the events of this conversation.
    #[arg(long, value_name = "ID")]
    conversation: Option<String>,
    /// Only the events of this user, in all conversations: those that name the user in a `user_id`, their own or that of their
    /// metadata.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only events of this type, such as `user`; may be given more than once.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

impl Tail {
    pub(super) fn run(self, adapters: &Adapters) -> Result<Outcome, Failure> {
        let follows = self.follow || !self.no_follow;
        let mut tail = Following {
            journal: ReadOnlyJournal::open(&self.journal.directory(adapters)?)?,
            selection: self.selection,
            json: self.json,
            next: 1,
            is_sound: true,
        };
        match self.since {
            Some(since) => tail.next = tail.journal.offset_at(since.time(Clock::system().now()))?,
            None => tail.print_last()?,
        }
        tail.advance()?;
        if follows {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tail.follow())?;
            return Ok(Outcome::Done);
        }
        Ok(if tail.is_sound { Outcome::Done } else { Outcome::Unsound })
    }
}

struct Following {
    journal: ReadOnlyJournal,
    selection: Selection,
    json: bool,
    /// Everything below this offset is printed.
    next: Offset,
    /// Whether no record was damaged so far.
    is_sound: bool,
}

impl Following {
    /// Prints what comes, until Ctrl-C.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut interrupted = Box::pin(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                result = &mut interrupted => return Ok(result?),
                _ = ticks.tick() => self.advance()?,
            }
        }
    }

    /// Prints everything that has come.
    fn advance(&mut self) -> Result<(), Failure> {
        let end = self.journal.head()? + 1;
        let (json, mut is_sound) = (self.json, true);
        if self.next < end {
            self.selection.read(&self.journal, self.next, end, &mut |chunk| {
                is_sound &= print_chunk(&chunk, json)?;
                Ok(())
            })?;
            self.next = end;
        }
        self.is_sound &= is_sound;
        Ok(())
    }

    /// Prints the last few.
    fn print_last(&mut self) -> Result<(), Failure> {
        let end = self.journal.head()? + 1;
        let (events, mut damaged) = self.selection.last(&self.journal, end, LAST)?;
        // What is damaged before the first event shown is nobody's concern here.
        let first = events.front().map_or(1, |event| event.offset);
        damaged.retain(|offset| *offset >= first);
        self.is_sound &= print_chunk(&Chunk { events: events.into(), damaged, next: end }, self.json)?;
        self.next = end;
        Ok(())
    }
}

impl Selection {
    fn accepts(&self, event: &Event) -> bool {
        self.conversation.as_ref().is_none_or(|conversation| event.conversation == conversation)
            && self.user.as_ref().is_none_or(|user| event.user.as_deref() == Some(user.as_str()))
            && (self.types.is_empty() || self.types.iter().any(|name| event.event_type == name))
    }

    /// What the index can be asked for.
    fn by(&self) -> Option<By<'_>> {
        self.conversation.as_deref().map(By::Conversation).or_else(|| self.user.as_deref().map(By::User))
    }

    /// Shows the events from `from` up to, and without, `end` to `each`, in the order of the journal.
    fn read(
        &self,
        journal: &ReadOnlyJournal,
        from: Offset,
        end: Offset,
        each: &mut dyn FnMut(Chunk) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let limits = Limits::default();
        let indexed = self.by().filter(|_| end - from > FEW);
        let mut next = from;
        while next < end {
            let mut chunk = match indexed {
                Some(by) => journal.read_by(by, next, limits)?,
                None => journal.read(next, limits)?,
            };
            let is_last = chunk.next <= next;
            next = chunk.next;
            chunk.events.retain(|event| event.offset < end && self.accepts(event));
            chunk.damaged.retain(|offset| *offset < end);
            each(chunk)?;
            if is_last {
                break;
            }
        }
        Ok(())
    }

    /// The last `most` events before `end`, and the damaged records that were met on the way.
    fn last(&self, journal: &ReadOnlyJournal, end: Offset, most: usize) -> Result<(VecDeque<Arc<Event>>, Vec<Offset>), Failure> {
        let (mut found, mut damaged) = (VecDeque::new(), Vec::new());
        // With an index everything is in reach at once; otherwise it looks back in steps that double.
        let mut width = if self.by().is_some() { end } else { 256 };
        let mut end = end;
        while end > 1 && found.len() < most {
            let start = end.saturating_sub(width).max(1);
            let (room, mut part, mut bad) = (most - found.len(), VecDeque::new(), Vec::new());
            self.read(journal, start, end, &mut |chunk| {
                bad.extend(chunk.damaged);
                part.extend(chunk.events);
                part.drain(..part.len().saturating_sub(room));
                Ok(())
            })?;
            part.append(&mut found);
            bad.append(&mut damaged);
            (found, damaged) = (part, bad);
            (end, width) = (start, width.saturating_mul(2));
        }
        Ok((found, damaged))
    }
}
