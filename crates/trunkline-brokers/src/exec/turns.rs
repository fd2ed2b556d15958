//! Which event of a batch may be handed over next, without I/O or clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use compact_str::CompactString;
use trunkline_core::{Event, Outcome};

/// The events of a batch on their way through the child.
///
/// An event is handed over when the one before it in its conversation is delivered. After one that is not, no later event of
/// the conversation is handed over: a rejected one may be held by the subscription, and then the rest has to wait for it.
///
/// No more events are under way than were answered in this batch, and one: a quick child is soon given all there is, and a slow
/// one holds only as much as it can finish in the time that it was given so far.
#[derive(Debug)]
pub(super) struct Turns {
    /// The next event of the same conversation.
    next: Vec<Option<usize>>,
    /// What may be handed over.
    open: BTreeSet<usize>,
    /// What was handed over and is not answered, by the id that the child knows it by.
    under_way: HashMap<String, usize>,
    answered: usize,
    outcomes: Vec<Option<Outcome>>,
}

impl Turns {
    pub(super) fn new(events: &[Arc<Event>]) -> Self {
        let mut next = vec![None; events.len()];
        let mut open = BTreeSet::new();
        let mut newest: HashMap<&CompactString, usize> = HashMap::new();
        for (index, event) in events.iter().enumerate() {
            match newest.insert(&event.conversation, index) {
                Some(before) => next[before] = Some(index),
                None => _ = open.insert(index),
            }
        }
        Self { next, open, under_way: HashMap::new(), answered: 0, outcomes: vec![None; events.len()] }
    }

    /// Takes the event to be handed over next, if there is one, as it is known by the child.
    pub(super) fn take(&mut self, id: impl FnOnce(usize) -> String) -> Option<(usize, String)> {
        if self.under_way.len() > self.answered {
            return None;
        }
        let index = self.open.pop_first()?;
        let id = id(index);
        self.under_way.insert(id.clone(), index);
        Some((index, id))
    }

    /// Whether an answer is to be waited for.
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// How many events were answered.
    pub(super) fn answered(&self) -> usize {
        self.answered
    }

    /// Takes an answer; `false` when no such event is under way.
    pub(super) fn answer(&mut self, id: &str, outcome: Outcome) -> bool {
        let Some(index) = self.under_way.remove(id) else { return false };
        self.answered += 1;
        if outcome == Outcome::Delivered {
            self.open.extend(self.next[index]);
        }
        self.outcomes[index] = Some(outcome);
        true
    }

    /// One outcome per event: `cut_short` for those that were stopped by the end of the call.
    pub(super) fn into_outcomes(self, cut_short: &Outcome) -> Vec<Outcome> {
        let mut outcomes = self.outcomes;
        for (index, next) in self.next.iter().enumerate() {
            let outcome = outcomes[index].get_or_insert_with(|| cut_short.clone());
            let follows = match outcome {
                Outcome::Reject { .. } => Some("an earlier event of the conversation was rejected"),
                Outcome::Retry { .. } if outcome != cut_short => Some("an earlier event of the conversation was not delivered"),
                _ => None,
            };
            if let (Some(reason), Some(next)) = (follows, *next) {
                outcomes[next] = Some(Outcome::retry(reason));
            }
        }
        outcomes.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use trunkline_core::{JournalId, Kind, NewEvent, Timestamp};

    use super::*;

    /// Events whose conversations are the letters of `conversations`.
    fn turns(conversations: &str) -> Turns {
        let journal = JournalId::random();
        let event = |(offset, letter): (usize, char)| {
            let event = NewEvent::new(Kind::Event, &letter.to_string(), "user", "{}");
            Arc::new(event.recorded(journal, Timestamp(1), offset as u64))
        };
        Turns::new(&conversations.chars().enumerate().map(event).collect::<Vec<_>>())
    }

    fn taken(turns: &mut Turns) -> Vec<usize> {
        std::iter::from_fn(|| turns.take(|index| index.to_string())).map(|(index, _)| index).collect()
    }

    #[test]
    fn an_event_waits_for_the_one_before_it_in_its_conversation() {
        let mut turns = turns("aabab");
        turns.answered = 9;
        assert_eq!(taken(&mut turns), [0, 2]);
        assert!(turns.answer("2", Outcome::Delivered));
        assert_eq!(taken(&mut turns), [4]);
        assert!(turns.answer("0", Outcome::Delivered) && turns.answer("4", Outcome::Delivered));
        assert_eq!(taken(&mut turns), [1]);
        assert!(turns.answer("1", Outcome::Delivered));
        assert_eq!(taken(&mut turns), [3]);
        assert!(turns.answer("3", Outcome::Delivered) && !turns.are_under_way());
        assert_eq!(turns.into_outcomes(&Outcome::retry("")), Outcome::Delivered.all(5));
    }

    #[test]
    fn as_many_are_under_way_as_were_answered_and_one() {
        let mut turns = turns("abcdefgh");
        assert_eq!(taken(&mut turns), [0]);
        assert!(turns.answer("0", Outcome::retry("")));
        assert_eq!(taken(&mut turns), [1, 2]);
        assert!(turns.answer("1", Outcome::Delivered) && turns.answer("2", Outcome::Delivered));
        assert_eq!(taken(&mut turns), [3, 4, 5, 6]);
    }

    #[test]
    fn nothing_follows_what_was_not_delivered() {
        let mut turns = turns("abcabcbd");
        turns.answered = 9;
        assert_eq!(taken(&mut turns), [0, 1, 2, 7]);
        let rejected = Outcome::Reject { reason: "no".to_owned() };
        assert!(turns.answer("0", rejected.clone()) && turns.answer("1", Outcome::retry("later")));
        assert!(turns.answer("2", Outcome::Delivered));
        assert_eq!(taken(&mut turns), [5]);
        let (cut_short, waits) =
            (Outcome::retry("died"), Outcome::retry("an earlier event of the conversation was not delivered"));
        let outcomes = turns.into_outcomes(&cut_short);
        assert_eq!(outcomes[..3], [rejected, Outcome::retry("later"), Outcome::Delivered]);
        assert_eq!(outcomes[3], Outcome::retry("an earlier event of the conversation was rejected"));
        assert_eq!(outcomes[4..], [waits.clone(), cut_short.clone(), waits, cut_short]);
    }

    #[test]
    fn an_answer_to_what_is_not_under_way_is_refused() {
        let mut turns = turns("aa");
        assert_eq!(taken(&mut turns), [0]);
        assert!(!turns.answer("1", Outcome::Delivered) && turns.answer("0", Outcome::Delivered));
        assert!(!turns.answer("0", Outcome::Delivered));
    }
}
