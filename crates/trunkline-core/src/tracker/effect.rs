//! What an event does to a tracker, lifted out of its body.

use compact_str::CompactString;

use crate::json::Document;

/// What an event does. Values that only the end result may need stay in the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// The user said something.
    User,
    /// Entities are added to what the user said.
    Entities,
    /// Says how the user's words were read; seen only by the rules about loops.
    UserFeaturization,
    /// An action was executed.
    Action(Action),
    /// The slot of this name gets a value.
    Slot(CompactString),
    /// All slots lose their values.
    ResetSlots,
    /// The action of this name comes next.
    Followup(Option<CompactString>),
    /// The conversation is paused, or goes on.
    Pause(bool),
    /// The loop of this name begins; without a name the current one ends.
    ActiveLoop(Option<CompactString>),
    /// The current loop is interrupted, or is not any more.
    LoopInterrupted(bool),
    /// The action of this name refused to run.
    Rejected(CompactString),
    /// The conversation starts over.
    Restart,
    /// A session begins.
    SessionStarted,
    /// The last action is taken back.
    Undo,
    /// The last message of the user is taken back.
    Rewind,
    /// Nothing.
    None,
}

/// An executed action. One of the two is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) name: Option<CompactString>,
    /// What an end-to-end action says.
    pub(super) text: Option<CompactString>,
}

impl Effect {
    pub(super) fn of(event: &Document) -> Self {
        let text = |key| event.get_str(key).map(CompactString::from);
        match event.get_str("event").as_deref().unwrap_or_default() {
            "user" => Self::User,
            "entities" => Self::Entities,
            "user_featurization" => Self::UserFeaturization,
            "action" => Action::of(text("name"), text("action_text")).map_or(Self::None, Self::Action),
            "slot" => text("name").map_or(Self::None, Self::Slot),
            "reset_slots" => Self::ResetSlots,
            "followup" => Self::Followup(text("name")),
            "pause" => Self::Pause(true),
            "resume" => Self::Pause(false),
            "active_loop" | "form" => Self::ActiveLoop(text("name")),
            "loop_interrupted" => Self::LoopInterrupted(event.get("is_interrupted") == Some("true")),
            "form_validation" => Self::LoopInterrupted(matches!(event.get("validate"), Some("false" | "null"))),
            "action_execution_rejected" => text("name").map_or(Self::None, Self::Rejected),
            "restart" => Self::Restart,
            "session_started" => Self::SessionStarted,
            "undo" => Self::Undo,
            "rewind" => Self::Rewind,
            _ => Self::None,
        }
    }
}

impl Action {
    fn of(name: Option<CompactString>, text: Option<CompactString>) -> Option<Self> {
        (name.is_some() || text.is_some()).then_some(Self { name, text })
    }

    /// Its name; an empty one counts as none.
    pub(super) fn given_name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }

    /// What `latest_action_name` says: the name, or else the text.
    pub(super) fn label(&self) -> Option<&str> {
        self.given_name().or(self.text.as_deref())
    }
}
