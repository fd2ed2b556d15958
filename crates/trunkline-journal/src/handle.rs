//! The journal as its users hold it.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use trunkline_core::{Clock, Event, EventId, JournalId, Offset, Timestamp};

use crate::change::{Change, Changed, Changes};
use crate::engine::{self, Opened, sqlite};
use crate::shared::{Health, Shared};
use crate::writer::{Command, Writer};
use crate::{
    Append, Appended, By, Chunk, ConversationSummary, DeadLetter, DeadLetterId, DeadLetterState, Death, Limits, NewDeadLetter,
    OpenDeadLetter, OpenError, Options, Progress, ReadError, SetAside, Stats, StoredSubscription, Unavailable,
};

/// How many commands may wait for the writer; a sender beyond that waits.
const QUEUE: usize = 8_192;
/// How many reads may wait.
const READS: usize = 256;
/// One long read does not hold up the others.
const READERS: usize = 2;
/// The queue is bounded in units of this many bytes.
const PERMIT_BYTES: usize = 1_024;

/// `None` ends a reader.
type Job = Option<Box<dyn FnOnce(&mut dyn engine::Read) + Send>>;

/// A journal: reads it, and keeps what subscriptions and sources have to remember. Cheap to clone; it closes when
/// [`Journal::close`] is called or the last clone goes. Events are appended by its [`Appender`].
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

/// Appends to a journal. There is one for each journal, so whoever has it knows of every event that is appended.
#[derive(Debug)]
pub struct Appender(Journal);

struct Inner {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    jobs: mpsc::Sender<Job>,
    /// What the queue may still take, in units of [`PERMIT_BYTES`].
    room: Arc<Semaphore>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    aside: Arc<dyn engine::Aside>,
    /// The newest record when the journal was opened.
    opened_at: Offset,
    layout_2_to: Offset,
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
    pub fn open(directory: &Path, options: Options) -> Result<(Self, Appender), OpenError> {
        let ((commands, queue), health) = (mpsc::channel(QUEUE), Arc::<Health>::default());
        let opened = sqlite::open(directory, &options, &health, READERS, ticker(&commands))?;
        let started = Self::start(opened, commands, queue, options, health);
        started.map_err(|error| OpenError::at(directory, &error))
    }

    /// A journal in memory, which is gone with its last clone; its faults are told to it.
    #[cfg(feature = "memory")]
    pub fn in_memory(options: Options) -> (Self, Appender, engine::memory::Faults) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let (opened, faults) = engine::memory::open(&options, READERS, ticker(&commands));
        let started = Self::start(opened, commands, queue, options, Arc::default());
        let (journal, appender) = started.expect("threads can be started");
        (journal, appender, faults)
    }

    /// Starts the threads.
    fn start<W: engine::Write, R: engine::Read>(
        opened: Opened<W, R>,
        commands: mpsc::Sender<Command>,
        queue: mpsc::Receiver<Command>,
        options: Options,
        health: Arc<Health>,
    ) -> Result<(Self, Appender), std::io::Error> {
        let Opened { id, head: opened_at, layout_2_to, writer, readers, aside, thread } = opened;
        let shared = Arc::new(Shared::new(id, opened_at, options, health));
        let writer = Writer::new(writer, Arc::clone(&shared), queue);
        let named = |name: String| std::thread::Builder::new().name(name);
        let mut threads = vec![thread, named("journal-writer".to_owned()).spawn(move || writer.run())?];
        let (jobs, waiting) = mpsc::channel::<Job>(READS);
        let waiting = Arc::new(Mutex::new(waiting));
        for (number, reader) in readers.into_iter().enumerate() {
            let waiting = Arc::clone(&waiting);
            threads.push(named(format!("journal-reader-{number}")).spawn(move || run_jobs(reader, &waiting))?);
        }
        let room = Arc::new(Semaphore::new((shared.options.queue_bytes / PERMIT_BYTES).max(1)));
        let threads = Mutex::new(threads);
        let journal = Self(Arc::new(Inner { shared, commands, jobs, room, threads, aside, opened_at, layout_2_to }));
        Ok((journal.clone(), Appender(journal)))
    }

    /// The identity of the journal.
    pub fn id(&self) -> JournalId {
        self.0.shared.id
    }

    /// Where its time comes from.
    pub fn clock(&self) -> &Clock {
        &self.0.shared.options.clock
    }

    /// Whether appends are taken.
    pub fn status(&self) -> Status {
        self.0.shared.health.problem().map_or(Status::Available, Status::Unavailable)
    }

    /// Makes the figures of the journal visible in `registry`.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.0.shared.metrics.register(registry);
    }

    /// The offset of the newest durable event; 0 when there is none.
    pub fn head(&self) -> Offset {
        *self.0.shared.head.borrow()
    }

    /// The newest event when this process took the journal over: what was owed up to there may have been done by another.
    pub fn opened_at(&self) -> Offset {
        self.0.opened_at
    }

    /// The newest event that a program of layout 2 appended, 0 when there is none. Until there, answers do not say what they
    /// answer, and an identity may stand for events of several conversations.
    pub fn layout_2_to(&self) -> Offset {
        self.0.layout_2_to
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
        let chunk = self.with_reader(move |reader| reader.range(from, head, limits)).await?;
        Ok(self.reported(chunk))
    }

    /// One event; `None` when there is none at this offset, or it is damaged.
    pub async fn event(&self, offset: Offset) -> Result<Option<Arc<Event>>, ReadError> {
        Ok(self.events(&[offset]).await?.pop())
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
        let chunk = self.with_reader(move |reader| reader.at(&older)).await?;
        let mut events = self.reported(chunk).events;
        events.append(&mut newest);
        Ok(events)
    }

    /// The events of somebody from offset `from` on, as many as `limits` allow. There may be more as long as `next` moves.
    pub async fn read_by(&self, by: By<'_>, from: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let (by, head) = (OwnedBy::from(by), self.head());
        let chunk = self.with_reader(move |reader| reader.by(by.borrowed(), from, head, limits)).await?;
        Ok(self.reported(chunk))
    }

    /// The events of a conversation before offset `before`, the newest first, as many as `limits` allow. `next` is the `before` of
    /// the next call, and 0 when there are no more.
    pub async fn conversation_back(&self, name: &str, before: Offset, limits: Limits) -> Result<Chunk, ReadError> {
        let name = name.to_owned();
        let chunk = self.with_reader(move |reader| reader.conversation_back(&name, before, limits)).await?;
        Ok(self.reported(chunk))
    }

    /// The offset that was recorded in a conversation under `identity` within the window.
    pub async fn find(&self, conversation: &str, identity: &str) -> Result<Option<Offset>, ReadError> {
        let (conversation, identity, head) = (conversation.to_owned(), identity.to_owned(), self.head());
        self.with_reader(move |reader| reader.identity(&conversation, &identity, head)).await
    }

    /// The first offset that was appended at `time` or later; one more than the newest when there is none.
    pub async fn offset_at(&self, time: Timestamp) -> Result<Offset, ReadError> {
        self.with_reader(move |reader| reader.offset_at(time)).await
    }

    /// The conversations, those with the newest events first.
    pub async fn conversations(&self, most: usize) -> Result<Vec<ConversationSummary>, ReadError> {
        self.with_reader(move |reader| reader.conversations(most)).await
    }

    /// The journal in figures.
    pub async fn stats(&self) -> Result<Stats, ReadError> {
        self.with_reader(engine::Read::stats).await
    }

    /// All subscriptions that were ever stored.
    pub async fn subscriptions(&self) -> Result<Vec<StoredSubscription>, ReadError> {
        self.with_reader(engine::Read::subscriptions).await
    }

    /// Stores how far a subscription has come.
    pub async fn save_progress(&self, name: &str, progress: Progress) -> Result<(), Unavailable> {
        self.change(Change::Progress { name: name.to_owned(), progress }).await.map(drop)
    }

    /// Names the subscriptions that are configured; all others hold nothing back any longer.
    pub async fn keep_active(&self, names: Vec<String>) -> Result<(), Unavailable> {
        self.change(Change::KeepActive { names }).await.map(drop)
    }

    /// Records dead letters; answers their ids.
    pub async fn add_dead_letters(&self, letters: Vec<NewDeadLetter>) -> Result<Vec<DeadLetterId>, Unavailable> {
        let changed = self.change_all(letters.into_iter().map(Change::AddLetter).collect()).await?;
        Ok(changed.into_iter().filter_map(|changed| if let Changed::Added(id) = changed { Some(id) } else { None }).collect())
    }

    /// Up to `most` dead letters of a subscription, or of all, oldest first.
    pub async fn dead_letters(&self, subscription: Option<String>, most: usize) -> Result<Vec<DeadLetter>, ReadError> {
        self.with_reader(move |reader| reader.dead_letters(subscription.as_deref(), most)).await
    }

    /// All dead letters of a subscription that are held, and up to `replays` of those to be replayed, each in the order of the
    /// journal; without their events.
    pub async fn open_dead_letters(&self, subscription: &str, replays: usize) -> Result<Vec<OpenDeadLetter>, ReadError> {
        let subscription = subscription.to_owned();
        self.with_reader(move |reader| reader.open_dead_letters(&subscription, replays)).await
    }

    /// The events that are dead letters of a subscription although `progress` says that it owes them: they were recorded after
    /// it was stored.
    pub async fn owed_dead_letters(&self, subscription: &str, progress: &Progress) -> Result<HashSet<EventId>, ReadError> {
        let (subscription, progress) = (subscription.to_owned(), progress.clone());
        self.with_reader(move |reader| reader.owed_dead_letters(&subscription, &progress)).await
    }

    /// One dead letter.
    pub async fn dead_letter(&self, id: &DeadLetterId) -> Result<Option<DeadLetter>, ReadError> {
        let id = id.clone();
        self.with_reader(move |reader| reader.dead_letter(&id)).await
    }

    /// Changes where a dead letter stands, with `death` when it died again; answers whether there was one.
    pub async fn set_dead_letter(
        &self,
        id: &DeadLetterId,
        state: DeadLetterState,
        death: Option<Death>,
    ) -> Result<bool, Unavailable> {
        Ok(self.change(Change::SetLetter { id: id.clone(), state, death }).await? == Changed::Found(true))
    }

    /// Removes a dead letter; answers whether there was one.
    pub async fn delete_dead_letter(&self, id: &DeadLetterId) -> Result<bool, Unavailable> {
        Ok(self.change(Change::RemoveLetter { id: id.clone() }).await? == Changed::Found(true))
    }

    /// How far a source was read, in its own words; `None` when it was never kept.
    pub async fn position(&self, source: &str) -> Result<Option<String>, ReadError> {
        let source = source.to_owned();
        self.with_reader(move |reader| reader.position(&source)).await
    }

    /// Keeps how far a source was read.
    pub async fn save_position(&self, source: &str, position: String) -> Result<(), Unavailable> {
        self.change(Change::Position { source: source.to_owned(), position }).await.map(drop)
    }

    /// Keeps what a source gave that is no event: `lines`, each with its newline. When this answers, it is durable.
    ///
    /// # Errors
    ///
    /// When it could not be kept; the text says where, and why.
    pub async fn set_aside(&self, source: &str, lines: String) -> Result<SetAside, String> {
        let (aside, source) = (Arc::clone(&self.0.aside), source.to_owned());
        let added = tokio::task::spawn_blocking(move || aside.add(&source, &lines)).await;
        added.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Writes what is queued, ends the threads and lets other processes in. Later calls answer that the journal is closed.
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

    fn reported(&self, chunk: Chunk) -> Chunk {
        if !chunk.damaged.is_empty() {
            self.0.shared.metrics.damaged.inc_by(chunk.damaged.len() as u64);
            tracing::error!(offsets = ?chunk.damaged, "Records were damaged and left out");
        }
        chunk
    }

    async fn with_reader<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn engine::Read) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Some(Box::new(move |reader| drop(reply.send(job(reader)))));
        self.0.jobs.send(job).await.map_err(|_| ReadError::Closed)?;
        answer.await.map_err(|_| ReadError::Closed)?
    }

    async fn change(&self, change: Change) -> Result<Changed, Unavailable> {
        self.change_all(vec![change]).await?.pop().ok_or_else(Unavailable::lost)
    }

    async fn change_all(&self, list: Vec<Change>) -> Result<Vec<Changed>, Unavailable> {
        let (reply, answer) = oneshot::channel();
        let changes = Changes { list, time: self.clock().now() };
        self.0.commands.send(Command::Change { changes, reply }).await.map_err(|_| Unavailable::closed())?;
        answer.await.map_err(|_| Unavailable::lost())?
    }
}

impl Appender {
    /// The journal that is appended to.
    pub fn journal(&self) -> &Journal {
        &self.0
    }

    /// Whether appends are taken. Those that are not made for it count as refused.
    ///
    /// # Errors
    ///
    /// When they are refused; nothing of them is recorded.
    pub fn admit(&self, appends: usize) -> Result<(), Unavailable> {
        let Status::Unavailable(reason) = self.0.status() else { return Ok(()) };
        self.0.0.shared.metrics.refused.inc_by(appends as u64);
        Err(Unavailable::refused(reason))
    }

    /// Appends some events together. Resolves when they are synced to disk.
    ///
    /// # Errors
    ///
    /// When the journal takes no events at the moment; [`Unavailable::maybe_recorded`] says whether they may be on record all the
    /// same. The future may be dropped: the events are then appended or not.
    pub async fn append(&self, append: Append) -> Result<Appended, Unavailable> {
        self.append_all(vec![append]).await.pop().unwrap_or_else(|| Err(Unavailable::lost()))
    }

    /// Makes several appends, each for itself, and answers each. Resolves when all are synced to disk.
    pub async fn append_all(&self, appends: Vec<Append>) -> Vec<Result<Appended, Unavailable>> {
        self.queue(appends).await.answers().await
    }

    /// Puts several appends in the queue of the writer, each for itself. As long as this waits for room there, dropping it takes
    /// them back; once it is done, they will be tried whatever becomes of the caller.
    pub async fn queue(&self, appends: Vec<Append>) -> Queued {
        let (count, inner) = (appends.len(), &*self.0.0);
        let bytes: usize = appends.iter().map(Append::bytes).sum();
        let most = inner.shared.options.queue_bytes / PERMIT_BYTES;
        let permits = u32::try_from((bytes / PERMIT_BYTES + 1).min(most.max(1))).unwrap_or(u32::MAX);
        let room = Arc::clone(&inner.room).acquire_many_owned(permits).await;
        let Ok(room) = room else { return Queued { count, answer: None } };
        let (reply, answer) = oneshot::channel();
        let sent = inner.commands.send(Command::Append { appends, reply, room }).await;
        Queued { count, answer: sent.is_ok().then_some(answer) }
    }
}

/// Appends in the queue of the writer.
#[derive(Debug)]
pub struct Queued {
    count: usize,
    /// `None`: the journal was closed before.
    answer: Option<oneshot::Receiver<Vec<Result<Appended, Unavailable>>>>,
}

impl Queued {
    /// The answer to each. Resolves when all are synced to disk.
    pub async fn answers(self) -> Vec<Result<Appended, Unavailable>> {
        let Self { count, answer } = self;
        let none = |error: Unavailable| vec![Err(error); count];
        match answer {
            Some(answer) => answer.await.unwrap_or_else(|_| none(Unavailable::lost())),
            None => none(Unavailable::closed()),
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Wakes the writer.
fn ticker(commands: &mpsc::Sender<Command>) -> impl Fn() + Send + 'static {
    let commands = commands.downgrade();
    move || {
        // A full queue means that the writer is busy, and a missed tick is made up for by the next.
        commands.upgrade().map(|commands| commands.try_send(Command::Tick));
    }
}

fn run_jobs(mut reader: impl engine::Read, waiting: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Some(job)) = job else { return };
        job(&mut reader);
    }
}

/// A [`By`] that travels to a reader.
enum OwnedBy {
    Conversation(String),
    User(String),
    Session(String),
}

impl From<By<'_>> for OwnedBy {
    fn from(by: By<'_>) -> Self {
        match by {
            By::Conversation(name) => Self::Conversation(name.to_owned()),
            By::User(name) => Self::User(name.to_owned()),
            By::Session(name) => Self::Session(name.to_owned()),
        }
    }
}

impl OwnedBy {
    fn borrowed(&self) -> By<'_> {
        match self {
            Self::Conversation(name) => By::Conversation(name),
            Self::User(name) => By::User(name),
            Self::Session(name) => By::Session(name),
        }
    }
}
