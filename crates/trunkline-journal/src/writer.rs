//! The one thread that writes.
//!
//! Natural group commit: it takes what is queued, commits it in one transaction, wakes everybody who waited, and begins anew.
//! There is no timer: alone, an append is committed at once; under load, the next commit grows while the last one syncs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot, watch};
use trunkline_core::{Event, JournalId, Offset, Timestamp};

use crate::index::Index;
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::recent::Recent;
use crate::retention::{self, Plan};
use crate::row::{self, Found};
use crate::{Append, Appended, Options, Unavailable, read, schema};

/// How much goes into one commit: more makes the wait of the first longer than the sync it saves.
const COMMIT_COMMANDS: usize = 2_048;
const COMMIT_BYTES: usize = 4 << 20;
/// How many events retention removes in one transaction of its own.
const REMOVE_AT_ONCE: u64 = 4_096;

/// What the writer and all handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: JournalId,
    pub(crate) options: Options,
    pub(crate) recent: Recent,
    pub(crate) index: Arc<Index>,
    pub(crate) head: watch::Sender<Offset>,
    /// Why appends are refused; `None` when they are taken.
    pub(crate) refusal: RwLock<Option<String>>,
    pub(crate) metrics: Metrics,
}

impl Shared {
    fn set_refusal(&self, reason: Option<String>) {
        self.metrics.available.set(i64::from(reason.is_none()));
        let mut refusal = self.refusal.write().unwrap_or_else(PoisonError::into_inner);
        if *refusal != reason {
            if let Some(reason) = &reason {
                tracing::error!(reason, "Journal stopped taking events");
            } else {
                tracing::info!("Journal takes events again");
            }
            *refusal = reason;
        }
    }
}

/// What an append is answered.
type Answer = Result<Vec<Appended>, Unavailable>;

/// Anything else that is written in the same transactions: cursors, dead letters.
pub(crate) trait Work: Send {
    /// Does it, inside a transaction.
    fn run(&mut self, connection: &Connection) -> Result<(), rusqlite::Error>;
    /// Called once the transaction is durable, or failed.
    fn done(self: Box<Self>, result: Result<(), Unavailable>);
}

pub(crate) enum Command {
    Append {
        appends: Vec<Append>,
        reply: oneshot::Sender<Answer>,
    },
    Work(Box<dyn Work>),
    /// About once a second: retention, and a try to recover.
    Tick,
    Close,
}

impl Command {
    fn bytes(&self) -> usize {
        if let Self::Append { appends, .. } = self { appends.iter().map(Append::bytes).sum() } else { 0 }
    }

    fn fail(self, error: &Unavailable) {
        match self {
            Self::Append { reply, .. } => drop(reply.send(Err(error.clone()))),
            Self::Work(work) => work.done(Err(error.clone())),
            Self::Tick | Self::Close => {}
        }
    }
}

pub(crate) struct Writer {
    directory: PathBuf,
    /// Held until the last write is done.
    lock: Lock,
    shared: Arc<Shared>,
    commands: mpsc::Receiver<Command>,
    /// `None` after a failed write or sync: that connection is never used again.
    connection: Option<Connection>,
    /// For look-ups of identities.
    index_file: Connection,
    next: Offset,
    last_time: Timestamp,
    retention: Plan,
}

/// What a transaction recorded, to be published once it is durable.
#[derive(Default)]
struct Recorded {
    events: Vec<(Arc<Event>, Option<String>)>,
    /// The identities of this transaction, which the index does not know yet.
    identities: HashMap<String, Offset>,
    duplicates: u64,
}

impl Writer {
    pub(crate) fn new(
        directory: PathBuf,
        lock: Lock,
        shared: Arc<Shared>,
        commands: mpsc::Receiver<Command>,
        connection: Connection,
        index_file: Connection,
    ) -> Result<Self, rusqlite::Error> {
        let head = read::head(&connection)?;
        let last_time = time_of(&connection, head)?;
        shared.metrics.available.set(1);
        shared.metrics.head.set(head);
        let mut writer = Self {
            directory,
            lock,
            shared,
            commands,
            connection: None,
            index_file,
            next: head + 1,
            last_time,
            retention: Plan::default(),
        };
        writer.make_plan(&connection);
        writer.connection = Some(connection);
        Ok(writer)
    }

    /// Until the journal is closed, or all its handles are gone.
    pub(crate) fn run(mut self) {
        while let Some(first) = self.commands.blocking_recv() {
            let (mut batch, mut closing) = (Vec::with_capacity(16), false);
            let mut bytes = first.bytes();
            batch.push(first);
            while batch.len() < COMMIT_COMMANDS && bytes < COMMIT_BYTES {
                let Ok(command) = self.commands.try_recv() else { break };
                bytes += command.bytes();
                batch.push(command);
            }
            let mut ticked = false;
            batch.retain(|command| {
                closing |= matches!(command, Command::Close);
                ticked |= matches!(command, Command::Tick);
                !matches!(command, Command::Close | Command::Tick)
            });
            if ticked {
                self.tick();
            }
            if !batch.is_empty() {
                self.commit(batch);
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
            command.fail(&Unavailable::closed());
        }
        self.shared.index.close();
        if let Some(connection) = self.connection.take()
            && let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        {
            tracing::warn!(%error, "Log was not copied into the database; it is at the next start");
        }
        drop(self.lock);
    }

    /// One transaction for the whole batch.
    fn commit(&mut self, batch: Vec<Command>) {
        let Some(mut connection) = self.connection.take() else {
            let refusal = self.shared.refusal.read().unwrap_or_else(PoisonError::into_inner).clone();
            let error = Unavailable::new(refusal.unwrap_or_default());
            self.refuse(batch, &error);
            return;
        };
        let (batch, refused): (Vec<_>, Vec<_>) = match &self.retention.full {
            Some(_) => batch.into_iter().partition(|command| !matches!(command, Command::Append { .. })),
            None => (batch, Vec::new()),
        };
        if let Some(full) = &self.retention.full {
            let error = Unavailable::new(full.clone());
            self.refuse(refused, &error);
        }
        let started = Instant::now();
        match self.transact(&mut connection, batch) {
            Ok((recorded, answers)) => {
                self.connection = Some(connection);
                self.shared.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                self.publish(recorded);
                for (command, answer) in answers {
                    match (command, answer) {
                        (Command::Append { reply, .. }, Some(answer)) => drop(reply.send(answer)),
                        (Command::Work(work), _) => work.done(Ok(())),
                        _ => {}
                    }
                }
            }
            Err((error, batch)) => {
                let error = self.give_up(connection, &error);
                self.refuse(batch, &error);
            }
        }
    }

    /// Does all of the batch, or nothing; an error gives the commands back, to be answered.
    #[expect(clippy::type_complexity, reason = "used once, just above")]
    fn transact(
        &self,
        connection: &mut Connection,
        mut batch: Vec<Command>,
    ) -> Result<(Recorded, Vec<(Command, Option<Answer>)>), (rusqlite::Error, Vec<Command>)> {
        let mut recorded = Recorded::default();
        let mut results = Vec::with_capacity(batch.len());
        let outcome = (|| {
            let transaction = connection.transaction()?;
            for command in &mut batch {
                results.push(match command {
                    Command::Append { appends, .. } => Some(self.append(&transaction, std::mem::take(appends), &mut recorded)?),
                    Command::Work(work) => {
                        work.run(&transaction)?;
                        None
                    }
                    Command::Tick | Command::Close => None,
                });
            }
            if self.retention.keep_from > 0 {
                // Deleting keeps up with appending when it takes twice as many.
                let most = recorded.events.len() as u64 * 2;
                let (removed, undelivered) = retention::remove(&transaction, &self.retention, most)?;
                self.count_removed(removed, undelivered);
            }
            transaction.commit()
        })();
        match outcome {
            Ok(()) => Ok((recorded, batch.into_iter().zip(results).collect())),
            Err(error) => Err((error, batch)),
        }
    }

    /// Records some appends, each under its identity.
    fn append(&self, connection: &Connection, appends: Vec<Append>, recorded: &mut Recorded) -> Result<Answer, rusqlite::Error> {
        // The first look at all identities: nothing of the command is recorded when one cannot be looked up.
        let mut earlier = Vec::with_capacity(appends.len());
        for append in &appends {
            earlier.push(match &append.identity {
                Some(identity) => match self.find(connection, identity, recorded) {
                    Ok(found) => found,
                    Err(reason) => return Ok(Err(Unavailable::new(reason))),
                },
                None => None,
            });
        }
        let mut answers = Vec::with_capacity(appends.len());
        for (Append { events, identity }, earlier) in appends.into_iter().zip(earlier) {
            let within = identity.as_ref().and_then(|identity| recorded.identities.get(identity)).copied();
            if let Some(offset) = earlier.or(within) {
                recorded.duplicates += 1;
                answers.push(Appended { first: offset, last: offset, duplicate: true });
                continue;
            }
            let first = self.next + recorded.events.len() as Offset;
            let time = self.shared.options.clock.now().max(self.last_time);
            let last = (first + events.len() as Offset).saturating_sub(1);
            for (offset, event) in (first..).zip(events) {
                let identity = identity.as_deref().filter(|_| offset == last);
                row::insert(connection, offset, time, &event, identity)?;
                let event = event.recorded(self.shared.id, time, offset);
                recorded.events.push((Arc::new(event), identity.map(str::to_owned)));
            }
            if let Some(identity) = identity {
                recorded.identities.insert(identity, last);
            }
            answers.push(Appended { first, last, duplicate: false });
        }
        Ok(Ok(answers))
    }

    /// The offset at which `identity` was recorded within the window.
    fn find(&self, connection: &Connection, identity: &str, recorded: &Recorded) -> Result<Option<Offset>, String> {
        if let Some(offset) = recorded.identities.get(identity) {
            return Ok(Some(*offset));
        }
        let candidates = self.shared.index.identity(&self.index_file, identity)?;
        find_identity(connection, &self.shared, &candidates, identity).map_err(|error| error.to_string())
    }

    /// Shows what is durable to the readers.
    fn publish(&mut self, recorded: Recorded) {
        let metrics = &self.shared.metrics;
        metrics.duplicates.inc_by(recorded.duplicates);
        let Some((last, _)) = recorded.events.last() else { return };
        metrics.appended.inc_by(recorded.events.len() as u64);
        metrics.commit_events.observe(recorded.events.len() as f64);
        metrics.head.set(last.offset);
        self.next = last.offset + 1;
        self.last_time = last.time;
        let head = last.offset;
        self.shared.index.extend(recorded.events.iter().map(|(event, identity)| (event, identity.as_deref())));
        self.shared.recent.extend(recorded.events.into_iter().map(|(event, _)| event));
        self.shared.head.send_replace(head);
        self.shared.set_refusal(None);
    }

    fn refuse(&self, batch: Vec<Command>, error: &Unavailable) {
        for command in batch {
            if matches!(command, Command::Append { .. }) {
                self.shared.metrics.refused.inc();
            }
            command.fail(error);
        }
    }

    /// After a failed commit: keeps the connection when only the disk was full, and never uses it again otherwise.
    fn give_up(&mut self, connection: Connection, error: &rusqlite::Error) -> Unavailable {
        let reason = if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            self.connection = Some(connection);
            "the disk is full".to_owned()
        } else {
            drop(connection);
            format!("a write failed ({error})")
        };
        self.shared.set_refusal(Some(reason.clone()));
        Unavailable::new(reason)
    }

    fn tick(&mut self) {
        if self.connection.is_none()
            && let Err(error) = self.reopen()
        {
            tracing::warn!(%error, "Journal could not be opened again");
        }
        let Some(mut connection) = self.connection.take() else { return };
        self.make_plan(&connection);
        let is_refused = self.shared.refusal.read().unwrap_or_else(PoisonError::into_inner).is_some();
        match self.maintain(&mut connection) {
            Ok(()) => {
                self.connection = Some(connection);
                if is_refused || self.retention.full.is_some() {
                    self.shared.set_refusal(self.retention.full.clone());
                }
            }
            Err(error) => drop(self.give_up(connection, &error)),
        }
    }

    /// Removes what may go; and while appends are refused, proves with a small transaction that they would succeed.
    fn maintain(&mut self, connection: &mut Connection) -> Result<(), rusqlite::Error> {
        let is_refused = self.shared.refusal.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if self.retention.keep_from == 0 && !is_refused {
            return Ok(());
        }
        let transaction = connection.transaction()?;
        let (removed, undelivered) = retention::remove(&transaction, &self.retention, REMOVE_AT_ONCE)?;
        if is_refused {
            schema::set_floor(&transaction, schema::floor(&transaction)?)?;
        }
        transaction.commit()?;
        self.count_removed(removed, undelivered);
        Ok(())
    }

    fn make_plan(&mut self, connection: &Connection) {
        let options = &self.shared.options;
        let now = options.clock.now().max(self.last_time);
        match retention::plan(connection, &options.retention, now) {
            Ok(plan) => self.retention = plan,
            Err(error) => return tracing::warn!(%error, "Retention could not be planned"),
        }
        self.shared.metrics.bytes.set(i64::try_from(self.retention.bytes).unwrap_or(i64::MAX));
        let first = read::bounds(connection).ok().flatten().map_or(self.next, |(first, _)| first);
        let by_age = read::offset_at(connection, now.minus(options.deduplication_window)).unwrap_or(1);
        let by_count = self.next.saturating_sub(options.deduplication_events);
        self.shared.index.allow_pruning(by_age.max(by_count), first);
        if self.retention.keep_from <= first {
            self.retention.keep_from = 0;
        }
    }

    fn count_removed(&self, removed: u64, undelivered: u64) {
        self.shared.metrics.removed.inc_by(removed);
        self.shared.metrics.removed_undelivered.inc_by(undelivered);
        if undelivered > 0 {
            tracing::error!(events = undelivered, "Retention removed events before every subscription had passed them");
        }
    }

    /// Opens a fresh connection after a failure; what a failed commit left behind and is readable becomes durable and visible.
    fn reopen(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let connection = schema::open_for_writing(&self.directory)?;
        let head = read::head(&connection)?;
        let mut recorded = Recorded::default();
        read::visit(&connection, self.shared.id, self.next, head, &mut |found| {
            if let Found::Event(event, identity) = found {
                recorded.events.push((event, identity));
            }
            std::ops::ControlFlow::Continue(())
        })?;
        self.publish(recorded);
        self.next = head + 1;
        self.connection = Some(connection);
        Ok(())
    }
}

/// The newest of `candidates` that really has `identity` and lies within the window.
pub(crate) fn find_identity(
    events: &Connection,
    shared: &Shared,
    candidates: &[Offset],
    identity: &str,
) -> Result<Option<Offset>, rusqlite::Error> {
    let options = &shared.options;
    let oldest = options.clock.now().minus(options.deduplication_window);
    let lowest = shared.head.borrow().saturating_sub(options.deduplication_events);
    for &offset in candidates.iter().rev().take_while(|offset| **offset > lowest) {
        if let Some(Found::Event(event, Some(stored))) = read::get(events, shared.id, offset)?
            && stored == identity
        {
            return Ok((event.time >= oldest).then_some(offset));
        }
    }
    Ok(None)
}

/// The time of the record at `offset`; the beginning of time when there is none.
fn time_of(events: &Connection, offset: Offset) -> Result<Timestamp, rusqlite::Error> {
    match events.query_row("SELECT time FROM events WHERE offset = ?1", [offset], |row| row.get(0)) {
        Ok(time) => Ok(Timestamp(time)),
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Timestamp::default()),
        Err(error) => Err(error),
    }
}
