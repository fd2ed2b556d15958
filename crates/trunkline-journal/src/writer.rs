//! The one thread that writes.
//!
//! Natural group commit: it takes what is queued, commits it together, wakes everybody who waited, and begins anew. There is no
//! timer: alone, an append is committed at once; under load, the next commit grows while the last one syncs.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

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
        /// The room that they take in the queue, until they are answered.
        room: OwnedSemaphorePermit,
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
    /// With the number of appends of each, and the room that these take.
    appends: Vec<(usize, AppendReply, OwnedSemaphorePermit)>,
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
                    Command::Append { mut appends, reply, room } => {
                        waiting.appends.push((appends.len(), reply, room));
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
                Command::Append { appends, reply, room } => waiting.appends.push((appends.len(), reply, room)),
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
        for (count, reply, _room) in waiting.appends {
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
        for (count, reply, _room) in waiting.appends {
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::sync::Semaphore;
    use trunkline_core::{JournalId, NewEvent, Timestamp};

    use super::*;
    use crate::Options;
    use crate::change::Change;
    use crate::engine::Maintained;
    use crate::shared::Health;

    /// An engine whose answers the test writes, and which notes what it is asked.
    #[derive(Clone, Default)]
    struct Scripted(Arc<Mutex<Script>>);

    #[derive(Default)]
    struct Script {
        /// The appends and changes of each commit.
        commits: Vec<(usize, usize)>,
        /// What the next commits come to; recorded when there is nothing.
        failures: VecDeque<Failed>,
        head: u64,
        full: Option<String>,
        /// What the next recoveries come to.
        recoveries: VecDeque<Result<Vec<Record>, String>>,
        maintained_while_refused: Vec<bool>,
        is_closed: bool,
    }

    fn record(offset: u64) -> Record {
        let event = NewEvent::parse(br#"{"sender_id": "a", "event": "restart"}"#, None, 1.0).unwrap();
        Record { event: Arc::new(event.recorded(JournalId::random(), Timestamp(1), offset)), identity: None }
    }

    impl Write for Scripted {
        fn commit(&mut self, batch: Batch) -> Result<Committed, Failed> {
            let mut script = self.0.lock().unwrap();
            script.commits.push((batch.appends.len(), batch.changes.len()));
            if let Some(failed) = script.failures.pop_front() {
                return Err(failed);
            }
            let mut committed = Committed::default();
            for _ in batch.appends {
                script.head += 1;
                let offset = script.head;
                committed.appends.push(Ok(Appended { first: offset, last: offset, duplicate: false }));
                committed.records.push(record(offset));
            }
            committed.changes = batch.changes.into_iter().map(|changes| vec![Changed::Done; changes.list.len()]).collect();
            Ok(committed)
        }

        fn maintain(&mut self, is_refused: bool) -> Result<Maintained, Failed> {
            let mut script = self.0.lock().unwrap();
            script.maintained_while_refused.push(is_refused);
            Ok(Maintained { full: script.full.clone(), bytes: 7, ..Maintained::default() })
        }

        fn recover(&mut self) -> Result<Vec<Record>, String> {
            self.0.lock().unwrap().recoveries.pop_front().unwrap_or_else(|| Ok(Vec::new()))
        }

        fn close(&mut self) {
            self.0.lock().unwrap().is_closed = true;
        }
    }

    /// A queue that a writer works off when it is told to.
    struct Queue {
        engine: Scripted,
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        writer: Option<Writer<Scripted>>,
    }

    type Answers = oneshot::Receiver<Vec<Result<Appended, Unavailable>>>;

    impl Queue {
        fn new() -> Self {
            let engine = Scripted::default();
            let shared = Arc::new(Shared::new(JournalId::random(), 0, Options::default(), Arc::new(Health::default())));
            let (commands, queue) = mpsc::channel(10_000);
            let writer = Writer::new(engine.clone(), Arc::clone(&shared), queue);
            Self { engine, shared, commands, writer: Some(writer) }
        }

        fn append(&self, bytes: usize) -> Answers {
            self.append_several(vec![bytes])
        }

        fn append_several(&self, sizes: Vec<usize>) -> Answers {
            let event = |bytes: usize| {
                let body = format!(r#"{{"sender_id": "a", "event": "x", "timestamp": 1.5, "x": "{}"}}"#, "x".repeat(bytes));
                NewEvent::parse(body.as_bytes(), None, 1.0).unwrap()
            };
            let (reply, answers) = oneshot::channel();
            let appends = sizes.into_iter().map(|bytes| Append::one(event(bytes))).collect();
            let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
            self.send(Command::Append { appends, reply, room });
            answers
        }

        fn change(&self) -> oneshot::Receiver<Result<Vec<Changed>, Unavailable>> {
            let (reply, answer) = oneshot::channel();
            let list = vec![Change::KeepActive { names: Vec::new() }];
            self.send(Command::Change { changes: Changes { list, time: Timestamp(1) }, reply });
            answer
        }

        fn send(&self, command: Command) {
            self.commands.try_send(command).ok().unwrap();
        }

        /// Works off everything that is in the queue, and closes.
        fn run(mut self) -> Script {
            self.send(Command::Close);
            self.writer.take().unwrap().run();
            std::mem::take(&mut *self.engine.0.lock().unwrap())
        }
    }

    fn failed(reason: &str, maybe_recorded: bool, is_broken: bool) -> Failed {
        Failed { reason: reason.to_owned(), maybe_recorded, is_broken }
    }

    fn offsets(answers: Answers) -> Vec<u64> {
        answers.blocking_recv().unwrap().into_iter().map(|answer| answer.unwrap().last).collect()
    }

    fn refusal(answers: Answers) -> (String, bool) {
        let Unavailable { reason, maybe_recorded } = answers.blocking_recv().unwrap().pop().unwrap().unwrap_err();
        (reason, maybe_recorded)
    }

    #[test]
    fn what_waits_is_committed_together_and_each_sender_gets_its_own_answers() {
        let queue = Queue::new();
        let (one, change, several) = (queue.append(1), queue.change(), queue.append_several(vec![1, 1, 1]));
        let (shared, script) = (Arc::clone(&queue.shared), queue.run());
        assert_eq!((script.commits, script.is_closed), (vec![(4, 1)], true));
        assert_eq!((offsets(one), offsets(several)), (vec![1], vec![2, 3, 4]));
        assert_eq!(change.blocking_recv().unwrap(), Ok(vec![Changed::Done]));
        assert_eq!((*shared.head.borrow(), shared.metrics.appended.get(), shared.metrics.head.get()), (4, 4, 4));
        assert!(shared.recent.get(3).is_some());
    }

    #[test]
    fn a_commit_is_bounded_in_commands_and_in_bytes() {
        let queue = Queue::new();
        let answers: Vec<_> = (0..COMMIT_COMMANDS + 3).map(|_| queue.append(1)).collect();
        assert_eq!(queue.run().commits, [(COMMIT_COMMANDS, 0), (3, 0)]);
        assert_eq!(
            answers.into_iter().flat_map(offsets).collect::<Vec<_>>(),
            (1..=COMMIT_COMMANDS as u64 + 3).collect::<Vec<_>>()
        );
        let queue = Queue::new();
        let answers: Vec<_> = (0..5).map(|_| queue.append(COMMIT_BYTES / 2)).collect();
        assert_eq!(queue.run().commits, [(2, 0), (2, 0), (1, 0)]);
        drop(answers);
    }

    #[test]
    fn a_failed_commit_is_told_to_all_who_wait_and_a_full_disk_needs_no_recovery() {
        let queue = Queue::new();
        queue.engine.0.lock().unwrap().failures.push_back(failed("the disk is full", false, false));
        let big = COMMIT_BYTES;
        let (refused, change, taken) = (queue.append_several(vec![1, big]), queue.change(), queue.append(1));
        let (shared, script) = (Arc::clone(&queue.shared), queue.run());
        assert_eq!(script.commits, [(2, 0), (1, 1)]);
        assert_eq!(refusal(refused), ("the disk is full".to_owned(), false));
        assert_eq!((change.blocking_recv().unwrap(), offsets(taken)), (Ok(vec![Changed::Done]), vec![1]));
        assert_eq!((shared.metrics.refused.get(), shared.health.refusal()), (2, None));
    }

    #[test]
    fn a_broken_engine_is_asked_for_nothing_until_it_has_recovered() {
        let queue = Queue::new();
        let mut script = queue.engine.0.lock().unwrap();
        script.failures.push_back(failed("the disk went away", true, true));
        script.recoveries.extend([Err("still gone".to_owned()), Ok(vec![record(1)])]);
        script.head = 1;
        drop(script);
        let (big, rest) = (COMMIT_BYTES, 1);
        let lost = queue.append(big);
        let refused = queue.append(big);
        let (changed, kept) = (queue.change(), queue.append(big));
        // The first attempt to recover fails, the second finds what the lost commit had recorded after all.
        queue.send(Command::Tick);
        let still = queue.append(big);
        queue.send(Command::Tick);
        let taken = queue.append(rest);
        let (shared, script) = (Arc::clone(&queue.shared), queue.run());
        assert_eq!(refusal(lost), ("the disk went away".to_owned(), true));
        for answers in [refused, kept, still] {
            assert_eq!(refusal(answers), ("the disk went away".to_owned(), false));
        }
        assert!(!changed.blocking_recv().unwrap().unwrap_err().maybe_recorded);
        assert_eq!((offsets(taken), *shared.head.borrow(), shared.health.refusal()), (vec![2], 2, None));
        assert_eq!(script.commits, [(1, 0), (1, 0)]);
        // While it cannot be opened, it is not looked after either.
        assert_eq!(script.maintained_while_refused, [false, false]);
    }

    #[test]
    fn while_its_room_is_used_up_cursors_move_on_and_events_do_not() {
        let queue = Queue::new();
        queue.engine.0.lock().unwrap().full = Some("used up".to_owned());
        let (refused, change) = (queue.append(1), queue.change());
        let (shared, script) = (Arc::clone(&queue.shared), queue.run());
        assert_eq!((script.commits, refusal(refused)), (vec![(0, 1)], ("used up".to_owned(), false)));
        assert_eq!(change.blocking_recv().unwrap(), Ok(vec![Changed::Done]));
        assert_eq!((shared.health.refusal(), shared.metrics.bytes.get()), (Some("used up".to_owned()), 7));
        assert_eq!((shared.metrics.refused.get(), shared.metrics.available.get()), (1, 0));
    }

    #[test]
    fn what_stands_beside_the_close_is_recorded_and_what_comes_after_it_is_refused() {
        let queue = Queue::new();
        queue.send(Command::Close);
        let (beside, late, change) = (queue.append(COMMIT_BYTES), queue.append(1), queue.change());
        let script = queue.run();
        assert_eq!((script.commits, script.is_closed, offsets(beside)), (vec![(1, 0)], true, vec![1]));
        assert_eq!(refusal(late), ("it is closed".to_owned(), false));
        assert!(change.blocking_recv().unwrap().is_err());
    }
}
