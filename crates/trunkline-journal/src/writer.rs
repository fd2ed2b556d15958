//! The one thread that writes.
//!
//! Natural group commit: it takes what is queued, commits it together, wakes everybody who waited, and begins anew. There is no
//! timer: alone, an append is committed at once; under load, the next commit grows while the last one syncs.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::change::{Changed, Changes};
use crate::engine::{Batch, Committed, Failed, Record, Removed, Write};
use crate::shared::Shared;
use crate::{Append, Appended, Unavailable};

/// How much goes into one commit: more makes the wait of the first longer than the sync it saves.
const COMMIT_COMMANDS: usize = 2_048;
const COMMIT_BYTES: usize = 4 << 20;

/// An answer for each append.
type AppendReply = oneshot::Sender<Vec<Result<Appended, Unavailable>>>;
/// One answer for all changes.
type ChangeReply = oneshot::Sender<Result<Vec<Changed>, Unavailable>>;

/// What is asked of the writer.
pub(crate) enum Command {
    Append {
        appends: Vec<Append>,
        reply: AppendReply,
    },
    Change {
        changes: Changes,
        reply: ChangeReply,
    },
    /// About once a second: retention, and a try to recover.
    Tick,
    Close,
}

impl Command {
    fn bytes(&self) -> usize {
        if let Self::Append { appends, .. } = self { appends.iter().map(Append::bytes).sum() } else { 0 }
    }
}

/// Who waits for what is committed together.
#[derive(Default)]
struct Waiting {
    /// With the number of appends of each.
    appends: Vec<(usize, AppendReply)>,
    changes: Vec<ChangeReply>,
}

/// The loop around an engine.
pub(crate) struct Writer<E> {
    engine: E,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// It failed in a way that it has to recover from.
    is_broken: bool,
    /// Why no more events can be taken, when their share of the room is used up.
    full: Option<String>,
}

impl<E: Write> Writer<E> {
    pub(crate) fn new(engine: E, shared: Arc<Shared>, commands: mpsc::Receiver<Command>) -> Self {
        Self { engine, shared, commands, is_broken: false, full: None }
    }

    /// Until the journal is closed, or all its handles are gone.
    pub(crate) fn run(mut self) {
        self.tick();
        while let Some(first) = self.commands.blocking_recv() {
            let (mut batch, mut waiting) = (Batch { appends: Vec::with_capacity(16), changes: Vec::new() }, Waiting::default());
            let (mut count, mut bytes, mut closing, mut ticked) = (0, 0, false, false);
            let mut next = Some(first);
            while let Some(command) = next {
                count += 1;
                bytes += command.bytes();
                match command {
                    Command::Append { mut appends, reply } => {
                        waiting.appends.push((appends.len(), reply));
                        batch.appends.append(&mut appends);
                    }
                    Command::Change { changes, reply } => {
                        waiting.changes.push(reply);
                        batch.changes.push(changes);
                    }
                    Command::Tick => ticked = true,
                    Command::Close => closing = true,
                }
                let has_room = count < COMMIT_COMMANDS && bytes < COMMIT_BYTES;
                next = if has_room { self.commands.try_recv().ok() } else { None };
            }
            if ticked {
                self.tick();
            }
            if !batch.appends.is_empty() || !batch.changes.is_empty() {
                self.commit(batch, waiting);
            }
            if closing {
                break;
            }
        }
        self.close();
    }

    fn close(mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            let mut waiting = Waiting::default();
            match command {
                Command::Append { appends, reply } => waiting.appends.push((appends.len(), reply)),
                Command::Change { reply, .. } => waiting.changes.push(reply),
                Command::Tick | Command::Close => {}
            }
            self.refuse(waiting, &Unavailable::closed());
        }
        self.engine.close();
    }

    fn commit(&mut self, mut batch: Batch, mut waiting: Waiting) {
        if self.is_broken {
            let reason = self.shared.health.refusal().unwrap_or_default();
            return self.refuse(waiting, &Unavailable::refused(reason));
        }
        if let Some(full) = &self.full {
            // Cursors move on all the same, or it would stay full.
            let refused = Waiting { appends: std::mem::take(&mut waiting.appends), changes: Vec::new() };
            batch.appends.clear();
            self.refuse(refused, &Unavailable::refused(full.clone()));
            if batch.changes.is_empty() {
                return;
            }
        }
        let started = Instant::now();
        match self.engine.commit(batch) {
            Ok(committed) => {
                self.shared.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                self.answer(committed, waiting);
            }
            Err(failed) => {
                let error = self.give_up(failed);
                self.refuse(waiting, &error);
            }
        }
    }

    fn answer(&mut self, committed: Committed, waiting: Waiting) {
        let Committed { appends, changes, records, removed } = committed;
        let metrics = &self.shared.metrics;
        metrics.duplicates.inc_by(appends.iter().flatten().filter(|appended| appended.duplicate).count() as u64);
        if !records.is_empty() {
            metrics.commit_events.observe(records.len() as f64);
        }
        self.count_removed(removed);
        self.publish(records);
        let mut appends = appends.into_iter().map(|appended| appended.map_err(Unavailable::refused));
        for (count, reply) in waiting.appends {
            let _ = reply.send(appends.by_ref().take(count).collect());
        }
        for (changed, reply) in changes.into_iter().zip(waiting.changes) {
            let _ = reply.send(Ok(changed));
        }
    }

    /// Shows what is durable to the readers.
    fn publish(&self, records: Vec<Record>) {
        let Some(head) = records.last().map(|record| record.event.offset) else { return };
        let metrics = &self.shared.metrics;
        metrics.appended.inc_by(records.len() as u64);
        metrics.head.set(head);
        self.shared.recent.extend(records.into_iter().map(|record| record.event));
        self.shared.head.send_replace(head);
        self.shared.set_refusal(None);
    }

    fn refuse(&self, waiting: Waiting, error: &Unavailable) {
        for (count, reply) in waiting.appends {
            self.shared.metrics.refused.inc_by(count as u64);
            let _ = reply.send(vec![Err(error.clone()); count]);
        }
        for reply in waiting.changes {
            let _ = reply.send(Err(error.clone()));
        }
    }

    fn give_up(&mut self, failed: Failed) -> Unavailable {
        let Failed { reason, maybe_recorded, is_broken } = failed;
        self.is_broken = is_broken;
        self.shared.set_refusal(Some(reason.clone()));
        Unavailable { reason, maybe_recorded }
    }

    fn tick(&mut self) {
        if self.is_broken {
            match self.engine.recover() {
                Ok(records) => {
                    self.is_broken = false;
                    self.publish(records);
                }
                Err(error) => return tracing::warn!(error, "Journal could not be opened again"),
            }
        }
        let is_refused = self.shared.health.refusal().is_some();
        match self.engine.maintain(is_refused) {
            Ok(maintained) => {
                self.count_removed(maintained.removed);
                self.shared.metrics.bytes.set(i64::try_from(maintained.bytes).unwrap_or(i64::MAX));
                self.full = maintained.full;
                if is_refused || self.full.is_some() {
                    self.shared.set_refusal(self.full.clone());
                }
            }
            Err(failed) => drop(self.give_up(failed)),
        }
    }

    fn count_removed(&self, Removed { events, undelivered }: Removed) {
        self.shared.metrics.removed.inc_by(events);
        self.shared.metrics.removed_undelivered.inc_by(undelivered);
        if undelivered > 0 {
            tracing::error!(events = undelivered, "Retention removed events before every subscription had passed them");
        }
    }
}
