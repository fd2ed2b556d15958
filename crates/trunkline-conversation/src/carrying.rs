//! Events that others made, of many conversations.

use std::collections::{BTreeMap, HashMap};

use compact_str::CompactString;
use trunkline_core::{NewEvent, Offset, PartitionNumber};
use trunkline_journal::ReadError;

use crate::intake::{Entry, Identity, Recorded, Route, Unrecorded};
use crate::partition::Partitions;

/// The events of one conversation among those that were handed in together.
#[derive(Clone, Debug)]
pub struct Part {
    /// The conversation.
    pub conversation: CompactString,
    /// What became of them.
    pub recorded: Result<Recorded, Unrecorded>,
}

impl Partitions {
    /// Records events, each in its conversation. What belongs to one conversation is recorded together or not at all, and each of
    /// these parts is for itself: new or known, recorded or refused. With `key`, which the sender has given to the whole, the same
    /// events can be handed in again until all parts are on record, each once.
    pub async fn carry(&self, events: Vec<NewEvent>, key: Option<&str>) -> Vec<Part> {
        let entries = by_conversation(events, key);
        let conversations: Vec<_> = entries.iter().map(|entry| CompactString::from(entry.conversation())).collect();
        let answers = match self.known_since_layout_2(&entries).await {
            Ok(None) => self.append_all(entries).await,
            Ok(Some(last)) => vec![Ok(Recorded::Known { last }); conversations.len()],
            Err(error) => vec![Err(error.into()); conversations.len()],
        };
        conversations.into_iter().zip(answers).map(|(conversation, recorded)| Part { conversation, recorded }).collect()
    }

    /// Records entries, each for itself, in their order within a conversation.
    pub(crate) async fn append_all(&self, entries: Vec<Entry>) -> Vec<Result<Recorded, Unrecorded>> {
        // Mostly all are of one partition.
        if let Some(number) = entries.first().map(|entry| Self::number(entry.conversation()))
            && entries.iter().all(|entry| Self::number(entry.conversation()) == number)
        {
            return self.numbered(number).intake.append_all(entries).await;
        }
        let mut answers = vec![Err(Unrecorded::Refused(String::new())); entries.len()];
        let mut by_partition: BTreeMap<PartitionNumber, (Vec<usize>, Vec<Entry>)> = BTreeMap::new();
        for (place, entry) in entries.into_iter().enumerate() {
            let (places, entries) = by_partition.entry(Self::number(entry.conversation())).or_default();
            places.push(place);
            entries.push(entry);
        }
        for (number, (places, entries)) in by_partition {
            for (place, answer) in places.into_iter().zip(self.numbered(number).intake.append_all(entries).await) {
                answers[place] = answer;
            }
        }
        answers
    }

    /// Where a list stands that a program of layout 2 has recorded: all of it together, known by the identity of its last event.
    async fn known_since_layout_2(&self, entries: &[Entry]) -> Result<Option<Offset>, ReadError> {
        for entry in entries {
            let Some(identity) = &entry.identity else { continue };
            let journal = &self.of(entry.conversation()).journal;
            let until = journal.layout_2_to();
            if until > 0
                && let Some(offset) = journal.find(entry.conversation(), identity.as_str()).await?
                && offset <= until
            {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }
}

/// One entry for each conversation, in the order in which they are named first.
fn by_conversation(events: Vec<NewEvent>, key: Option<&str>) -> Vec<Entry> {
    let entry = |events: Vec<NewEvent>| {
        let identity = key.map(|key| Identity::key(Route::Events, &events[0].conversation, key));
        Entry::plain(events, identity)
    };
    // Mostly all are of one conversation.
    if let [first, others @ ..] = events.as_slice()
        && others.iter().all(|event| event.conversation == first.conversation)
    {
        return vec![entry(events)];
    }
    let mut entries: Vec<Entry> = Vec::new();
    let mut places: HashMap<CompactString, usize> = HashMap::new();
    for event in events {
        if let Some(place) = places.get(&event.conversation) {
            entries[*place].events.push(event);
            continue;
        }
        places.insert(event.conversation.clone(), entries.len());
        entries.push(entry(vec![event]));
    }
    entries
}
