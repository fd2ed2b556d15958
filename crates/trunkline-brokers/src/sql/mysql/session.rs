//! Transactions in MySQL and MariaDB.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Error, Executor as _, query, query_as, query_scalar, raw_sql};
use trunkline_core::{CursorKey, Event};

use super::error::{about_the_row, explain, is_duplicate};
use super::{connect, schema};
use crate::cursor::Cursor;
use crate::sql::connect::Purpose;
use crate::sql::refused::Refused;
use crate::sql::server::Server;
use crate::sql::session::{Appended, Failure, STATEMENT_SECONDS, Session, number};
use crate::sql::shape::Table;

/// Rows in one statement at the most; there may be 65,535 parameters, of which a row has two.
const MOST_ROWS: usize = 16_384;

/// What to do about a text that is longer than the 64 KiB of TEXT, the original's type.
const WIDEN: &str = "`ALTER TABLE events MODIFY data LONGTEXT` makes room for it, and then the dead letter can be replayed";

/// What a packet has beside the values, and what each row has beside its texts, generously.
const PACKET_OVERHEAD: usize = 1024;
const ROW_OVERHEAD: usize = 32;

/// A connection whose tables are there and have the right shape.
pub(in crate::sql) struct MySqlSession {
    server: Server,
    connection: MySqlConnection,
    /// The largest packet that the server takes, in bytes.
    most_bytes: usize,
}

impl MySqlSession {
    pub(in crate::sql) async fn connect(server: &Server, purpose: Purpose) -> Result<Self, Failure> {
        let mut connection = connect(server, Some(STATEMENT_SECONDS)).await?;
        let failure = |error: Error| explain(server, &error);
        let found = schema::find(&mut connection).await.map_err(failure)?;
        if let Some(objection) = schema::objection(&found) {
            return Err(Failure::new(format!("{server} cannot be used: {objection}")));
        }
        if purpose == Purpose::Write {
            schema::create(&mut connection, &found).await.map_err(failure)?;
        }
        let most_bytes: i64 =
            query_scalar("SELECT CAST(@@max_allowed_packet AS SIGNED)").fetch_one(&mut connection).await.map_err(failure)?;
        Ok(Self { server: server.clone(), connection, most_bytes: usize::try_from(most_bytes).unwrap_or(usize::MAX) })
    }

    async fn try_append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<&Cursor>,
        to: &Cursor,
    ) -> Result<Appended, Error> {
        self.connection.execute("START TRANSACTION").await?;
        // First the cursor: this waits for whoever else is about to move it, and then finds it elsewhere.
        if !self.move_cursor(key, from, to).await? {
            self.connection.execute("ROLLBACK").await?;
            return Ok(Appended::CursorMoved);
        }
        let refused = self.insert_until_refused(events).await?;
        if let Some(refused) = &refused {
            self.move_cursor(key, Some(to), &Cursor { next: refused.offset, ..to.clone() }).await?;
        }
        self.connection.execute("COMMIT").await?;
        Ok(refused.map_or(Appended::Done, Appended::Refused))
    }

    async fn move_cursor(&mut self, key: &CursorKey, from: Option<&Cursor>, to: &Cursor) -> Result<bool, Error> {
        let Some(from) = from else {
            let sql = "INSERT INTO trunkline_cursors (journal, subscription, next_offset, writer) VALUES (?, ?, ?, ?)";
            let statement =
                query(sql).bind(key.journal.to_string()).bind(&*key.subscription).bind(number(to.next)).bind(&to.writer);
            return match statement.execute(&mut self.connection).await {
                Ok(_) => Ok(true),
                Err(error) if is_duplicate(&error) => Ok(false),
                Err(error) => Err(error),
            };
        };
        let sql = "UPDATE trunkline_cursors SET next_offset = ?, writer = ?
                   WHERE journal = ? AND subscription = ? AND next_offset = ? AND writer = ?";
        let done = query(sql)
            .bind(number(to.next))
            .bind(&to.writer)
            .bind(key.journal.to_string())
            .bind(&*key.subscription)
            .bind(number(from.next))
            .bind(&from.writer)
            .execute(&mut self.connection)
            .await?;
        // Rows that were found, not those that changed.
        Ok(done.rows_affected() == 1)
    }

    /// Inserts in as few statements as the packets allow, and from the first that is refused on in halves, until the half that
    /// is refused is a single row. A refused statement undoes itself and leaves the transaction as it was.
    async fn insert_until_refused(&mut self, events: &[Arc<Event>]) -> Result<Option<Refused>, Error> {
        let (mut done, mut most) = (0, MOST_ROWS);
        while let Some(rest) = events.get(done..).filter(|rest| !rest.is_empty()) {
            let part = rest.get(..self.rows_of_a_packet(rest).min(most)).unwrap_or_default();
            let message = if part.is_empty() {
                format!("it is larger than the server's max_allowed_packet of {} bytes", self.most_bytes)
            } else if let Err(error) = self.insert(part).await {
                let Some(message) = about_the_row(&error) else { return Err(error) };
                if part.len() > 1 {
                    most = part.len() / 2;
                    continue;
                }
                if message.contains("too long for column 'data'") { format!("{message}; {WIDEN}") } else { message }
            } else {
                done += part.len();
                continue;
            };
            return Ok(rest.first().map(|event| Refused::new(done, event, message)));
        }
        Ok(None)
    }

    fn rows_of_a_packet(&self, events: &[Arc<Event>]) -> usize {
        let mut room = self.most_bytes.saturating_sub(PACKET_OVERHEAD);
        let fits = |event: &&Arc<Event>| {
            let size = event.body.len() + event.conversation.len() + ROW_OVERHEAD;
            room.checked_sub(size).map(|left| room = left).is_some()
        };
        events.iter().take_while(fits).count()
    }

    async fn insert(&mut self, events: &[Arc<Event>]) -> Result<(), Error> {
        let mut sql = String::from("INSERT INTO events (sender_id, data) VALUES (?, ?)");
        sql.extend(std::iter::repeat_n(", (?, ?)", events.len().saturating_sub(1)));
        let statement = events.iter().fold(query(AssertSqlSafe(sql)), |statement, event| {
            statement.bind(event.conversation.as_str()).bind(event.body_str())
        });
        statement.execute(&mut self.connection).await?;
        Ok(())
    }

    async fn try_replay(&mut self, events: &[Arc<Event>], passes: Option<(&CursorKey, &str)>) -> Result<Option<Refused>, Error> {
        self.connection.execute("START TRANSACTION").await?;
        let refused = self.insert_until_refused(events).await?;
        let inserted = refused.as_ref().map_or(events, |refused| refused.before(events));
        for (event, (key, writer)) in inserted.iter().zip(passes.into_iter().cycle()) {
            let sql = "UPDATE trunkline_cursors SET next_offset = ?, writer = ?
                       WHERE journal = ? AND subscription = ? AND next_offset = ?";
            query(sql)
                .bind(number(event.offset + 1))
                .bind(writer)
                .bind(key.journal.to_string())
                .bind(&*key.subscription)
                .bind(number(event.offset))
                .execute(&mut self.connection)
                .await?;
        }
        self.connection.execute("COMMIT").await?;
        Ok(refused)
    }

    async fn try_rehearse(&mut self) -> Result<(), Error> {
        self.connection.execute("START TRANSACTION").await?;
        if schema::exists(&mut self.connection, Table::Events.name()).await? {
            self.connection.execute("INSERT INTO events (sender_id, data) SELECT '', '' FROM dual WHERE false").await?;
        }
        if schema::exists(&mut self.connection, Table::Cursors.name()).await? {
            let sql = "INSERT INTO trunkline_cursors (journal, subscription, next_offset, writer)
                           SELECT '', '', 0, '' FROM dual WHERE false;
                       UPDATE trunkline_cursors SET next_offset = next_offset WHERE false";
            raw_sql(sql).execute(&mut self.connection).await?;
        }
        self.connection.execute("ROLLBACK").await?;
        Ok(())
    }
}

#[async_trait]
impl Session for MySqlSession {
    async fn cursor(&mut self, key: &CursorKey) -> Result<Option<Cursor>, Failure> {
        let sql = "SELECT next_offset, writer FROM trunkline_cursors WHERE journal = ? AND subscription = ?";
        let rows: Vec<(i64, String)> = query_as(sql)
            .bind(key.journal.to_string())
            .bind(&*key.subscription)
            .fetch_all(&mut self.connection)
            .await
            .map_err(|error| explain(&self.server, &error))?;
        Ok(rows.into_iter().next().map(|(next, writer)| Cursor { next: next.cast_unsigned(), writer }))
    }

    async fn append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<&Cursor>,
        to: &Cursor,
    ) -> Result<Appended, Failure> {
        self.try_append(events, key, from, to).await.map_err(|error| explain(&self.server, &error))
    }

    async fn replay(&mut self, events: &[Arc<Event>], passes: Option<(&CursorKey, &str)>) -> Result<Option<Refused>, Failure> {
        self.try_replay(events, passes).await.map_err(|error| explain(&self.server, &error))
    }

    async fn objection(&mut self) -> Result<Option<String>, Failure> {
        let found = schema::find(&mut self.connection).await.map_err(|error| explain(&self.server, &error))?;
        Ok(schema::objection(&found))
    }

    async fn rehearse(&mut self) -> Result<(), Failure> {
        let failure = |error: Error| explain(&self.server, &error);
        if !schema::rehearse_create(&mut self.connection).await.map_err(failure)? {
            return Err(Failure::new(format!("{} is read-only; is it a replica? connect to the primary", self.server)));
        }
        self.try_rehearse().await.map_err(|error| explain(&self.server, &error))
    }
}
