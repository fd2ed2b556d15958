//! Transactions in PostgreSQL.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::postgres::PgConnection;
use sqlx::{Error, Executor as _, query, query_as, query_scalar, raw_sql};
use trunkline_core::{CursorKey, Event};

use super::error::{about_the_row, explain};
use super::{connect, schema};
use crate::cursor::Cursor;
use crate::sql::connect::Purpose;
use crate::sql::refused::Refused;
use crate::sql::server::Server;
use crate::sql::session::{Appended, Failure, STATEMENT_SECONDS, Session, number};
use crate::sql::shape::Table;

/// One statement, and so one round trip and one commit: the rows are inserted if the cursor could be moved. It waits for
/// whoever else is about to move it, and then finds it elsewhere.
const APPEND: &str = "WITH moved AS (
        UPDATE trunkline_cursors SET next_offset = $3, writer = $4
        WHERE journal = $1 AND subscription = $2 AND next_offset = $5 AND writer = $6 RETURNING 1
    ), inserted AS (
        INSERT INTO events (sender_id, data) SELECT sender_id, data
        FROM unnest($7::text[], $8::text[]) WITH ORDINALITY AS batch (sender_id, data, place)
        WHERE EXISTS (SELECT FROM moved) ORDER BY place
    ) SELECT count(*) FROM moved";

/// The same when there is no cursor yet.
const APPEND_FIRST: &str = "WITH moved AS (
        INSERT INTO trunkline_cursors (journal, subscription, next_offset, writer) SELECT $1, $2, $3::bigint, $4
        WHERE $5::bigint IS NULL AND $6::text IS NULL ON CONFLICT DO NOTHING RETURNING 1
    ), inserted AS (
        INSERT INTO events (sender_id, data) SELECT sender_id, data
        FROM unnest($7::text[], $8::text[]) WITH ORDINALITY AS batch (sender_id, data, place)
        WHERE EXISTS (SELECT FROM moved) ORDER BY place
    ) SELECT count(*) FROM moved";

const INSERT: &str = "INSERT INTO events (sender_id, data) SELECT sender_id, data
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS batch (sender_id, data, place) ORDER BY place";

/// A connection whose tables are there and have the right shape.
pub(in crate::sql) struct PostgresSession {
    server: Server,
    connection: PgConnection,
}

impl PostgresSession {
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
        Ok(Self { server: server.clone(), connection })
    }

    async fn try_append(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<&Cursor>,
        to: &Cursor,
    ) -> Result<bool, Error> {
        let (senders, bodies) = columns(events);
        let moved: Vec<i64> = query_scalar(if from.is_some() { APPEND } else { APPEND_FIRST })
            .bind(key.journal.to_string())
            .bind(&*key.subscription)
            .bind(number(to.next))
            .bind(&to.writer)
            .bind(from.map(|from| number(from.next)))
            .bind(from.map(|from| &from.writer))
            .bind(senders)
            .bind(bodies)
            // To the end, for the commit is behind the row.
            .fetch_all(&mut self.connection)
            .await?;
        Ok(moved == [1])
    }

    /// Appends up to the row that the table refuses, which has to be found.
    async fn append_until_refused(
        &mut self,
        events: &[Arc<Event>],
        key: &CursorKey,
        from: Option<&Cursor>,
        to: &Cursor,
    ) -> Result<Appended, Error> {
        // Deferred constraints would only speak up at the end, without saying which row they mean.
        self.connection.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
        if !self.try_append(&[], key, from, to).await? {
            self.connection.execute("ROLLBACK").await?;
            return Ok(Appended::CursorMoved);
        }
        let refused = self.insert_until_refused(events).await?;
        if let Some(refused) = &refused {
            query("UPDATE trunkline_cursors SET next_offset = $3 WHERE journal = $1 AND subscription = $2")
                .bind(key.journal.to_string())
                .bind(&*key.subscription)
                .bind(number(refused.offset))
                .execute(&mut self.connection)
                .await?;
        }
        self.connection.execute("COMMIT").await?;
        Ok(refused.map_or(Appended::Done, Appended::Refused))
    }

    /// Inserts in halves of halves, each with a savepoint before it, until the half that fails is a single row.
    async fn insert_until_refused(&mut self, events: &[Arc<Event>]) -> Result<Option<Refused>, Error> {
        let (mut done, mut size) = (0, events.len());
        while let Some(part) = events.get(done..(done + size).min(events.len())).filter(|part| !part.is_empty()) {
            self.connection.execute("SAVEPOINT part").await?;
            let (senders, bodies) = columns(part);
            match query(INSERT).bind(senders).bind(bodies).execute(&mut self.connection).await {
                Ok(_) => {
                    self.connection.execute("RELEASE part").await?;
                    done += part.len();
                }
                Err(error) => {
                    let Some(message) = about_the_row(&error) else { return Err(error) };
                    self.connection.execute("ROLLBACK TO part").await?;
                    if let [event] = part {
                        return Ok(Some(Refused::new(done, event, message)));
                    }
                    size = part.len() / 2;
                }
            }
        }
        Ok(None)
    }

    async fn try_replay(&mut self, events: &[Arc<Event>], passes: Option<(&CursorKey, &str)>) -> Result<Option<Refused>, Error> {
        self.connection.execute("BEGIN; SET CONSTRAINTS ALL IMMEDIATE").await?;
        let refused = self.insert_until_refused(events).await?;
        let inserted = refused.as_ref().map_or(events, |refused| refused.before(events));
        for (event, (key, writer)) in inserted.iter().zip(passes.into_iter().cycle()) {
            query(
                "UPDATE trunkline_cursors SET next_offset = $3 + 1, writer = $4
                 WHERE journal = $1 AND subscription = $2 AND next_offset = $3",
            )
            .bind(key.journal.to_string())
            .bind(&*key.subscription)
            .bind(number(event.offset))
            .bind(writer)
            .execute(&mut self.connection)
            .await?;
        }
        self.connection.execute("COMMIT").await?;
        Ok(refused)
    }

    async fn try_rehearse(&mut self) -> Result<(), Error> {
        self.connection.execute("BEGIN").await?;
        if schema::exists(&mut self.connection, Table::Events.name()).await? {
            self.connection.execute("INSERT INTO events (sender_id, data) SELECT '', '' WHERE false").await?;
        }
        if schema::exists(&mut self.connection, Table::Cursors.name()).await? {
            let sql = "UPDATE trunkline_cursors SET next_offset = next_offset WHERE false;
                       INSERT INTO trunkline_cursors (journal, subscription, next_offset, writer) SELECT '', '', 0, '' WHERE false";
            raw_sql(sql).execute(&mut self.connection).await?;
        }
        self.connection.execute("ROLLBACK").await?;
        Ok(())
    }

    /// What the user may not do, when that does not show without doing it.
    async fn denied(&mut self) -> Result<Option<String>, Error> {
        let denied: Vec<String> = query_scalar(
            "SELECT CASE
                WHEN current_setting('transaction_read_only') = 'on' THEN 'is read-only; is it a standby? connect to the primary'
                WHEN to_regclass('events') IS NOT NULL AND to_regclass('trunkline_cursors') IS NOT NULL THEN ''
                WHEN current_schema() IS NULL THEN 'has no schema in which tables could be created; see its search_path'
                WHEN NOT has_schema_privilege(current_schema(), 'CREATE')
                    THEN 'denies the user ' || current_user || ' to create tables in the schema ' || current_schema() || '; grant it'
                ELSE '' END
             UNION ALL
             SELECT 'denies the user ' || current_user || ' the use of the sequence ' || sequence || '; grant it'
             FROM (
                 -- The sequence of an identity column is nobody's business.
                 SELECT pg_get_serial_sequence(attrelid::regclass::text, attname) AS sequence FROM pg_attribute
                 WHERE attrelid = to_regclass('events') AND attname = 'id' AND attidentity = ''
             ) AS serial
             WHERE sequence IS NOT NULL AND NOT has_sequence_privilege(sequence, 'USAGE, UPDATE')",
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(denied.into_iter().find(|denied| !denied.is_empty()))
    }
}

#[async_trait]
impl Session for PostgresSession {
    async fn cursor(&mut self, key: &CursorKey) -> Result<Option<Cursor>, Failure> {
        let sql = "SELECT next_offset, writer FROM trunkline_cursors WHERE journal = $1 AND subscription = $2";
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
        let result = match self.try_append(events, key, from, to).await {
            Ok(true) => Ok(Appended::Done),
            Ok(false) => Ok(Appended::CursorMoved),
            Err(error) if about_the_row(&error).is_some() => self.append_until_refused(events, key, from, to).await,
            Err(error) => Err(error),
        };
        result.map_err(|error| explain(&self.server, &error))
    }

    async fn replay(&mut self, events: &[Arc<Event>], passes: Option<(&CursorKey, &str)>) -> Result<Option<Refused>, Failure> {
        self.try_replay(events, passes).await.map_err(|error| explain(&self.server, &error))
    }

    async fn objection(&mut self) -> Result<Option<String>, Failure> {
        let found = schema::find(&mut self.connection).await.map_err(|error| explain(&self.server, &error))?;
        Ok(schema::objection(&found))
    }

    async fn rehearse(&mut self) -> Result<(), Failure> {
        if let Some(denied) = self.denied().await.map_err(|error| explain(&self.server, &error))? {
            return Err(Failure::new(format!("{} {denied}", self.server)));
        }
        self.try_rehearse().await.map_err(|error| explain(&self.server, &error))
    }
}

/// The two columns of the rows.
fn columns(events: &[Arc<Event>]) -> (Vec<&str>, Vec<&str>) {
    events.iter().map(|event| (event.conversation.as_str(), event.body_str())).unzip()
}
