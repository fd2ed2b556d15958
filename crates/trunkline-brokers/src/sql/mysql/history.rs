//! The table of Rasa's tracker store in MySQL and MariaDB.

use sqlx::mysql::MySqlConnection;
use sqlx::query::QueryAs;
use sqlx::{AssertSqlSafe, Error, query_as, query_scalar};

use crate::sql::tracker_store::{StoredEvent, in_order};

/// Reads the table of a tracker store.
pub(in crate::sql) struct History<'c>(pub(in crate::sql) &'c mut MySqlConnection);

impl History<'_> {
    /// The columns of the table; none when there is no table.
    pub(in crate::sql) async fn columns(self) -> Result<Vec<String>, Error> {
        query_scalar(
            "SELECT CAST(lower(column_name) AS CHAR) FROM information_schema.columns
             WHERE table_schema = database() AND table_name = 'events' ORDER BY ordinal_position",
        )
        .fetch_all(self.0)
        .await
    }

    /// By bytes: the usual collations take `Ann` and `ann` for one.
    pub(in crate::sql) async fn conversations(self) -> Result<Vec<String>, Error> {
        let rows: Vec<(String, i64)> = query_as(
            "SELECT CONVERT(sender_id USING utf8mb4) COLLATE utf8mb4_bin AS conversation, CAST(min(id) AS SIGNED) AS first
             FROM events GROUP BY conversation ORDER BY first",
        )
        .fetch_all(self.0)
        .await?;
        Ok(rows.into_iter().map(|(conversation, _)| conversation).collect())
    }

    pub(in crate::sql) async fn ids(self, sender_id: &str) -> Result<Vec<i64>, Error> {
        // The first comparison has an index, the second tells `Ann` from `ann`.
        query_scalar(
            "SELECT CAST(id AS SIGNED) FROM events
             WHERE sender_id = ? AND CONVERT(sender_id USING utf8mb4) COLLATE utf8mb4_bin = ? ORDER BY timestamp, id",
        )
        .bind(sender_id)
        .bind(sender_id)
        .fetch_all(self.0)
        .await
    }

    pub(in crate::sql) async fn rows(self, ids: &[i64]) -> Result<Vec<StoredEvent>, Error> {
        let places = vec!["?"; ids.len()].join(", ");
        let sql = format!("SELECT CAST(id AS SIGNED), timestamp + 0e0, data FROM events WHERE id IN ({places})");
        let rows: Vec<(i64, Option<f64>, Option<String>)> =
            ids.iter().fold(query_as(AssertSqlSafe(sql)), QueryAs::bind).fetch_all(self.0).await?;
        Ok(in_order(ids, rows))
    }
}
