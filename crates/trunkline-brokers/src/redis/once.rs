//! Publishing together with the cursor: each event once.

use std::sync::Arc;

use futures_util::future::join_all;
use redis::cmd;
use tracing::error;
use trunkline_core::json::{self, Layout};
use trunkline_core::{Batch, Event, Offset, Outcome};

use super::broker::{BEHIND, Link, RedisBroker, RedisSession};
use super::cursor;
use super::script::{Entries, Mode, Reply};
use crate::cursor::{Astray, Cursor, Known};

/// How many events one call of the script adds. The server works on them while the next are on the way, and other clients wait for
/// one call at the most. With fewer it is slower, above all where each call is synced to disk (`appendfsync always`).
const CHUNK: usize = 256;

/// Events that one call adds.
struct Chunk {
    entries: Entries,
    /// Where the cursor is after them.
    next: Offset,
}

impl RedisBroker {
    /// Publishes a batch with the cursor, each event once, up to the first that cannot be published.
    pub(super) async fn publish_once(
        &self,
        state: &mut RedisSession,
        link: &mut Link,
        key: &str,
        batch: &Batch,
        next: Offset,
    ) -> Result<Vec<Outcome>, String> {
        let too_large = batch.events.iter().enumerate().find(|(_, event)| event.body.len() > link.largest);
        let (events, next) = match too_large {
            Some((index, event)) => (batch.events.get(..index).unwrap_or_default(), event.offset),
            None => (&batch.events[..], next),
        };
        let refused = too_large.map(|(_, event)| self.too_large(event, link.largest));
        let mut known = match state.known.take() {
            Some((cursor, known)) if cursor == batch.cursor => known,
            _ => Known::first(self.stored(link, key).await?, &self.writer),
        };
        let left = |next: Offset| Known::left(Cursor { next, writer: self.writer.clone() });
        // Each round publishes something, or finds the cursor where an attempt that was given up has moved it.
        loop {
            state.known = Some((batch.cursor.clone(), known.clone()));
            let there = known.there(events);
            let fresh = events.get(there..).unwrap_or_default();
            if fresh.is_empty() {
                return Ok(outcomes(batch, there, refused));
            }
            let chunks = self.chunks(fresh, next);
            let replies = self.send(link, key, batch, &known, &chunks, fresh).await;
            for (number, (chunk, reply)) in chunks.iter().zip(replies).enumerate() {
                match reply? {
                    Reply::Done => {
                        if state.since.is_none() {
                            state.since = fresh.first().and_then(|event| timestamp(event));
                        }
                        known = left(chunk.next);
                        state.known = Some((batch.cursor.clone(), known.clone()));
                    }
                    Reply::Stopped(count, fault) => {
                        let index = chunk.entries.iter().nth(count).map_or(0, |(event, _)| event);
                        let offset = fresh.get(index).map_or(next, |event| event.offset);
                        known = left(offset);
                        let there = known.there(events);
                        state.known = Some((batch.cursor.clone(), known));
                        return Ok(outcomes(batch, there, Some(Outcome::retry(self.fault(&chunk.entries, fault)))));
                    }
                    Reply::Moved(found) if number == 0 => {
                        let found = self.read(Some(&found), key)?;
                        known = match self.notice(state, key, &known, found, batch)? {
                            Ok(known) => known,
                            Err(behind) => return Ok(behind.all(batch.events.len())),
                        };
                        break;
                    }
                    // It was sent behind one that did not leave the cursor where it expected it, and says nothing new.
                    Reply::Moved(_) => break,
                }
            }
        }
    }

    /// Sends all chunks, one behind the other, and waits for the answers. Each expects the cursor that the one before leaves, so
    /// nothing is added behind one that fails.
    async fn send(
        &self,
        link: &Link,
        key: &str,
        batch: &Batch,
        known: &Known,
        chunks: &[Chunk],
        events: &[Arc<Event>],
    ) -> Vec<Result<Reply, String>> {
        let mut expected = cursor::text(known.cursor());
        let calls = chunks.iter().map(|chunk| {
            let next = cursor::text(Some(&Cursor { next: chunk.next, writer: self.writer.clone() }));
            let (expected, mut link) = (std::mem::replace(&mut expected, next), link.clone());
            async move {
                let mode = Mode::Exact { cursor: key, expected: &expected, next: chunk.next, writer: &self.writer };
                self.add(&mut link, mode, batch, &chunk.entries, events).await
            }
        });
        join_all(calls).await
    }

    fn chunks(&self, events: &[Arc<Event>], next: Offset) -> Vec<Chunk> {
        let mut finder = self.settings.keys.finder();
        let mut chunks: Vec<Chunk> = Vec::new();
        for (index, event) in events.iter().enumerate() {
            if index % CHUNK == 0 {
                if let Some(last) = chunks.last_mut() {
                    last.next = event.offset;
                }
                chunks.push(Chunk { entries: Entries::default(), next });
            }
            if let Some(chunk) = chunks.last_mut() {
                finder.each(event, |key| chunk.entries.push(index, &key));
            }
        }
        chunks
    }

    /// Notes a cursor that is not where we left it. Nothing may be published now when it was set back, or when somebody else moves
    /// it.
    fn notice(
        &self,
        state: &RedisSession,
        key: &str,
        known: &Known,
        found: Option<Cursor>,
        batch: &Batch,
    ) -> Result<Result<Known, Outcome>, String> {
        let place = &self.settings.address.place;
        let at = found.as_ref().map(|found| found.next).unwrap_or_default();
        match known.find(found, &self.writer) {
            Ok(_) if batch.time_left().is_zero() => {
                Err(format!("the cursor `{key}` of {place} moves all the time; does another gateway use it?"))
            }
            Ok(known) => Ok(Ok(known)),
            Err(Astray::Back) => {
                let before = known.position().unwrap_or_default();
                let reason =
                    format!("{place} lost events that it had confirmed: the cursor `{key}` stood at {before} and stands at {at}");
                Ok(Err(Outcome::Behind { reason }))
            }
            // Nobody can say what else is lost. What comes is published all the same.
            Err(Astray::Gone) => {
                let (before, minimum_timestamp) = (known.position(), state.since.as_deref());
                let maximum_timestamp = batch.events.first().and_then(|event| timestamp(event));
                error!(
                    place,
                    cursor = key,
                    before,
                    minimum_timestamp,
                    maximum_timestamp,
                    "Redis lost its cursor, and so the events before it; `trunkline export` publishes again what lies between these times"
                );
                Ok(Ok(Known::first(None, &self.writer)))
            }
            Err(Astray::ByAnother) => Err(format!(
                "another gateway with a copy of this journal publishes to {place} (cursor `{key}`); stop one of them, or give the \
                 broker another `name` there, and start this one anew"
            )),
        }
    }

    /// The cursor as it stands in Redis.
    pub(super) async fn stored(&self, link: &mut Link, key: &str) -> Result<Option<Cursor>, String> {
        let value: Option<String> =
            cmd("GET").arg(key).query_async(&mut link.connection).await.map_err(|error| self.settings.address.explain(&error))?;
        self.read(value.as_deref(), key)
    }

    fn read(&self, value: Option<&str>, key: &str) -> Result<Option<Cursor>, String> {
        cursor::parse(value).map_err(|what| {
            let place = &self.settings.address.place;
            format!("the key `{key}` of {place} should hold our cursor, but {what}; find out who wrote it, and delete it")
        })
    }
}

/// Of a batch whose first events are published, up to one that is not.
fn outcomes(batch: &Batch, there: usize, stopped: Option<Outcome>) -> Vec<Outcome> {
    let mut outcomes = Outcome::Delivered.all(there);
    outcomes.extend(stopped);
    outcomes.resize(batch.events.len(), Outcome::retry(BEHIND));
    outcomes
}

/// The time of an event, in which an export is limited.
fn timestamp(event: &Event) -> Option<String> {
    json::lay_out(&event.body, Layout::Dumps).ok()?.get("timestamp").map(ToOwned::to_owned)
}
