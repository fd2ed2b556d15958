//! The journal as its users hold it.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use rusqlite::Connection;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use trunkline_core::{Clock, Event, EventId, JournalId, Offset, Timestamp};

use crate::dead_letter::{self, DeadLetter, DeadLetterState, Death, NewDeadLetter, OpenDeadLetter};
use crate::index::Index;
use crate::lock::Lock;
use crate::metrics::Metrics;
use crate::read::{self, Reader};
use crate::recent::Recent;
use crate::row::Found;
use crate::subscription::{self, Progress, StoredSubscription};
use crate::writer::{self, Command, Shared, Work, Writer};
use crate::{Append, Appended, Chunk, ConversationSummary, Limits, OpenError, Options, ReadError, Stats, Unavailable, schema};

/// How many commands may wait for the writer; a sender beyond that waits.
const QUEUE: usize = 8_192;
/// One long read does not hold up the others.
const READERS: usize = 2;
/// The queue is bounded in units of this many bytes.
const PERMIT_BYTES: usize = 1_024;

/// `None` ends a reader.
type Job = Option<Box<dyn FnOnce(&Reader) + Send>>;

/// A journal open for writing. Cheap to clone; it closes when [`Journal::close`] is called or the last clone goes.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    directory: PathBuf,
    commands: mpsc::Sender<Command>,
    jobs: mpsc::Sender<Job>,
    room: Semaphore,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Whether appends are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// They are.
    Available,
    /// They are refused, for this reason.
    Unavailable(String),
}

impl Journal {
    /// Opens the journal in `directory`, makes it when there is none, and starts its threads.
    ///
    /// # Errors
    ///
    /// When another process has it, when a newer Trunkline wrote it, when files cannot be made or read.
    pub fn open(directory: &Path, options: Options) -> Result<Self, OpenError> {
        let file_error = |source| OpenError::File { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(file_error)?;
        let lock = Lock::acquire(directory)?;
        let database_error = |source| OpenError::Database { path: directory.join("journal.db"), source };
        let connection = schema::open_for_writing(directory)?;
        let id = schema::journal_id(&connection).map_err(database_error)?;
        let head = read::head(&connection).map_err(database_error)?;

        let (commands, queue) = mpsc::channel(QUEUE);
        let ticker = commands.downgrade();
        let tick = move || {
            // A full queue means that the writer is busy, and a missed tick is made up for by the next.
            ticker.upgrade().map(|commands| commands.try_send(Command::Tick));
        };
        let (index, index_thread) = Index::start(directory, &connection, id, head, tick)?;
        let room = Semaphore::new((options.queue_bytes / PERMIT_BYTES).max(1));
        let shared = Arc::new(Shared {
            id,
            recent: Recent::new(options.recent_bytes),
            options,
            index,
            head: watch::Sender::new(head),
            refusal: RwLock::new(None),
            metrics: Metrics::new(),
        });
        let index_file = crate::index::file::open_for_reading(directory).map_err(database_error)?;
        let writer = Writer::new(directory.to_owned(), lock, Arc::clone(&shared), queue, connection, index_file)
            .map_err(database_error)?;
        let spawn =
            |name: String, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name).spawn(work).map_err(file_error);
        let mut threads = vec![spawn("journal-writer".to_owned(), Box::new(move || writer.run()))?];
        let (jobs, waiting) = mpsc::channel::<Job>(256);
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..READERS {
            let reader = Reader::open(directory).map_err(database_error)?;
            let waiting = Arc::clone(&waiting);
            threads.push(spawn(format!("journal-reader-{number}"), Box::new(move || run_jobs(&reader, &waiting)))?);
        }
        threads.push(index_thread);
        let directory = directory.to_owned();
        Ok(Self(Arc::new(Inner { shared, directory, commands, jobs, room, threads: Mutex::new(threads) })))
    }

    /// The identity of the journal.
    pub fn id(&self) -> JournalId {
        self.0.shared.id
    }

    /// The directory it lies in.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Where its time comes from.
    pub fn clock(&self) -> &Clock {
        &self.0.shared.options.clock
    }

    /// Whether appends are taken.
    pub fn status(&self) -> Status {
        let refusal = self.0.shared.refusal.read().unwrap_or_else(PoisonError::into_inner).clone();
        refusal.or_else(|| self.0.shared.index.broken()).map_or(Status::Available, Status::Unavailable)
    }

    /// Makes the figures of the journal visible in `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.shared.metrics.register(registry);
    }

    /// Appends some events together. Resolves when they are synced to disk.
    ///
    /// # Errors
    ///
    /// When the journal takes no events at the moment; then nothing of it was recorded. The future may be dropped: the events
    /// are then appended or not.
    pub async fn append(&self, append: Append) -> Result<Appended, Unavailable> {
        let mut answers = self.append_all(vec![append]).await?;
        answers.pop().ok_or_else(Unavailable::closed)
    }

    /// Makes several appends in one commit, each for itself a duplicate or not. Resolves when they are synced to disk.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`], and then for all of them.
    ///
    /// # Panics
    ///
    /// When an append has no event.
    pub async fn append_all(&self, appends: Vec<Append>) -> Result<Vec<Appended>, Unavailable> {
        assert!(appends.iter().all(|append| !append.events.is_empty()), "an append has at least one event");
        let bytes: usize = appends.iter().map(Append::bytes).sum();
        let most = self.0.shared.options.queue_bytes / PERMIT_BYTES;
        let permits = u32::try_from((bytes / PERMIT_BYTES + 1).min(most.max(1))).unwrap_or(u32::MAX);
        let _room = self.0.room.acquire_many(permits).await.map_err(|_| Unavailable::closed())?;
        let (reply, answer) = oneshot::channel();
        self.0.commands.send(Command::Append { appends, reply }).await.map_err(|_| Unavailable::closed())?;
        answer.await.map_err(|_| Unavailable::closed())?
    }

    /// The offset of the newest durable event; 0 when there is none.
    pub fn head(&self) -> Offset {
        *self.0.shared.head.borrow()
    }

    /// Tells the newest durable offset whenever it changes.
    pub fn watch(&self) -> watch::Receiver<Offset> {
        self.0.shared.head.subscribe()
    }

    /// The events from `from` on, as many as `limits` allow; from memory when they are among the newest.
    pub async fn read(&self, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let head = self.head();
        let from = from.max(1);
        if from > head {
            return Ok(Chunk { next: from, ..Chunk::default() });
        }
        if let Some(events) = self.0.shared.recent.read(from, limits) {
            let next = events.last().map_or(from, |event| event.offset + 1);
            return Ok(Chunk { events, damaged: Vec::new(), next });
        }
        let chunk = self.with_reader(move |reader, _| Ok(reader.range(from, head, limits)?)).await?;
        self.report(&chunk);
        Ok(chunk)
    }

    /// One event; `None` when there is none at this offset, or it is damaged.
    pub async fn event(&self, offset: Offset) -> Result<Option<Arc<Event>>, ReadError> {
        if let Some(event) = self.0.shared.recent.get(offset) {
            return Ok(Some(event));
        }
        let chunk = self.with_reader(move |reader, _| Ok(reader.at(&[offset], 1)?)).await?;
        self.report(&chunk);
        Ok(chunk.events.into_iter().next())
    }

    /// The events at `offsets`, which ascend, in their order. Those that are not there, or damaged, are left out.
    pub async fn events(&self, offsets: &[Offset]) -> Result<Vec<Arc<Event>>, ReadError> {
        let recent = &self.0.shared.recent;
        // What is in memory are the newest.
        let newest = offsets.iter().rev().map_while(|offset| recent.get(*offset));
        let mut newest: Vec<_> = newest.collect();
        newest.reverse();
        let older = offsets.get(..offsets.len() - newest.len()).unwrap_or_default().to_owned();
        if older.is_empty() {
            return Ok(newest);
        }
        let mut chunk = self.with_reader(move |reader, _| Ok(reader.at(&older, usize::MAX)?)).await?;
        self.report(&chunk);
        chunk.events.append(&mut newest);
        Ok(chunk.events)
    }

    /// The events of a conversation from offset `from` on, as many as `limits` allow.
    pub async fn conversation(&self, name: &str, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let (name, head) = (name.to_owned(), self.head());
        let chunk = self
            .with_reader(move |reader, shared| {
                let mut offsets =
                    shared.index.conversation(&reader.index, &name, from, limits.events).map_err(ReadError::Index)?;
                offsets.retain(|offset| *offset <= head);
                let mut chunk = reader.at(&offsets, limits.bytes)?;
                chunk.next = chunk.next.max(from);
                Ok(chunk)
            })
            .await?;
        self.report(&chunk);
        Ok(chunk)
    }

    /// The newest event of a conversation that satisfies `wanted`, among its last `most`, with the identity it was appended
    /// under.
    pub async fn last_of_conversation(
        &self,
        name: &str,
        most: usize,
        wanted: impl Fn(&Event, Option<&str>) -> bool + Send + 'static,
    ) -> Result<Option<(Arc<Event>, Option<String>)>, ReadError> {
        let name = name.to_owned();
        self.with_reader(move |reader, shared| {
            let mut before = Offset::MAX >> 1;
            for _ in 0..most {
                let found = shared.index.last_of_conversation(&reader.index, &name, before).map_err(ReadError::Index)?;
                let Some(offset) = found else { break };
                if let Some(Found::Event(event, identity)) = reader.get(offset)?
                    && wanted(&event, identity.as_deref())
                {
                    return Ok(Some((event, identity)));
                }
                before = offset;
            }
            Ok(None)
        })
        .await
    }

    /// The offset that was recorded under `identity` within the window.
    pub async fn find(&self, identity: &str) -> Result<Option<Offset>, ReadError> {
        let identity = identity.to_owned();
        self.with_reader(move |reader, shared| {
            let candidates = shared.index.identity(&reader.index, &identity).map_err(ReadError::Index)?;
            Ok(writer::find_identity(&reader.events, shared, &candidates, &identity)?)
        })
        .await
    }

    /// The first offset that was appended at `time` or later; one more than the newest when there is none.
    pub async fn offset_at(&self, time: Timestamp) -> Result<Offset, ReadError> {
        self.with_reader(move |reader, _| Ok(reader.offset_at(time)?)).await
    }

    /// The conversations, those with the newest events first.
    pub async fn conversations(&self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        self.with_reader(move |reader, shared| shared.index.conversations(&reader.index, most).map_err(ReadError::Index)).await
    }

    /// The journal in figures.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        self.with_reader(|reader, _| Ok(reader.stats()?)).await
    }

    /// All subscriptions that were ever stored.
    pub async fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        self.with_reader(|reader, _| Ok(subscription::load(&reader.events)?)).await
    }

    /// Stores how far a subscription has come.
    pub async fn save_progress(&self, name: &str, progress: Progress) -> Result<(), Unavailable> {
        let (name, now) = (name.to_owned(), self.clock().now());
        self.work(move |connection| subscription::save(connection, &name, &progress, now)).await
    }

    /// Names the subscriptions that are configured; all others hold nothing back any longer.
    pub async fn keep_active(&self, names: Vec<String>) -> Result<(), Unavailable> {
        self.work(move |connection| subscription::keep_active(connection, &names)).await
    }

    /// Records dead letters; answers their numbers.
    pub async fn add_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<Vec<i64>, Unavailable> {
        let now = self.clock().now();
        self.work(move |connection| letters.iter().map(|letter| dead_letter::insert(connection, letter, now)).collect()).await
    }

    /// Up to `most` dead letters of a subscription, or of all, oldest first.
    pub async fn dead_letters(&self, subscription: Option<String>, most: usize) -> Result<Vec<DeadLetter>, ReadError> {
        let id = self.id();
        self.with_reader(move |reader, _| Ok(dead_letter::list(&reader.events, id, subscription.as_deref(), most)?)).await
    }

    /// All dead letters of a subscription that are held, and up to `replays` of those to be replayed, each in the order of the
    /// journal; without their events.
    pub async fn open_dead_letters(&self, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, ReadError> {
        let subscription = subscription.to_owned();
        self.with_reader(move |reader, _| Ok(dead_letter::open(&reader.events, &subscription, replays)?)).await
    }

    /// The events that are dead letters of a subscription although `progress` says that it owes them: they were recorded after
    /// it was stored.
    pub async fn owed_dead_letters(&self, subscription: &str, progress: &Progress) -> Result<HashSet<EventId>, ReadError> {
        let (id, subscription, progress) = (self.id(), subscription.to_owned(), progress.clone());
        self.with_reader(move |reader, _| Ok(dead_letter::owed(&reader.events, id, &subscription, &progress)?)).await
    }

    /// One dead letter.
    pub async fn dead_letter(&self, number: i64) -> Result<Option<DeadLetter>, ReadError> {
        let id = self.id();
        self.with_reader(move |reader, _| Ok(dead_letter::get(&reader.events, id, number)?)).await
    }

    /// Changes where a dead letter stands, with `death` when it died again; answers whether there was one.
    pub async fn set_dead_letter(&self, number: i64, state: DeadLetterState, death: Option<Death>) -> Result<bool, Unavailable> {
        let now = self.clock().now();
        self.work(move |connection| dead_letter::set_state(connection, number, state, death.as_ref(), now)).await
    }

    /// Removes a dead letter; answers whether there was one.
    pub async fn delete_dead_letter(&self, number: i64) -> Result<bool, Unavailable> {
        self.work(move |connection| dead_letter::delete(connection, number)).await
    }

    /// Writes what is queued, copies the log into the database, ends the threads and lets other processes in. Later calls answer
    /// that the journal is closed.
    pub async fn close(&self) {
        if self.0.commands.send(Command::Close).await.is_ok() {
            self.0.commands.closed().await;
        }
        for _ in 0..READERS {
            let _ = self.0.jobs.send(None).await;
        }
        let threads = std::mem::take(&mut *self.0.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let (done, joined) = oneshot::channel();
        std::thread::spawn(move || {
            for thread in threads {
                let _ = thread.join();
            }
            let _ = done.send(());
        });
        let _ = joined.await;
    }

    fn report(&self, chunk: &Chunk) {
        if !chunk.damaged.is_empty() {
            self.0.shared.metrics.damaged.inc_by(chunk.damaged.len() as u64);
            tracing::error!(offsets = ?chunk.damaged, "Records were damaged and left out");
        }
    }

    async fn with_reader<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Reader, &Shared) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let shared = Arc::clone(&self.0.shared);
        let job: Job = Some(Box::new(move |reader| drop(reply.send(job(reader, &shared)))));
        self.0.jobs.send(job).await.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(Reply { work, result: None, answer: reply });
        self.0.commands.send(Command::Work(work)).await.map_err(|_| Unavailable::closed())?;
        answer.await.map_err(|_| Unavailable::closed())?
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("directory", &self.0.directory).field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A piece of [`Work`] that answers what its closure answered, once that is durable.
struct Reply<F, T> {
    work: F,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, Unavailable>>,
}

impl<F, T> Work for Reply<F, T>
where
    F: FnMut(&Connection) -> Result<T, rusqlite::Error> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), rusqlite::Error> {
        self.result = Some((self.work)(connection)?);
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<(), Unavailable>) {
        let Self { result: value, answer, .. } = *self;
        let _ = answer.send(result.and_then(|()| value.ok_or_else(Unavailable::closed)));
    }
}

fn run_jobs(reader: &Reader, waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Some(job)) = job else { return };
        job(reader);
    }
}
