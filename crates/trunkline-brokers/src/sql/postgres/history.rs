//! The table of Rasa's tracker store in PostgreSQL.

use sqlx::postgres::PgConnection;
use sqlx::{Error, query_as, query_scalar};

use crate::sql::tracker_store::{StoredEvent, in_order};

/// Reads the table of a tracker store.
pub(in crate::sql) struct History<'c>(pub(in crate::sql) &'c mut PgConnection);

impl History<'_> {
    /// The columns of the table; none when there is no table.
    pub(in crate::sql) async fn columns(self) -> Result<Vec<String>, Error> {
        query_scalar(
            "SELECT a.attname::text FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
             WHERE c.relname = 'events' AND pg_table_is_visible(c.oid) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        )
        .fetch_all(self.0)
        .await
    }

    pub(in crate::sql) async fn conversations(self) -> Result<Vec<String>, Error> {
        query_scalar("SELECT sender_id::text FROM events GROUP BY sender_id ORDER BY min(id)").fetch_all(self.0).await
    }

    pub(in crate::sql) async fn ids(self, sender_id: &str) -> Result<Vec<i64>, Error> {
        query_scalar("SELECT id::bigint FROM events WHERE sender_id = $1 ORDER BY timestamp, id")
            .bind(sender_id)
            .fetch_all(self.0)
            .await
    }

    pub(in crate::sql) async fn rows(self, ids: &[i64]) -> Result<Vec<StoredEvent>, Error> {
        let rows: Vec<(i64, Option<f64>, Option<String>)> =
            query_as("SELECT id::bigint, timestamp::float8, data::text FROM events WHERE id = ANY ($1)")
                .bind(ids)
                .fetch_all(self.0)
                .await?;
        Ok(in_order(ids, rows))
    }
}
