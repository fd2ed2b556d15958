//! The tracker as JSON.

use std::str::FromStr;

use super::applied::applied;
use super::effect::{Action, Effect};
use super::history::{Entry, Tracker};
use super::message;
use super::state::{ActiveLoop, TrackerState};
use super::writer::{ObjectWriter, optional};
use crate::json;

/// Which events a tracker is shown with: the query parameter `include_events`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeEvents {
    /// No events: null.
    None,
    /// The events that still count: neither what was taken back or restarted, nor what took it back. A loop looks like one
    /// turn, however often it asked.
    Applied,
    /// All events after the last restart; all events when there was none. What Rasa does unless asked otherwise.
    #[default]
    AfterRestart,
    /// All events.
    All,
}

impl IncludeEvents {
    /// The names of the values, in Rasa's order.
    pub const NAMES: [&str; 4] = ["NONE", "APPLIED", "AFTER_RESTART", "ALL"];
}

impl FromStr for IncludeEvents {
    type Err = UnknownIncludeEvents;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name.to_uppercase().as_str() {
            "NONE" => Ok(Self::None),
            "APPLIED" => Ok(Self::Applied),
            "AFTER_RESTART" => Ok(Self::AfterRestart),
            "ALL" => Ok(Self::All),
            _ => Err(UnknownIncludeEvents),
        }
    }
}

/// A name that is none of [`IncludeEvents::NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("should be one of {}", IncludeEvents::NAMES.join(", "))]
pub struct UnknownIncludeEvents;

impl Tracker {
    /// The state after all events, in Rasa's order of keys, with the events that `include` asks for.
    pub fn to_json(&self, include: IncludeEvents) -> String {
        let state = TrackerState::after(&self.events);
        let mut object = ObjectWriter::new(self.layout);
        object.member("sender_id", &json::quote(&self.conversation, self.layout));
        object.member("slots", &self.slots(&state));
        object.member("latest_message", &self.latest_message(&state));
        object.member("latest_event_time", &self.latest_event_time());
        object.member("followup_action", &optional(state.followup_action, self.layout));
        object.member("paused", boolean(state.paused));
        self.write_events(include, &mut object);
        object.member("latest_input_channel", &self.latest_input_channel());
        object.member(
            "active_loop",
            &state.active_loop.as_ref().map_or_else(|| "{}".to_owned(), |active| self.active_loop(active)),
        );
        object.member("latest_action", &self.latest_action(state.latest_action));
        object.member("latest_action_name", &optional(state.latest_action_name(), self.layout));
        object.finish()
    }

    fn slots(&self, state: &TrackerState<'_>) -> String {
        let mut object = ObjectWriter::new(self.layout);
        for name in &self.slots.ordered {
            let event = state.slots.get(name.as_str()).map(|&index| self.events[index].document(self.layout));
            object.member(name, event.as_ref().and_then(|event| event.get("value")).unwrap_or("null"));
        }
        object.finish()
    }

    fn latest_message(&self, state: &TrackerState<'_>) -> String {
        let added = state.added_entities.iter().map(|&index| &self.events[index]);
        message::latest_message(self.event(state.latest_message), added, self.layout)
    }

    fn latest_event_time(&self) -> String {
        self.events.last().map_or_else(null, |entry| self.member(entry, "timestamp"))
    }

    /// Of the last message ever, even if it was taken back.
    fn latest_input_channel(&self) -> String {
        let user = self.events.iter().rfind(|entry| entry.effect == Effect::User);
        user.map_or_else(null, |entry| self.member(entry, "input_channel"))
    }

    fn active_loop(&self, active: &ActiveLoop<'_>) -> String {
        let mut object = ObjectWriter::new(self.layout);
        object.member("name", &json::quote(active.name, self.layout));
        object.member("is_interrupted", boolean(active.is_interrupted));
        object.member("rejected", boolean(active.rejected));
        object.member("trigger_message", &message::parse_data(self.event(active.trigger_message), self.layout));
        object.finish()
    }

    fn latest_action(&self, action: Option<&Action>) -> String {
        let mut object = ObjectWriter::new(self.layout);
        if let Some(action) = action {
            match action.given_name() {
                Some(name) => object.member("action_name", &json::quote(name, self.layout)),
                None => object.member("action_text", &optional(action.text.as_deref(), self.layout)),
            }
        }
        object.finish()
    }

    fn write_events(&self, include: IncludeEvents, object: &mut ObjectWriter) {
        match include {
            IncludeEvents::None => object.member("events", "null"),
            IncludeEvents::Applied => {
                object.array("events", applied(&self.events).into_iter().map(|index| &*self.events[index].body));
            }
            IncludeEvents::AfterRestart => object.array("events", self.after_restart().iter().map(|entry| &*entry.body)),
            IncludeEvents::All => object.array("events", self.events.iter().map(|entry| &*entry.body)),
        }
    }

    fn after_restart(&self) -> &[Entry] {
        let restart = self.events.iter().rposition(|entry| entry.effect == Effect::Restart);
        self.events.split_at(restart.map_or(0, |restart| restart + 1)).1
    }

    fn event(&self, index: Option<usize>) -> Option<&Entry> {
        index.map(|index| &self.events[index])
    }

    fn member(&self, entry: &Entry, name: &str) -> String {
        entry.document(self.layout).get(name).map_or_else(null, str::to_owned)
    }
}

fn boolean(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

fn null() -> String {
    "null".to_owned()
}
