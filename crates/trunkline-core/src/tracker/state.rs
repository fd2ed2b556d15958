//! What the events of a conversation amount to.

use std::collections::HashMap;

use super::applied::applied;
use super::effect::{Action, Effect};
use super::history::Entry;

const ACTION_LISTEN: &str = "action_listen";
const ACTION_SESSION_START: &str = "action_session_start";

/// The name with which Rasa's training data says that no loop must be active.
const NO_LOOP: &str = "should_not_be_set";

/// The state after some events. Numbers are indices of events, whose bodies hold the values.
#[derive(Debug)]
pub(super) struct TrackerState<'a> {
    /// The event whose value each slot has; null for slots that are not here.
    pub(super) slots: HashMap<&'a str, usize>,
    /// The last `user` event; without one, the message is empty.
    pub(super) latest_message: Option<usize>,
    /// The `entities` events that add to the message.
    pub(super) added_entities: Vec<usize>,
    pub(super) followup_action: Option<&'a str>,
    pub(super) paused: bool,
    pub(super) active_loop: Option<ActiveLoop<'a>>,
    pub(super) latest_action: Option<&'a Action>,
}

/// A loop, as a form, that has begun and not ended.
#[derive(Debug)]
pub(super) struct ActiveLoop<'a> {
    pub(super) name: &'a str,
    pub(super) is_interrupted: bool,
    pub(super) rejected: bool,
    /// The `user` event with which it began; without one, the message was empty.
    pub(super) trigger_message: Option<usize>,
}

impl<'a> TrackerState<'a> {
    /// The state after `events`.
    ///
    /// An event that takes others back starts from nothing and replays those that still count, so whatever was before the
    /// last of them need not be computed.
    pub(super) fn after(events: &'a [Entry]) -> Self {
        let taken_back = |entry: &Entry| matches!(entry.effect, Effect::Undo | Effect::Rewind);
        let (revised, rest) = events.split_at(events.iter().rposition(taken_back).map_or(0, |last| last + 1));
        let mut state = Self::initial();
        for index in applied(revised) {
            state.apply(index, &events[index].effect);
        }
        for (index, entry) in (revised.len()..).zip(rest) {
            state.apply(index, &entry.effect);
        }
        state
    }

    fn initial() -> Self {
        Self {
            slots: HashMap::new(),
            latest_message: None,
            added_entities: Vec::new(),
            followup_action: Some(ACTION_LISTEN),
            paused: false,
            active_loop: None,
            latest_action: None,
        }
    }

    fn apply(&mut self, index: usize, effect: &'a Effect) {
        match effect {
            Effect::User => {
                self.latest_message = Some(index);
                self.added_entities.clear();
                self.followup_action = None;
            }
            // Entities are found before the next action: after another one they belong to no message.
            Effect::Entities if self.latest_action_name() == Some(ACTION_LISTEN) => self.added_entities.push(index),
            Effect::Action(action) => self.act(action),
            Effect::Slot(name) => drop(self.slots.insert(name, index)),
            // A new map, because clearing one costs as much as it ever held.
            Effect::ResetSlots => self.slots = HashMap::new(),
            Effect::Followup(name) => self.followup_action = name.as_deref(),
            Effect::Pause(paused) => self.paused = *paused,
            Effect::ActiveLoop(name) => self.active_loop = name.as_deref().map(|name| self.begin(name)),
            Effect::LoopInterrupted(is_interrupted) => {
                if let Some(active) = &mut self.active_loop {
                    active.is_interrupted = *is_interrupted;
                }
            }
            Effect::Rejected(name) => {
                if let Some(active) = self.active_loop.as_mut().filter(|active| active.is(name)) {
                    active.rejected = true;
                }
            }
            Effect::SessionStarted => *self = Self::initial(),
            Effect::Restart => *self = Self { followup_action: Some(ACTION_SESSION_START), ..Self::initial() },
            // The last two are never applied: see `after`.
            Effect::Entities | Effect::UserFeaturization | Effect::None | Effect::Undo | Effect::Rewind => {}
        }
    }

    fn act(&mut self, action: &'a Action) {
        self.latest_action = Some(action);
        self.followup_action = None;
        let Some(active) = &mut self.active_loop else { return };
        if !matches!(active.name, "" | NO_LOOP) {
            active.is_interrupted = false;
        }
        if action.name.as_deref().is_some_and(|name| active.is(name)) {
            active.rejected = false;
        }
    }

    fn begin(&self, name: &'a str) -> ActiveLoop<'a> {
        ActiveLoop { name, is_interrupted: false, rejected: false, trigger_message: self.latest_message }
    }

    pub(super) fn latest_action_name(&self) -> Option<&'a str> {
        self.latest_action.and_then(Action::label)
    }
}

impl ActiveLoop<'_> {
    /// Whether the action `name` is this loop.
    fn is(&self, name: &str) -> bool {
        self.name == name && name != NO_LOOP
    }
}
