//! Cursors of subscriptions.

use rusqlite::{Connection, OptionalExtension as _};
use trunkline_core::{Offset, Timestamp};

use crate::{Progress, StoredSubscription};

pub(super) fn save(events: &Connection, name: &str, progress: &Progress, now: Timestamp) -> Result<(), rusqlite::Error> {
    let unsettled = serde_json::to_string(&progress.unsettled).unwrap_or_else(|_| "[]".to_owned());
    events
        .prepare_cached(
            "INSERT INTO subscriptions (name, position, low, unsettled, active, updated) VALUES (?1, ?2, ?3, ?4, 1, ?5)
             ON CONFLICT (name) DO UPDATE SET position = ?2, low = ?3, unsettled = ?4, active = 1, updated = ?5",
        )?
        .execute((name, progress.position, progress.low(), unsettled, now.0))
        .map(drop)
}

pub(super) fn load(events: &Connection) -> Result<Vec<StoredSubscription>, rusqlite::Error> {
    events
        .prepare_cached("SELECT name, position, unsettled, active, updated FROM subscriptions ORDER BY name")?
        .query_map([], |row| {
            let unsettled: String = row.get(2)?;
            Ok(StoredSubscription {
                name: row.get(0)?,
                progress: Progress {
                    position: row.get(1)?,
                    unsettled: serde_json::from_str(&unsettled).map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, Box::new(error))
                    })?,
                },
                active: row.get(3)?,
                updated: Timestamp(row.get(4)?),
            })
        })?
        .collect()
}

/// Marks every subscription outside `names` as no longer configured.
pub(super) fn keep_active(events: &Connection, names: &[String]) -> Result<(), rusqlite::Error> {
    let names = serde_json::to_string(names).unwrap_or_else(|_| "[]".to_owned());
    events.execute("UPDATE subscriptions SET active = name IN (SELECT value FROM json_each(?1))", [names]).map(drop)
}

/// The lowest offset that an active subscription still needs; `None` when there is none.
pub(super) fn lowest(events: &Connection) -> Result<Option<(String, Offset)>, rusqlite::Error> {
    events
        .prepare_cached("SELECT name, low FROM subscriptions WHERE active = 1 ORDER BY low LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}
