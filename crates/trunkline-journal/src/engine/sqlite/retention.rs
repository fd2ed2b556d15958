//! Which events may go.

use rusqlite::Connection;
use trunkline_core::{Offset, Timestamp};

use super::{read, schema, subscriptions};
use crate::Retention;
use crate::engine::Removed;

/// What retention found out about the journal as it is now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct RetentionPlan {
    /// Events below this offset are to go.
    pub(super) keep_from: Offset,
    /// Events below this offset are passed by every active subscription.
    pub(super) passed: Offset,
    /// Why nothing more can be taken, when the bytes are used up by events that may not go.
    pub(super) full: Option<String>,
    /// The bytes in use.
    pub(super) bytes: u64,
}

/// Looks at the journal and decides.
pub(super) fn plan(events: &Connection, policy: &Retention, now: Timestamp) -> Result<RetentionPlan, rusqlite::Error> {
    let bytes = read::used_bytes(events)?;
    let Some((first, last)) = read::bounds(events)? else { return Ok(RetentionPlan { bytes, ..RetentionPlan::default() }) };
    let lowest = subscriptions::lowest(events)?;
    let passed = lowest.as_ref().map_or(last + 1, |(_, low)| *low).min(last + 1);

    let mut wanted = first;
    if let Some(age) = policy.max_age {
        wanted = read::offset_at(events, now.minus(age))?;
    }
    if bytes > policy.max_bytes {
        let share = bytes / (last - first + 1).max(1);
        wanted = wanted.max(first + (bytes - policy.max_bytes) / share.max(1) + 1);
    }
    let keep_from = if policy.past_subscriptions { wanted } else { wanted.min(passed) }.clamp(first, last + 1);

    // What is about to go makes room, so only events that may not go can fill the journal. A tenth over the limit is the
    // room in which deleting keeps up with appending.
    let is_over = bytes > policy.max_bytes + policy.max_bytes / 10;
    let full = (is_over && keep_from < wanted).then(|| {
        let holder = lowest.map_or_else(String::new, |(name, low)| format!(" from offset {low} on by subscription `{name}`"));
        format!("its share of the disk, {} bytes, is used up by events held{holder}", policy.max_bytes)
    });
    Ok(RetentionPlan { keep_from, passed, full, bytes })
}

/// Removes up to `most` events below `keep_from`.
pub(super) fn remove(events: &Connection, plan: &RetentionPlan, most: u64) -> Result<Removed, rusqlite::Error> {
    let Some((first, _)) = read::bounds(events)? else { return Ok(Removed::default()) };
    let until = plan.keep_from.min(first + most);
    if until <= first {
        return Ok(Removed::default());
    }
    schema::set_floor(events, until)?;
    let removed = events.prepare_cached("DELETE FROM events WHERE offset < ?1")?.execute([until])?;
    Ok(Removed { events: removed as u64, undelivered: until.saturating_sub(plan.passed.max(first)) })
}
