//! The adapter: from batches to calls of the script.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use redis::{RedisError, cmd};
use tokio::sync::Mutex;
use trunkline_core::{Batch, Broker, CursorKey, Event, Offset, Outcome, Place};

use super::address::{Address, Connection, RESPONSE_TIMEOUT};
use super::cursor;
use super::keys::Keys;
use super::script::{AddScript, Entries, Fault, Mode, Reply};
use super::{End, Structure};
use crate::cursor::{Known, new_writer};

/// How large an argument a server takes when it does not say otherwise.
const LARGEST: usize = 512 << 20;

/// Of an event that was kept back.
pub(super) const BEHIND: &str = "not tried, because an event before it was not published";

/// Adds events to streams or lists. See the [module](crate::redis) for what it promises.
pub struct RedisBroker {
    pub(super) settings: RedisSettings,
    pub(super) script: AddScript,
    /// This run of this adapter, as it signs cursors.
    pub(super) writer: String,
    state: Mutex<RedisSession>,
}

/// What was configured.
#[derive(Debug)]
pub(super) struct RedisSettings {
    pub(super) address: Address,
    pub(super) structure: Structure,
    pub(super) end: End,
    pub(super) keys: Keys,
    /// On a cluster, the hash tag that all keys have in common.
    pub(super) tag: Option<String>,
    pub(super) max_length: Option<u64>,
}

/// What calls leave to those that follow.
#[derive(Default)]
pub(super) struct RedisSession {
    link: Option<Link>,
    /// The cursor as we saw it last.
    pub(super) known: Option<(CursorKey, Known)>,
    /// The `timestamp` of the first event that this run published.
    pub(super) since: Option<String>,
}

/// A connection that works.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: Connection,
    /// The longest argument that the server takes, in bytes.
    pub(super) largest: usize,
}

impl RedisBroker {
    pub(super) fn new(settings: RedisSettings) -> Self {
        let script = AddScript::new(settings.structure, settings.end, settings.max_length);
        Self { settings, script, writer: new_writer(), state: Mutex::default() }
    }

    /// The key of the cursor; `None` on a cluster whose slots the keys are spread over.
    fn cursor_key(&self, cursor: &CursorKey) -> Option<String> {
        match (&self.settings.tag, self.settings.address.is_cluster) {
            (None, true) => None,
            (tag, _) => Some(cursor::key(cursor, tag.as_deref())),
        }
    }

    async fn link(&self) -> Result<Link, String> {
        let mut connection = self.settings.address.connect(RESPONSE_TIMEOUT).await?;
        // Not every user may ask this. Then a message that is too large breaks the connection, and is tried again.
        let mut ask = cmd("CONFIG");
        let answer: Result<Vec<String>, RedisError> = ask.arg("GET").arg("proto-max-bulk-len").query_async(&mut connection).await;
        let largest = answer.ok().and_then(|answer| answer.get(1)?.parse().ok()).unwrap_or(LARGEST);
        Ok(Link { connection, largest })
    }

    /// Works on a connection. After an error it is made anew, because nobody knows what is left in it, and because the name of the
    /// server may lead elsewhere by now. So it is when the work is dropped on the way: perhaps nothing comes through any more.
    async fn linked<T>(
        &self,
        state: &mut RedisSession,
        work: impl AsyncFnOnce(&mut RedisSession, &mut Link) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut link = match state.link.take() {
            Some(link) => link,
            None => self.link().await?,
        };
        let result = work(state, &mut link).await?;
        state.link = Some(link);
        Ok(result)
    }

    pub(super) async fn add(
        &self,
        link: &mut Link,
        mode: Mode<'_>,
        batch: &Batch,
        entries: &Entries,
        events: &[Arc<Event>],
    ) -> Result<Reply, String> {
        let event = |index: usize| events.get(index).map(|event| &**event);
        let reply = self.script.run(&mut link.connection, mode, batch.export.as_deref(), entries, event).await;
        reply.map_err(|error| self.settings.address.explain(&error))
    }

    pub(super) fn fault(&self, entries: &Entries, fault: Fault) -> String {
        match fault {
            Fault::WrongType(number, found) => self.wrong_type(entries.key(number), &found),
            Fault::Other(text) => format!("{} did not take the event: {text}", self.settings.address.place),
        }
    }

    pub(super) fn wrong_type(&self, key: &str, found: &str) -> String {
        let (place, expected) = (&self.settings.address.place, self.settings.structure.name());
        format!(
            "the key `{key}` of {place} is a {found}, and a {expected} is expected; set another `key`, or delete it if nobody needs it"
        )
    }

    pub(super) fn too_large(&self, event: &Event, largest: usize) -> Outcome {
        let (length, place) = (event.body.len(), &self.settings.address.place);
        Outcome::Reject {
            reason: format!("the event has {length} bytes, and {place} takes {largest} at the most (`proto-max-bulk-len`)"),
        }
    }
}

#[async_trait]
impl Broker for RedisBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let mut state = self.state.lock().await;
        let key = self.cursor_key(&batch.cursor);
        let result = self
            .linked(&mut state, async |state, link| match (&key, batch.next) {
                (Some(key), Some(next)) => self.publish_once(state, link, key, batch, next).await,
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
        let mut connection = self.settings.address.connect(RESPONSE_TIMEOUT).await?;
        self.check(&mut connection).await
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        let Some(key) = self.cursor_key(cursor) else { return Ok(None) };
        let mut state = self.state.lock().await;
        self.linked(&mut state, async |state, link| {
            let known = Known::first(self.stored(link, &key).await?, &self.writer);
            let position = known.position();
            state.known = Some((cursor.clone(), known));
            Ok(position)
        })
        .await
    }

    async fn close(&self) {
        self.state.lock().await.link = None;
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        let key = self.settings.keys.otherwise.constant().filter(|_| self.settings.structure == Structure::List)?;
        Some(self.settings.structure.place(key, &self.settings.address.place).into())
    }
}

impl fmt::Debug for RedisBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBroker").field("settings", &self.settings).finish_non_exhaustive()
    }
}
