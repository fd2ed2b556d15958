//! The channel of a conversation, for events that do not name one.
//!
//! Only a `user` event says in its body through which channel it came. What a slot or the assistant's answer belongs to is known
//! from the conversation, so that a filter of channels lets whole conversations through and not only what the user said.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use compact_str::CompactString;
use lru::LruCache;
use trunkline_core::NewEvent;
use trunkline_journal::{Journal, ReadError};

/// So many conversations are remembered; the others are looked up in the journal.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(16_384).expect("it is not zero");
/// How far back an event with a channel is searched for.
const SEARCHED: usize = 1_000;

/// What is known of the channels of conversations. All events go through here on their way into the journal.
#[derive(Debug)]
pub(crate) struct Channels {
    journal: Journal,
    /// `None` for a conversation that has no channel yet.
    known: Mutex<LruCache<CompactString, Option<CompactString>>>,
}

impl Channels {
    pub(crate) fn new(journal: Journal) -> Self {
        Self { journal, known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Gives every event without a channel that of its conversation: the last one before it, or else the first one behind it among
    /// `events`, which are about to be appended in this order.
    pub(crate) async fn fill_in<'e>(&self, events: impl IntoIterator<Item = &'e mut NewEvent>) -> Result<(), ReadError> {
        let mut conversations: HashMap<CompactString, Vec<&mut Option<CompactString>>> = HashMap::new();
        for NewEvent { conversation, channel, .. } in events {
            match conversations.get_mut(conversation.as_str()) {
                Some(channels) => channels.push(channel),
                None => drop(conversations.insert(conversation.clone(), vec![channel])),
            }
        }
        for (conversation, channels) in conversations {
            let mut last = match channels.first() {
                // What came before is of no interest then.
                Some(Some(_)) => None,
                _ => self.last(&conversation).await?,
            };
            carry_channel(&mut last, channels);
            self.remember(conversation, last);
        }
        Ok(())
    }

    fn remember(&self, conversation: CompactString, channel: Option<CompactString>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get_mut(&conversation) {
            Some(known) => *known = channel,
            None => drop(known.put(conversation, channel)),
        }
    }

    async fn last(&self, conversation: &str) -> Result<Option<CompactString>, ReadError> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(conversation) {
            return Ok(known.clone());
        }
        let found = self.journal.last_of_conversation(conversation, SEARCHED, |event, _| event.channel.is_some()).await?;
        Ok(found.and_then(|(event, _)| event.channel.clone()))
    }
}

/// Gives each of the events of one conversation that has no channel the one of the event before it, beginning with `last`, and
/// those that stand before the first one that has one, that one. `last` is then the channel of the last of them.
pub(crate) fn carry_channel<'c>(
    last: &mut Option<CompactString>,
    channels: impl IntoIterator<Item = &'c mut Option<CompactString>>,
) {
    let mut early = Vec::new();
    for channel in channels {
        if channel.is_some() {
            last.clone_from(channel);
            early.drain(..).for_each(|before: &mut Option<CompactString>| before.clone_from(last));
        } else if last.is_some() {
            channel.clone_from(last);
        } else {
            early.push(channel);
        }
    }
}

#[cfg(test)]
mod tests {

    use trunkline_journal::{Append, Options};

    use super::*;

    #[test]
    fn a_channel_is_carried_along_and_back_to_the_beginning() {
        let carried = |last: &str, channels: &str| {
            let mut last = Some(last).filter(|last| !last.is_empty()).map(CompactString::from);
            let mut channels: Vec<_> =
                channels.chars().map(|channel| (channel != '-').then(|| channel.to_string().into())).collect();
            carry_channel(&mut last, &mut channels);
            let shown = channels.into_iter().map(|channel| channel.unwrap_or_else(|| "-".into())).collect::<String>();
            (shown, last.unwrap_or_default().to_string())
        };
        for (last, channels, expected, then) in
            [("", "--r--s-", "rrrrrss", "s"), ("r", "--s-", "rrss", "s"), ("", "--", "--", ""), ("r", "", "", "r")]
        {
            assert_eq!(carried(last, channels), (expected.to_owned(), then.to_owned()), "{last} {channels}");
        }
    }

    #[tokio::test]
    async fn what_is_not_remembered_is_looked_up() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path(), Options::default()).unwrap();
        let event = |sender: &str, rest: &str| {
            let text = format!(r#"{{"sender_id": "{sender}", "event": "x"{rest}}}"#);
            NewEvent::parse(text.as_bytes(), None, 1.5).unwrap()
        };
        let said = || vec![event("ann", ""), event("ann", r#", "input_channel": "rest""#), event("bob", ""), event("ann", "")];
        let channels = Channels::new(journal.clone());
        let filled = async |channels: &Channels, mut events: Vec<NewEvent>| {
            channels.fill_in(&mut events).await.unwrap();
            let shown = events.iter().map(|event| event.channel.clone().unwrap_or_default().to_string()).collect::<Vec<_>>();
            journal.append(Append::many(events)).await.unwrap();
            shown
        };
        assert_eq!(filled(&channels, said()).await, ["rest", "rest", "", "rest"]);
        let later = || vec![event("ann", ""), event("bob", "")];
        assert_eq!(filled(&channels, later()).await, ["rest", ""]);
        // As after a restart.
        let channels = Channels::new(journal.clone());
        assert_eq!(filled(&channels, later()).await, ["rest", ""]);
        assert_eq!(filled(&channels, vec![event("bob", r#", "input_channel": "cmdline""#)]).await, ["cmdline"]);
        assert_eq!(filled(&channels, later()).await, ["rest", "cmdline"]);
        journal.close().await;
    }
}
