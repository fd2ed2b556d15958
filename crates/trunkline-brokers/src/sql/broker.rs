//! The adapter for servers: from calls to transactions, exactly once.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::{debug, info};
use trunkline_core::{Batch, Broker, CursorKey, Offset, Outcome};

use super::TABLE;
use super::connect::{Purpose, connect};
use super::server::Server;
use super::session::{Appended, Failure, Refused, Session};

/// The longest that a call takes. Shorter than what the delivery waits, so that its reason is heard.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// How often the cursor may turn out to stand elsewhere within one call. Once or twice after an attempt whose end was not
/// seen; more often, somebody else is moving it.
const MOST_SURPRISES: usize = 4;

/// Inserts events into a table of PostgreSQL, MySQL or MariaDB. See the [module](crate::sql) for what it promises.
#[derive(Debug)]
pub struct ServerBroker {
    server: Server,
    state: Mutex<State>,
}

/// What the calls work on.
#[derive(Default)]
struct State {
    session: Option<Box<dyn Session>>,
    cursors: HashMap<CursorKey, Cursor>,
}

/// Where a cursor stood when it was last seen.
#[derive(Clone, Copy, Debug)]
struct Cursor {
    at: Option<Offset>,
    /// Whether an attempt of ours put it there, so that all events below it are in the table. What an earlier process stored
    /// does not count: `position` answers that, and a caller that knowingly starts before it, with a journal restored from a
    /// backup, must not have its events swallowed.
    is_ours: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("is_connected", &self.session.is_some())
            .field("cursors", &self.cursors)
            .finish_non_exhaustive()
    }
}

impl ServerBroker {
    /// A broker that writes into the database of `server`. The first call connects.
    pub(super) fn new(server: Server) -> Self {
        Self { server, state: Mutex::default() }
    }

    /// Lets `work` use the state, for so long at the most.
    async fn call<T>(&self, work: impl AsyncFnOnce(&mut State, &Server) -> Result<T, String>) -> Result<T, String> {
        let call = async {
            let mut state = self.state.lock().await;
            work(&mut state, &self.server).await
        };
        let limit = CALL_TIMEOUT.as_secs();
        let late = |_| Err(format!("{} did not answer within {limit} s", self.server));
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
    }
}

#[async_trait]
impl Broker for ServerBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let result = self.call(async |state, server| state.publish(server, batch).await).await;
        result.unwrap_or_else(|reason| Outcome::retry(reason).all(batch.events.len()))
    }

    /// Whether we come in, the table is right or could be created, and a transaction that inserts nothing succeeds.
    async fn is_ready(&self) -> Result<(), String> {
        let check = async {
            let mut session = connect(&self.server, Purpose::Check).await.map_err(|failure| failure.reason)?;
            session.rehearse().await.map_err(|failure| failure.reason)
        };
        let late = |_| Err(format!("{} did not answer within {} s", self.server, CALL_TIMEOUT.as_secs()));
        tokio::time::timeout(CALL_TIMEOUT, check).await.unwrap_or_else(late)
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        self.call(async |state, server| state.position(server, cursor).await).await
    }

    async fn close(&self) {
        self.state.lock().await.session = None;
    }

    fn writes_without_ids_to(&self) -> Option<String> {
        Some(self.server.table(TABLE))
    }
}

impl State {
    async fn publish(&mut self, server: &Server, batch: &Batch) -> Result<Vec<Outcome>, String> {
        loop {
            let (mut session, is_old) = self.take(server).await?;
            let result = if let Some(next) = batch.next {
                self.append(&mut *session, batch, next).await
            } else {
                let passes = batch.export.is_none().then_some(&batch.cursor);
                session.replay(&batch.events, passes).await.map(|refused| outcomes(batch, 0, refused))
            };
            match result {
                Ok(outcomes) => {
                    self.session = Some(session);
                    return Ok(outcomes);
                }
                Err(failure) if failure.is_lost && is_old => debug!(reason = failure.reason, "Connection was lost"),
                Err(failure) => return Err(failure.reason),
            }
        }
    }

    async fn position(&mut self, server: &Server, key: &CursorKey) -> Result<Option<Offset>, String> {
        loop {
            let (mut session, is_old) = self.take(server).await?;
            match session.cursor(key).await {
                Ok(at) => {
                    self.session = Some(session);
                    self.see(key, at);
                    return Ok(at);
                }
                Err(failure) if failure.is_lost && is_old => debug!(reason = failure.reason, "Connection was lost"),
                Err(failure) => return Err(failure.reason),
            }
        }
    }

    /// The connection, and whether it was there before. While it is out, a call that is given up takes it along: nobody must
    /// read the answers to another's statements.
    async fn take(&mut self, server: &Server) -> Result<(Box<dyn Session>, bool), String> {
        if let Some(session) = self.session.take() {
            return Ok((session, true));
        }
        let session = connect(server, Purpose::Write).await.map_err(|failure| failure.reason)?;
        Ok((session, false))
    }

    async fn append(&mut self, session: &mut dyn Session, batch: &Batch, next: Offset) -> Result<Vec<Outcome>, Failure> {
        let key = &batch.cursor;
        for _ in 0..MOST_SURPRISES {
            let cursor = match self.cursors.get(key) {
                Some(cursor) => *cursor,
                None => self.see(key, session.cursor(key).await?),
            };
            let there = cursor.events_already_there(batch);
            let fresh = batch.events.get(there..).unwrap_or_default();
            let Some(first) = fresh.first() else { return Ok(outcomes(batch, there, None)) };
            if let Some(at) = cursor.at.filter(|at| *at > first.offset) {
                // From here on it only ever moves forward, and what is below it is there.
                info!(subscription = %key.subscription, at, to = first.offset, "Cursor in the database was moved back");
                session.rewind(key, at, first.offset).await?;
                self.see(key, session.cursor(key).await?);
                continue;
            }
            let (to, refused) = match session.append(fresh, key, cursor.at, next).await? {
                Appended::Done => (next, None),
                Appended::Refused(refused) => (refused.offset, Some(refused)),
                Appended::CursorMoved => {
                    let cursor = self.see(key, session.cursor(key).await?);
                    debug!(subscription = %key.subscription, ?cursor, "Cursor had moved");
                    continue;
                }
            };
            self.cursors.insert(key.clone(), Cursor { at: Some(to), is_ours: true });
            return Ok(outcomes(batch, there, refused));
        }
        Err(Failure::new(format!(
            "the cursor of the subscription `{}` is being moved by somebody else; is a second gateway running with a copy of the \
             same journal?",
            key.subscription
        )))
    }

    /// Takes note of where the cursor stands. It moves forward without our having seen it when an attempt succeeded whose end
    /// was not seen, of this process or of the one before.
    fn see(&mut self, key: &CursorKey, at: Option<Offset>) -> Cursor {
        let seen = match self.cursors.get(key) {
            Some(before) if before.at == at => *before,
            Some(before) => Cursor { at, is_ours: at > before.at },
            None => Cursor { at, is_ours: false },
        };
        self.cursors.insert(key.clone(), seen);
        seen
    }
}

impl Cursor {
    /// How many events at the head of `batch` are in the table already.
    fn events_already_there(self, batch: &Batch) -> usize {
        match self.at {
            Some(at) if self.is_ours => batch.events.iter().take_while(|event| event.offset < at).count(),
            _ => 0,
        }
    }
}

/// One outcome per event, when those behind the first `there` were tried up to `refused`.
fn outcomes(batch: &Batch, there: usize, refused: Option<Refused>) -> Vec<Outcome> {
    let count = batch.events.len();
    let Some(refused) = refused else { return Outcome::Delivered.all(count) };
    let mut outcomes = Outcome::Delivered.all(there + refused.index);
    outcomes.push(Outcome::Reject { reason: refused.reason });
    outcomes.resize(count, Outcome::retry("not tried, because an event before it was refused"));
    outcomes
}
