//! The adapter: from batches to calls of the script.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{RedisError, cmd};
use tokio::sync::Mutex;
use tracing::error;
use trunkline_core::{Batch, Broker, CursorKey, Event, Offset, Outcome};
use uuid::Uuid;

use super::address::{Address, Connection, RESPONSE_TIMEOUT};
use super::cursor::{self, Moved, Stored};
use super::keys::{Keys, hash_tag};
use super::script::{AddScript, Entries, Fault, Mode, Reply};
use super::{End, Structure};

/// How large an argument a server takes when it does not say otherwise.
const LARGEST: usize = 512 << 20;

/// How often the cursor may turn out to have moved while one batch is published: each time another attempt came first.
const MOST_MOVES: u32 = 3;

const BEHIND: &str = "not tried, because an event before it was not published";

/// Adds events to streams or lists. See the [module](crate::redis) for what it promises.
pub struct RedisBroker {
    plan: Plan,
    script: AddScript,
    /// This run of this adapter, as it signs cursors.
    writer: String,
    state: Mutex<State>,
}

/// What was configured.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) address: Address,
    pub(super) structure: Structure,
    pub(super) end: End,
    pub(super) keys: Keys,
    /// On a cluster, the hash tag that all keys have in common.
    pub(super) tag: Option<String>,
    pub(super) max_length: Option<u64>,
}

#[derive(Default)]
struct State {
    link: Option<Link>,
    /// The cursor as we saw it last.
    known: Option<(CursorKey, Stored)>,
}

#[derive(Clone)]
struct Link {
    connection: Connection,
    /// The longest argument that the server takes, in bytes.
    largest: usize,
}

/// How many events of a batch were published, and why not the next one.
type Stopped = Option<(usize, Outcome)>;

impl RedisBroker {
    pub(super) fn new(plan: Plan) -> Self {
        let script = AddScript::new(plan.structure, plan.end, plan.max_length);
        Self { plan, script, writer: Uuid::new_v4().simple().to_string(), state: Mutex::default() }
    }

    /// The key of the cursor; `None` on a cluster whose slots the keys are spread over.
    fn cursor_key(&self, cursor: &CursorKey) -> Option<String> {
        match (&self.plan.tag, self.plan.address.is_cluster) {
            (None, true) => None,
            (tag, _) => Some(cursor::key(cursor, tag.as_deref())),
        }
    }

    async fn link(&self) -> Result<Link, String> {
        let mut connection = self.plan.address.connect(RESPONSE_TIMEOUT).await?;
        // Not every user may ask this. Then a message that is too large breaks the connection, and is tried again.
        let mut ask = cmd("CONFIG");
        let answer: Result<Vec<String>, RedisError> = ask.arg("GET").arg("proto-max-bulk-len").query_async(&mut connection).await;
        let largest = answer.ok().and_then(|answer| answer.get(1)?.parse().ok()).unwrap_or(LARGEST);
        Ok(Link { connection, largest })
    }

    /// Works on a connection. After an error it is made anew, because nobody knows what is left in it, and because the name of the
    /// server may lead elsewhere by now.
    async fn linked<T>(
        &self,
        state: &mut State,
        work: impl AsyncFnOnce(&mut State, &mut Link) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut link = match state.link.take() {
            Some(link) => link,
            None => self.link().await?,
        };
        // Put back before the work, which may be dropped on the way: what it sent last comes first on this connection.
        state.link = Some(link.clone());
        let result = work(state, &mut link).await;
        if result.is_err() {
            state.link = None;
        }
        result
    }

    async fn stored(&self, link: &mut Link, key: &str) -> Result<Stored, String> {
        let text =
            cmd("GET").arg(key).query_async(&mut link.connection).await.map_err(|error| self.plan.address.explain(&error))?;
        Stored::parse(text).map_err(|what| {
            let place = &self.plan.address.place;
            format!("the key `{key}` of {place} should hold our cursor, but {what}; find out who wrote it, and delete it")
        })
    }

    /// Publishes `events` with the cursor, each once, up to the first that cannot be published.
    async fn publish_once(
        &self,
        state: &mut State,
        link: &mut Link,
        key: &str,
        batch: &Batch,
        next: Offset,
    ) -> Result<Stopped, String> {
        let too_large = batch.events.iter().position(|event| event.body.len() > link.largest);
        let (events, next) = match too_large {
            Some(index) => {
                (batch.events.get(..index).unwrap_or_default(), batch.events.get(index).map_or(next, |event| event.offset))
            }
            None => (&batch.events[..], next),
        };
        let refused = too_large.map(|index| (index, self.too_large(&batch.events, index, link.largest)));
        let mut known = match state.known.take() {
            Some((cursor, stored)) if cursor == batch.cursor => stored,
            _ => self.stored(link, key).await?,
        };
        let count_below = |next: Offset| events.iter().take_while(|event| event.offset < next).count();
        let mut there = count_below(known.done_by(&self.writer));
        for _ in 0..MOST_MOVES {
            state.known = Some((batch.cursor.clone(), known.clone()));
            let fresh = events.get(there..).unwrap_or_default();
            if fresh.is_empty() {
                return Ok(refused);
            }
            let entries = self.entries(fresh.iter().enumerate());
            let mode = Mode::Exact { cursor: key, expected: known.as_str(), next, writer: &self.writer };
            match self.add(link, mode, batch, &entries, fresh).await? {
                Reply::Done => {
                    state.known = Some((batch.cursor.clone(), Stored::new(next, &self.writer)));
                    return Ok(refused);
                }
                Reply::Stopped(count, fault) => {
                    let index = entries.iter().nth(count).map_or(0, |(event, _)| event);
                    let offset = fresh.get(index).map_or(next, |event| event.offset);
                    state.known = Some((batch.cursor.clone(), Stored::new(offset, &self.writer)));
                    return Ok(Some((there + index, Outcome::retry(self.fault(&entries, fault)))));
                }
                Reply::Moved(found) => {
                    let found = Stored::parse(Some(found))?;
                    self.notice(&known, &found, key)?;
                    there = count_below(found.position().unwrap_or_default());
                    known = found;
                }
            }
        }
        Err(format!("the cursor `{key}` of {} moves all the time; does another gateway use it?", self.plan.address.place))
    }

    /// Says what it means that the cursor is not where we left it, and stops when somebody else moves it.
    fn notice(&self, known: &Stored, found: &Stored, key: &str) -> Result<(), String> {
        let place = &self.plan.address.place;
        match known.compare(found, &self.writer) {
            Moved::Forward => Ok(()),
            Moved::Back => {
                let (known, found) = (known.position(), found.position());
                error!(place, cursor = key, known, found, "Redis lost events that it had confirmed; export that range again");
                Ok(())
            }
            Moved::ByAnother => Err(format!(
                "another gateway with a copy of this journal publishes to {place} (cursor `{key}`); stop one of them, or give the \
                 broker another `name` there, and start this one anew"
            )),
        }
    }

    /// Publishes without a cursor of ours, or past it. Conversations go on beside one that cannot.
    ///
    /// On a cluster a call reaches one slot. Calls of different slots run at the same time, so a conversation is in one of them
    /// only: what goes elsewhere waits for the next round.
    async fn publish_freely(&self, link: &mut Link, key: Option<&str>, batch: &Batch) -> Vec<Outcome> {
        let mode = match key {
            Some(cursor) => Mode::Replay { cursor, writer: &self.writer },
            None => Mode::Plain,
        };
        let mut outcomes = Outcomes::new(&batch.events);
        for (index, _) in batch.events.iter().enumerate().filter(|(_, event)| event.body.len() > link.largest) {
            outcomes.fail(index, self.too_large(&batch.events, index, link.largest));
        }
        let mut todo: Vec<(usize, String)> = batch
            .events
            .iter()
            .enumerate()
            .flat_map(|(index, event)| self.plan.keys.of(event).into_iter().map(move |key| (index, key)))
            .collect();
        loop {
            todo.retain(|(event, _)| outcomes.is_open(*event));
            if todo.is_empty() {
                return outcomes.finish();
            }
            let (groups, later) = self.split(todo, &batch.events);
            let calls = groups.iter().map(|entries| {
                let mut link = link.clone();
                async move { self.add(&mut link, mode, batch, entries, &batch.events).await }
            });
            let replies = join_all(calls).await;
            todo = later;
            for (entries, reply) in groups.iter().zip(replies) {
                match reply {
                    // Nothing moves what is not compared.
                    Ok(Reply::Done | Reply::Moved(_)) => {}
                    Ok(Reply::Stopped(count, fault)) => {
                        let index = entries.iter().nth(count).map_or(0, |(event, _)| event);
                        outcomes.fail(index, Outcome::retry(self.fault(entries, fault)));
                        todo.extend(entries.iter().skip(count + 1).map(|(event, key)| (event, key.to_owned())));
                    }
                    Err(reason) => entries.iter().for_each(|(event, _)| outcomes.fail(event, Outcome::retry(reason.clone()))),
                }
            }
            todo.sort_by_key(|(event, _)| *event);
        }
    }

    /// One group per slot, and what has to wait for the next round.
    fn split(&self, todo: Vec<(usize, String)>, events: &[Arc<Event>]) -> (Vec<Entries>, Vec<(usize, String)>) {
        let mut groups: BTreeMap<String, Entries> = BTreeMap::new();
        let mut places: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut later = Vec::new();
        for (index, key) in todo {
            let slot = if self.plan.address.is_cluster { hash_tag(&key).to_owned() } else { String::new() };
            let conversation = events.get(index).map_or("", |event| event.conversation.as_str());
            let place = places.entry(conversation).or_insert_with(|| Some(slot.clone()));
            if place.as_ref() == Some(&slot) {
                groups.entry(slot).or_default().push(index, key);
            } else {
                *place = None;
                later.push((index, key));
            }
        }
        (groups.into_values().collect(), later)
    }

    fn entries<'e>(&self, events: impl Iterator<Item = (usize, &'e Arc<Event>)>) -> Entries {
        let mut entries = Entries::default();
        for (index, event) in events {
            for key in self.plan.keys.of(event) {
                entries.push(index, key);
            }
        }
        entries
    }

    async fn add(
        &self,
        link: &mut Link,
        mode: Mode<'_>,
        batch: &Batch,
        entries: &Entries,
        events: &[Arc<Event>],
    ) -> Result<Reply, String> {
        let event = |index: usize| events.get(index).map(|event| &**event);
        let reply = self.script.run(&mut link.connection, mode, batch.export.as_deref(), entries, event).await;
        reply.map_err(|error| self.plan.address.explain(&error))
    }

    fn fault(&self, entries: &Entries, fault: Fault) -> String {
        match fault {
            Fault::WrongType(number, found) => self.wrong_type(entries.key(number), &found),
            Fault::Other(text) => format!("{} did not take the event: {text}", self.plan.address.place),
        }
    }

    fn wrong_type(&self, key: &str, found: &str) -> String {
        let (place, expected) = (&self.plan.address.place, self.plan.structure.name());
        format!(
            "the key `{key}` of {place} is a {found}, and a {expected} is expected; set another `key`, or delete it if nobody needs it"
        )
    }

    fn too_large(&self, events: &[Arc<Event>], index: usize, largest: usize) -> Outcome {
        let length = events.get(index).map_or(0, |event| event.body.len());
        let place = &self.plan.address.place;
        Outcome::Reject {
            reason: format!("the event has {length} bytes, and {place} takes {largest} at the most (`proto-max-bulk-len`)"),
        }
    }

    async fn check(&self, connection: &mut Connection) -> Result<(), String> {
        let explain = |error: RedisError| self.plan.address.explain(&error);
        self.check_kind_of_server(connection).await?;
        self.script.load(connection).await.map_err(explain)?;
        // Creates nothing, and is refused where a write would be: on a replica, without memory, without permission.
        let probe = match &self.plan.tag {
            Some(tag) => format!("trunkline:cursor:{{{tag}}}:ready"),
            None => "trunkline:cursor:ready".to_owned(),
        };
        let (): () = cmd("SETRANGE").arg(probe).arg(0).arg("").query_async(connection).await.map_err(explain)?;
        for key in self.plan.keys.constants() {
            let found: String = cmd("TYPE").arg(key).query_async(connection).await.map_err(explain)?;
            if found != "none" && found != self.plan.structure.name() {
                return Err(self.wrong_type(key, &found));
            }
            // Takes nothing away.
            let mut trim = match self.plan.structure {
                Structure::Stream => cmd("XTRIM"),
                Structure::List => cmd("LTRIM"),
            };
            match self.plan.structure {
                Structure::Stream => trim.arg(key).arg("MAXLEN").arg(i64::MAX),
                Structure::List => trim.arg(key).arg(0).arg(-1),
            };
            let (): () = trim.query_async(connection).await.map_err(explain)?;
        }
        Ok(())
    }

    /// A node of a cluster answers like any server until a key belongs to another node.
    async fn check_kind_of_server(&self, connection: &mut Connection) -> Result<(), String> {
        if self.plan.address.is_cluster {
            return Ok(());
        }
        // Not every user may ask.
        let answer: Result<String, RedisError> = cmd("INFO").arg("cluster").query_async(connection).await;
        if answer.is_ok_and(|info| info.contains("cluster_enabled:1")) {
            return Err(format!("{} is a node of a cluster; set `cluster: true`", self.plan.address.place));
        }
        Ok(())
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let mut state = self.state.lock().await;
        let key = self.cursor_key(&batch.cursor);
        let result = self
            .linked(&mut state, async |state, link| match (&key, batch.next) {
                (Some(key), Some(next)) => {
                    let stopped = self.publish_once(state, link, key, batch, next).await?;
                    let Some((count, outcome)) = stopped else { return Ok(Outcome::Delivered.all(batch.events.len())) };
                    let mut outcomes = Outcome::Delivered.all(count);
                    outcomes.push(outcome);
                    outcomes.resize(batch.events.len(), Outcome::retry(BEHIND));
                    Ok(outcomes)
                }
                _ => Ok(self.publish_freely(link, key.as_deref(), batch).await),
            })
            .await;
        let outcomes = result.unwrap_or_else(|reason| Outcome::retry(reason).all(batch.events.len()));
        if outcomes.iter().any(|outcome| matches!(outcome, Outcome::Retry { .. })) {
            state.link = None;
        }
        outcomes
    }

    /// Whether the server can be reached, lets us write, and has nothing else under the keys that are known. On a connection of its
    /// own; nothing is created or changed.
    async fn is_ready(&self) -> Result<(), String> {
        let mut connection = self.plan.address.connect(RESPONSE_TIMEOUT).await?;
        self.check(&mut connection).await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let Some(key) = self.cursor_key(cursor) else { return Ok(None) };
        let mut state = self.state.lock().await;
        self.linked(&mut state, async |state, link| {
            let stored = self.stored(link, &key).await?;
            let position = stored.position();
            state.known = Some((cursor.clone(), stored));
            Ok(position)
        })
        .await
    }

    async fn close(&self) {
        self.state.lock().await.link = None;
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What became of the events of a batch so far: delivered, unless something else is known.
struct Outcomes<'b> {
    events: &'b [Arc<Event>],
    outcomes: Vec<Outcome>,
}

impl<'b> Outcomes<'b> {
    fn new(events: &'b [Arc<Event>]) -> Self {
        Self { events, outcomes: Outcome::Delivered.all(events.len()) }
    }

    /// Sets the outcome of an event, unless it failed before, and keeps back what is behind it in its conversation.
    fn fail(&mut self, index: usize, outcome: Outcome) {
        let Some(failed) = self.events.get(index).filter(|_| self.is_open(index)) else { return };
        let behind = self.events.iter().zip(&mut self.outcomes).skip(index);
        behind
            .filter(|(event, _)| event.conversation == failed.conversation)
            .for_each(|(_, kept_back)| *kept_back = Outcome::retry(BEHIND));
        if let Some(its_own) = self.outcomes.get_mut(index) {
            *its_own = outcome;
        }
    }

    /// Whether the event may still be published.
    fn is_open(&self, index: usize) -> bool {
        self.outcomes.get(index) == Some(&Outcome::Delivered)
    }

    fn finish(self) -> Vec<Outcome> {
        self.outcomes
    }
}
