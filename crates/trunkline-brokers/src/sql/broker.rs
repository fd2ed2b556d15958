//! The adapter for servers: from calls to transactions, exactly once.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::debug;
use trunkline_core::{Batch, Broker, CursorKey, LastTrouble, Offset, Outcome, Place};

use super::connect::{Purpose, connect};
use super::cursors::{behind, moved_by_another, report_gone};
use super::refused::{Refused, outcomes};
use super::server::Server;
use super::session::{Appended, Failure, Session};
use super::shape::Table;
use crate::cursor::{Astray, Cursor, Known, new_writer};

/// The longest that a call takes. Shorter than what the delivery waits, so that its reason is heard.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(45);

/// How often the cursor may turn out to stand elsewhere within one call. Once or twice after an attempt whose end was not
/// seen; more often, somebody else is moving it.
const MOST_SURPRISES: usize = 4;

/// Inserts events into a table of PostgreSQL, MySQL or MariaDB. See the [module](crate::sql) for what it promises.
#[derive(Debug)]
pub struct ServerBroker {
    server: Server,
    state: Mutex<ServerWriter>,
    /// What there was too little of for the last batch. Only the next shows whether that is over.
    shortage: LastTrouble,
}

/// What the calls work on.
struct ServerWriter {
    session: Option<Box<dyn Session>>,
    /// This run of this adapter, as it signs cursors.
    writer: String,
    cursors: HashMap<CursorKey, Known>,
}

impl fmt::Debug for ServerWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerWriter")
            .field("is_connected", &self.session.is_some())
            .field("cursors", &self.cursors)
            .finish_non_exhaustive()
    }
}

impl ServerBroker {
    /// A broker that writes into the database of `server`. The first call connects.
    pub(super) fn new(server: Server) -> Self {
        let state = ServerWriter { session: None, writer: new_writer(), cursors: HashMap::new() };
        Self { server, state: Mutex::new(state), shortage: LastTrouble::default() }
    }

    /// Lets `work` use the state, for so long at the most.
    async fn call<T>(&self, work: impl AsyncFnOnce(&mut ServerWriter, &Server) -> Result<T, Failure>) -> Result<T, Failure> {
        let call = async {
            let mut state = self.state.lock().await;
            work(&mut state, &self.server).await
        };
        tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> Failure {
        Failure::new(format!("{} did not answer within {} s", self.server, CALL_TIMEOUT.as_secs()))
    }
}

#[async_trait]
impl Broker for ServerBroker {
    async fn publish(&self, batch: &Batch) -> Vec<Outcome> {
        let result = self.call(async |state, server| state.publish(server, batch).await).await;
        self.shortage.set(result.as_ref().err().filter(|failure| failure.is_shortage).map(|failure| failure.reason.clone()));
        result.unwrap_or_else(|failure| Outcome::retry(failure.reason).all(batch.events.len()))
    }

    /// Whether we come in, the table is right or could be created, a transaction that inserts nothing succeeds, and the last that
    /// inserted something did not want for space.
    async fn is_ready(&self) -> Result<(), String> {
        let check = async {
            let mut session = connect(&self.server, Purpose::Check).await?;
            session.rehearse().await
        };
        let checked = tokio::time::timeout(CALL_TIMEOUT, check).await.unwrap_or_else(|_| Err(self.late()));
        checked.map_err(|failure| failure.reason)?;
        self.shortage.is_over()
    }

    async fn position(&self, cursor: &CursorKey) -> Result<Option<Offset>, String> {
        self.call(async |state, server| state.position(server, cursor).await).await.map_err(|failure| failure.reason)
    }

    async fn close(&self) {
        self.state.lock().await.session = None;
    }

    fn writes_without_ids_to(&self) -> Option<Place> {
        Some(self.server.table(Table::Events.name()).into())
    }
}

impl ServerWriter {
    async fn publish(&mut self, server: &Server, batch: &Batch) -> Result<Vec<Outcome>, Failure> {
        loop {
            let (mut session, is_old) = self.take(server).await?;
            let result = if let Some(next) = batch.next {
                self.append(server, &mut *session, batch, next).await
            } else {
                self.replay(server, &mut *session, batch).await
            };
            match result {
                Ok(outcomes) => {
                    self.session = Some(session);
                    return Ok(outcomes);
                }
                Err(failure) if failure.is_lost && is_old => debug!(reason = failure.reason, "Connection was lost"),
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn position(&mut self, server: &Server, key: &CursorKey) -> Result<Option<Offset>, Failure> {
        loop {
            let (mut session, is_old) = self.take(server).await?;
            match session.cursor(key).await {
                Ok(found) => {
                    self.session = Some(session);
                    let known = Known::first(found, &self.writer);
                    let position = known.position();
                    self.cursors.insert(key.clone(), known);
                    return Ok(position);
                }
                Err(failure) if failure.is_lost && is_old => debug!(reason = failure.reason, "Connection was lost"),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The connection, and whether it was there before. While it is out, a call that is given up takes it along: nobody must
    /// read the answers to another's statements.
    async fn take(&mut self, server: &Server) -> Result<(Box<dyn Session>, bool), Failure> {
        if let Some(session) = self.session.take() {
            return Ok((session, true));
        }
        Ok((connect(server, Purpose::Write).await?, false))
    }

    async fn append(
        &mut self,
        server: &Server,
        session: &mut dyn Session,
        batch: &Batch,
        next: Offset,
    ) -> Result<Vec<Outcome>, Failure> {
        let (key, count) = (&batch.cursor, batch.events.len());
        let to = Cursor { next, writer: self.writer.clone() };
        let mut known = match self.cursors.get(key) {
            Some(known) => known.clone(),
            None => Known::first(session.cursor(key).await?, &self.writer),
        };
        for _ in 0..MOST_SURPRISES {
            let there = known.there(&batch.events);
            self.cursors.insert(key.clone(), known.clone());
            let fresh = batch.events.get(there..).unwrap_or_default();
            if fresh.is_empty() {
                return Ok(Outcome::Delivered.all(count));
            }
            match session.append(fresh, key, known.cursor(), &to).await? {
                Appended::Done => {
                    self.cursors.insert(key.clone(), Known::left(to));
                    return Ok(Outcome::Delivered.all(count));
                }
                Appended::Refused(refused) => {
                    self.cursors.insert(key.clone(), Known::left(Cursor { next: refused.offset, ..to }));
                    return Ok(outcomes(count, there, Some(blame(server, session, refused).await?)));
                }
                Appended::CursorMoved => {
                    let found = session.cursor(key).await?;
                    debug!(subscription = %key.subscription, ?known, ?found, "Cursor had moved");
                    let (was, is) = (known.position(), found.as_ref().map(|found| found.next));
                    known = match known.find(found, &self.writer) {
                        Ok(known) => known,
                        Err(Astray::Gone) => {
                            report_gone(server, key, was);
                            Known::first(None, &self.writer)
                        }
                        Err(Astray::Back) => return Ok(behind(server, key, was, is).all(count)),
                        Err(Astray::ByAnother) => return Err(Failure::new(moved_by_another(key))),
                    };
                }
            }
        }
        Err(Failure::new(moved_by_another(key)))
    }

    async fn replay(&mut self, server: &Server, session: &mut dyn Session, batch: &Batch) -> Result<Vec<Outcome>, Failure> {
        let passes = batch.export.is_none().then_some((&batch.cursor, self.writer.as_str()));
        let refused = match session.replay(&batch.events, passes).await? {
            Some(refused) => Some(blame(server, session, refused).await?),
            None => None,
        };
        Ok(outcomes(batch.events.len(), 0, refused))
    }
}

/// Looks whether it is the table's fault that it refused a row: somebody may have altered it since we looked.
async fn blame(server: &Server, session: &mut dyn Session, refused: Refused) -> Result<Refused, Failure> {
    Ok(match session.objection().await? {
        Some(objection) => refused.by_fault_of_table(format!("{server} cannot be used: {objection}")),
        None => refused,
    })
}
