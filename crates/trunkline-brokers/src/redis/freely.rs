//! Publishing without the cursor: replays, and on a cluster keys in many slots.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use trunkline_core::{Batch, Event, Outcome};

use super::broker::{BEHIND, Link, RedisBroker};
use super::keys::hash_tag;
use super::script::{Entries, Mode, Reply};

impl RedisBroker {
    /// Publishes without a cursor of ours, or past it. Conversations go on beside one that cannot.
    ///
    /// On a cluster a call reaches one slot. Calls of different slots run at the same time, so a conversation is in one of them
    /// only: what goes elsewhere waits for the next round.
    pub(super) async fn publish_freely(&self, link: &mut Link, key: Option<&str>, batch: &Batch) -> Vec<Outcome> {
        let mode = match key.filter(|_| batch.export.is_none()) {
            Some(cursor) => Mode::Replay { cursor, writer: &self.writer },
            None => Mode::Plain,
        };
        let mut outcomes = Outcomes::new(&batch.events);
        for (index, event) in batch.events.iter().enumerate().filter(|(_, event)| event.body.len() > link.largest) {
            outcomes.fail(index, self.too_large(event, link.largest));
        }
        let (mut finder, mut todo) = (self.settings.keys.finder(), Todo::new());
        for (index, event) in batch.events.iter().enumerate() {
            finder.each(event, |key| todo.push((index, key)));
        }
        loop {
            todo.retain(|(event, _)| outcomes.is_open(*event));
            if todo.is_empty() {
                return outcomes.outcomes;
            }
            let (groups, later) = self.split(todo, &batch.events);
            let calls = groups.iter().map(|entries| {
                let mut link = link.clone();
                async move { self.add(&mut link, mode, batch, entries, &batch.events).await }
            });
            let replies = join_all(calls).await;
            todo = later;
            for (entries, reply) in groups.iter().zip(replies) {
                match reply {
                    // Nothing moves what is not compared.
                    Ok(Reply::Done | Reply::Moved(_)) => {}
                    Ok(Reply::Stopped(count, fault)) => {
                        let index = entries.iter().nth(count).map_or(0, |(event, _)| event);
                        outcomes.fail(index, Outcome::retry(self.fault(entries, fault)));
                        todo.extend(entries.iter().skip(count + 1).map(|(event, key)| (event, key.to_owned().into())));
                    }
                    Err(reason) => entries.iter().for_each(|(event, _)| outcomes.fail(event, Outcome::retry(reason.clone()))),
                }
            }
            todo.sort_by_key(|(event, _)| *event);
        }
    }

    /// One group per slot, and what has to wait for the next round.
    fn split<'k>(&self, todo: Todo<'k>, events: &[Arc<Event>]) -> (Vec<Entries>, Todo<'k>) {
        let mut groups: BTreeMap<String, Entries> = BTreeMap::new();
        let mut places: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut later = Vec::new();
        for (index, key) in todo {
            let slot = if self.settings.address.is_cluster { hash_tag(&key).to_owned() } else { String::new() };
            let conversation = events.get(index).map_or("", |event| event.conversation.as_str());
            let place = places.entry(conversation).or_insert_with(|| Some(slot.clone()));
            if place.as_ref() == Some(&slot) {
                groups.entry(slot).or_default().push(index, &key);
            } else {
                *place = None;
                later.push((index, key));
            }
        }
        (groups.into_values().collect(), later)
    }
}

/// Indices of events, each with a key that it goes to.
type Todo<'k> = Vec<(usize, Cow<'k, str>)>;

/// What became of the events of a batch so far: delivered, unless something else is known.
struct Outcomes<'b> {
    events: &'b [Arc<Event>],
    outcomes: Vec<Outcome>,
}

impl<'b> Outcomes<'b> {
    fn new(events: &'b [Arc<Event>]) -> Self {
        Self { events, outcomes: Outcome::Delivered.all(events.len()) }
    }

    /// Sets the outcome of an event, unless it failed before, and keeps back what is behind it in its conversation.
    fn fail(&mut self, index: usize, outcome: Outcome) {
        let Some(failed) = self.events.get(index).filter(|_| self.is_open(index)) else { return };
        let behind = self.events.iter().zip(&mut self.outcomes).skip(index);
        behind
            .filter(|(event, _)| event.conversation == failed.conversation)
            .for_each(|(_, kept_back)| *kept_back = Outcome::retry(BEHIND));
        if let Some(its_own) = self.outcomes.get_mut(index) {
            *its_own = outcome;
        }
    }

    /// Whether the event may still be published.
    fn is_open(&self, index: usize) -> bool {
        self.outcomes.get(index) == Some(&Outcome::Delivered)
    }
}
