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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use tempfile::TempDir;
    use trunkline_core::{JournalId, NewEvent};

    use super::*;
    use crate::Progress;
    use crate::engine::Record;
    use crate::engine::sqlite::row;

    const AGE: Duration = Duration::from_secs(10);

    /// A journal with events of 4 KiB at the offsets `first..=last`, one a second.
    fn journal(first: Offset, last: Offset) -> (TempDir, Connection) {
        let directory = TempDir::new().unwrap();
        let events = schema::open_for_writing(directory.path(), Timestamp(0)).unwrap();
        let body = format!(r#"{{"sender_id": "a", "event": "x", "timestamp": 1.5, "x": "{}"}}"#, "x".repeat(4_000));
        for offset in first..=last {
            let event = NewEvent::parse(body.as_bytes(), None, 1.0).unwrap();
            let time = Timestamp(i64::try_from(offset).unwrap() * 1_000);
            let event = Arc::new(event.recorded(JournalId::random(), time, offset));
            row::insert(&events, &Record { event, identity: None }).unwrap();
        }
        (directory, events)
    }

    fn subscribe(events: &Connection, name: &str, low: Offset) {
        subscriptions::save(events, name, &Progress::at(low), Timestamp(1)).unwrap();
    }

    fn seconds(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn nothing_goes_from_an_empty_journal_or_without_a_limit() {
        let (_directory, empty) = journal(1, 0);
        let found = plan(&empty, &Retention { max_age: Some(AGE), ..Retention::default() }, seconds(100)).unwrap();
        assert_eq!((found.keep_from, found.full, found.bytes > 0), (0, None, true));
        assert_eq!(remove(&empty, &RetentionPlan { keep_from: 9, ..RetentionPlan::default() }, 100).unwrap(), Removed::default());
        let (_directory, events) = journal(5, 9);
        let found = plan(&events, &Retention::default(), seconds(100)).unwrap();
        assert_eq!((found.keep_from, found.passed, found.full), (5, 10, None));
    }

    #[test]
    fn what_is_too_old_goes_as_far_as_every_subscription_has_come() {
        let (_directory, events) = journal(1, 50);
        let policy = Retention { max_age: Some(AGE), ..Retention::default() };
        // At 40 s, what was appended before 30 s is too old.
        assert_eq!(plan(&events, &policy, seconds(40)).unwrap().keep_from, 30);
        assert_eq!(plan(&events, &policy, seconds(1_000)).unwrap().keep_from, 51);
        subscribe(&events, "slow", 20);
        subscribe(&events, "quick", 45);
        let found = plan(&events, &policy, seconds(40)).unwrap();
        assert_eq!((found.keep_from, found.passed, found.full), (20, 20, None));
        let past = Retention { past_subscriptions: true, ..policy.clone() };
        let found = plan(&events, &past, seconds(40)).unwrap();
        assert_eq!((found.keep_from, found.passed), (30, 20));
        // One that is no longer configured holds nothing back.
        subscriptions::keep_active(&events, &["quick".to_owned()]).unwrap();
        assert_eq!(plan(&events, &policy, seconds(40)).unwrap().keep_from, 30);
    }

    #[test]
    fn what_takes_too_many_bytes_goes_and_full_is_only_what_may_not_go() {
        let (_directory, events) = journal(1, 200);
        let bytes = plan(&events, &Retention::default(), seconds(1)).unwrap().bytes;
        let half = Retention { max_bytes: bytes / 2, ..Retention::default() };
        let found = plan(&events, &half, seconds(1)).unwrap();
        assert!((90..=112).contains(&found.keep_from), "{found:?}");
        assert_eq!(found.full, None);
        // A subscription that has come nowhere holds all of it.
        subscribe(&events, "dead", 1);
        let found = plan(&events, &half, seconds(1)).unwrap();
        let full = found.full.clone().unwrap();
        assert_eq!(found.keep_from, 1);
        assert_eq!(
            full,
            format!(
                "its share of the disk, {} bytes, is used up by events held from offset 1 on by subscription `dead`",
                bytes / 2
            )
        );
        // Within a tenth over the limit, deleting may still keep up.
        let nearly = Retention { max_bytes: bytes - bytes / 20, ..Retention::default() };
        assert_eq!(plan(&events, &nearly, seconds(1)).unwrap().full, None);
        let past = Retention { past_subscriptions: true, ..half };
        assert_eq!(plan(&events, &past, seconds(1)).unwrap().full, None);
    }

    #[test]
    fn what_may_go_goes_little_by_little_and_its_offsets_are_not_given_out_again() {
        let (_directory, events) = journal(11, 30);
        let found = RetentionPlan { keep_from: 25, passed: 21, ..RetentionPlan::default() };
        for (removed, undelivered, first) in [(8, 0, 19), (6, 4, 25), (0, 0, 25)] {
            assert_eq!(remove(&events, &found, 8).unwrap(), Removed { events: removed, undelivered });
            assert_eq!(read::bounds(&events).unwrap(), Some((first, 30)));
        }
        let all = RetentionPlan { keep_from: 31, passed: 31, ..RetentionPlan::default() };
        assert_eq!(remove(&events, &all, 100).unwrap(), Removed { events: 6, undelivered: 0 });
        assert_eq!((read::bounds(&events).unwrap(), read::head(&events).unwrap()), (None, 30));
    }
}
