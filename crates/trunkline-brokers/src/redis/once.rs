//! Publishing together with the cursor: each event once.

use std::sync::Arc;

use redis::cmd;
use tracing::error;
use trunkline_core::{Batch, Event, Offset, Outcome};

use super::broker::{Link, RedisBroker, State};
use super::cursor::{Moved, Stored};
use super::script::{Entries, Mode, Reply};

/// How often the cursor may turn out to have moved while one batch is published: each time another attempt came first.
const MOST_MOVES: u32 = 3;

/// How many events of a batch were published, and why not the next one.
pub(super) type Stopped = Option<(usize, Outcome)>;

impl RedisBroker {
    /// Publishes `events` with the cursor, each once, up to the first that cannot be published.
    pub(super) async fn publish_once(
        &self,
        state: &mut State,
        link: &mut Link,
        key: &str,
        batch: &Batch,
        next: Offset,
    ) -> Result<Stopped, String> {
        let too_large = batch.events.iter().enumerate().find(|(_, event)| event.body.len() > link.largest);
        let (events, next) = match too_large {
            Some((index, event)) => (batch.events.get(..index).unwrap_or_default(), event.offset),
            None => (&batch.events[..], next),
        };
        let refused = too_large.map(|(index, event)| (index, self.too_large(event, link.largest)));
        let mut known = match state.known.take() {
            Some((cursor, stored)) if cursor == batch.cursor => stored,
            _ => self.stored(link, key).await?,
        };
        let count_below = |next: Offset| events.iter().take_while(|event| event.offset < next).count();
        let mut there = count_below(known.done_by(&self.writer));
        for _ in 0..MOST_MOVES {
            state.known = Some((batch.cursor.clone(), known.clone()));
            let fresh = events.get(there..).unwrap_or_default();
            if fresh.is_empty() {
                return Ok(refused);
            }
            let entries = self.entries(fresh.iter().enumerate());
            let mode = Mode::Exact { cursor: key, expected: known.as_str(), next, writer: &self.writer };
            match self.add(link, mode, batch, &entries, fresh).await? {
                Reply::Done => {
                    state.known = Some((batch.cursor.clone(), Stored::new(next, &self.writer)));
                    return Ok(refused);
                }
                Reply::Stopped(count, fault) => {
                    let index = entries.iter().nth(count).map_or(0, |(event, _)| event);
                    let offset = fresh.get(index).map_or(next, |event| event.offset);
                    state.known = Some((batch.cursor.clone(), Stored::new(offset, &self.writer)));
                    return Ok(Some((there + index, Outcome::retry(self.fault(&entries, fault)))));
                }
                Reply::Moved(found) => {
                    let found = self.read(Some(found), key)?;
                    self.notice(&known, &found, key)?;
                    there = count_below(found.position().unwrap_or_default());
                    known = found;
                }
            }
        }
        Err(format!("the cursor `{key}` of {} moves all the time; does another gateway use it?", self.plan.address.place))
    }

    /// Says what it means that the cursor is not where we left it, and stops when somebody else moves it.
    fn notice(&self, known: &Stored, found: &Stored, key: &str) -> Result<(), String> {
        let place = &self.plan.address.place;
        match known.compare(found, &self.writer) {
            Moved::Forward => Ok(()),
            Moved::Back => {
                let (known, found) = (known.position(), found.position());
                error!(place, cursor = key, known, found, "Redis lost events that it had confirmed; export that range again");
                Ok(())
            }
            Moved::ByAnother => Err(format!(
                "another gateway with a copy of this journal publishes to {place} (cursor `{key}`); stop one of them, or give the \
                 broker another `name` there, and start this one anew"
            )),
        }
    }

    /// The cursor as it stands in Redis.
    pub(super) async fn stored(&self, link: &mut Link, key: &str) -> Result<Stored, String> {
        let text =
            cmd("GET").arg(key).query_async(&mut link.connection).await.map_err(|error| self.plan.address.explain(&error))?;
        self.read(text, key)
    }

    fn read(&self, text: Option<String>, key: &str) -> Result<Stored, String> {
        Stored::parse(text).map_err(|what| {
            let place = &self.plan.address.place;
            format!("the key `{key}` of {place} should hold our cursor, but {what}; find out who wrote it, and delete it")
        })
    }

    fn entries<'e>(&self, events: impl Iterator<Item = (usize, &'e Arc<Event>)>) -> Entries {
        let mut entries = Entries::default();
        for (index, event) in events {
            for key in self.plan.keys.of(event) {
                entries.push(index, key);
            }
        }
        entries
    }
}
