//! Which events of a conversation still count: Rasa's "applied events".
//!
//! A restart and a new session forget all that was before. `undo` takes back everything from the last action on, `rewind`
//! everything from the last message of the user on and then from the action before it. None of these four counts itself.
//!
//! A loop (a form) that runs again in its happy path does not count either, and takes back what was said and done since it
//! ran before, so that a loop looks like one turn, however often the user had to be asked. It is in its happy path unless
//! one of these stands after its previous run: the end of a loop, its own rejection, or a message of the user to which the
//! next named action was another one. Other events (slots, what the bot said) stay in any case.
//!
//! Rasa looks for these by walking backwards. Here each has a stack of positions, so that an event costs a constant time.

use std::collections::{HashMap, HashSet};

use super::effect::Effect;
use super::history::Entry;

/// The indices of the events that still count, in order.
pub(super) fn applied(events: &[Entry]) -> Vec<usize> {
    let loops = loop_names(events);
    let mut steps = Steps::default();
    for (index, entry) in events.iter().enumerate() {
        match &entry.effect {
            Effect::Restart | Effect::SessionStarted => steps = Steps::default(),
            Effect::Undo => steps.take_back(events, is_action),
            Effect::Rewind => {
                steps.take_back(events, |effect| *effect == Effect::User);
                steps.take_back(events, is_action);
            }
            Effect::Action(action) => match action.name.as_deref().filter(|name| loops.contains(name)) {
                Some(name) if steps.marks.runs_again(name) => steps.fold(events, name),
                _ => steps.push(index, &entry.effect),
            },
            effect => steps.push(index, effect),
        }
    }
    steps.list.into_iter().flatten().collect()
}

/// The loops that are activated anywhere in the conversation, be it later.
fn loop_names(events: &[Entry]) -> HashSet<&str> {
    let names = events.iter().filter_map(|entry| match &entry.effect {
        Effect::ActiveLoop(name) => name.as_deref(),
        _ => None,
    });
    names.filter(|name| !name.is_empty()).collect()
}

fn is_action(effect: &Effect) -> bool {
    matches!(effect, Effect::Action(_))
}

/// The events that count so far.
#[derive(Default)]
struct Steps<'a> {
    /// Indices of events; none where a loop took one back. A *position* is an index into this list.
    list: Vec<Option<usize>>,
    marks: Marks<'a>,
}

impl<'a> Steps<'a> {
    fn push(&mut self, index: usize, effect: &'a Effect) {
        self.marks.add(effect, self.list.len());
        self.list.push(Some(index));
    }

    /// Takes back all events up to and including the last one that `is_last` accepts; all of them if there is none.
    fn take_back(&mut self, events: &'a [Entry], is_last: impl Fn(&Effect) -> bool) {
        while let Some(step) = self.list.pop() {
            let Some(effect) = step.map(|index| &events[index].effect) else { continue };
            self.marks.remove(effect);
            if is_last(effect) {
                break;
            }
        }
    }

    /// Takes back what was said and done since the loop `name` ran.
    fn fold(&mut self, events: &'a [Entry], name: &str) {
        let ran = self.marks.last_run(name);
        while let Some(&position) = self.marks.said_and_done.last().filter(|&&position| Some(position) > ran) {
            if let Some(index) = self.list[position].take() {
                self.marks.remove(&events[index].effect);
            }
        }
    }
}

/// Where the events stand that decide whether a loop runs again. Each list is in order of position.
#[derive(Default)]
struct Marks<'a> {
    /// Actions, messages and their featurization: what a loop takes back.
    said_and_done: Vec<usize>,
    users: Vec<usize>,
    actions: Vec<ActionMark<'a>>,
    actions_by_name: HashMap<&'a str, Vec<usize>>,
    rejections_by_name: HashMap<&'a str, Vec<usize>>,
    loop_ends: Vec<usize>,
}

/// An action, and the turns of the user up to it.
#[derive(Clone, Copy)]
struct ActionMark<'a> {
    position: usize,
    /// The last turn.
    last: Option<Turn<'a>>,
    /// The last turn that was answered by another action than `last` was.
    other: Option<Turn<'a>>,
}

/// A message of the user and the named action that was next.
#[derive(Clone, Copy)]
struct Turn<'a> {
    user: usize,
    action: &'a str,
}

impl<'a> Marks<'a> {
    fn add(&mut self, effect: &'a Effect, position: usize) {
        match effect {
            Effect::User => self.users.push(position),
            Effect::Action(action) => {
                let name = action.name.as_deref();
                let mark = self.action_mark(name, position);
                self.actions.push(mark);
                if let Some(name) = name {
                    self.actions_by_name.entry(name).or_default().push(position);
                }
            }
            Effect::Rejected(name) => self.rejections_by_name.entry(name).or_default().push(position),
            Effect::ActiveLoop(None) => self.loop_ends.push(position),
            _ => {}
        }
        if is_said_or_done(effect) {
            self.said_and_done.push(position);
        }
    }

    /// Removes the last mark that an event with `effect` left.
    fn remove(&mut self, effect: &Effect) {
        match effect {
            Effect::User => drop(self.users.pop()),
            Effect::Action(action) => {
                self.actions.pop();
                if let Some(name) = action.name.as_deref() {
                    self.actions_by_name.get_mut(name).and_then(Vec::pop);
                }
            }
            Effect::Rejected(name) => drop(self.rejections_by_name.get_mut(name.as_str()).and_then(Vec::pop)),
            Effect::ActiveLoop(None) => drop(self.loop_ends.pop()),
            _ => {}
        }
        if is_said_or_done(effect) {
            self.said_and_done.pop();
        }
    }

    fn action_mark(&self, name: Option<&'a str>, position: usize) -> ActionMark<'a> {
        let before = self.actions.last();
        let (last, other) = before.map_or((None, None), |before| (before.last, before.other));
        let user = self.users.last().copied().filter(|&user| before.is_none_or(|before| user > before.position));
        let (Some(user), Some(action)) = (user, name) else { return ActionMark { position, last, other } };
        let other = if last.is_some_and(|last| last.action != action) { last } else { other };
        ActionMark { position, last: Some(Turn { user, action }), other }
    }

    /// Whether the loop `name` ran before and is still in its happy path.
    fn runs_again(&self, name: &str) -> bool {
        let left = [self.loop_ends.last().copied(), last_of(&self.rejections_by_name, name), self.last_turn_without(name)];
        self.last_run(name) > left.into_iter().flatten().max()
    }

    fn last_run(&self, name: &str) -> Option<usize> {
        last_of(&self.actions_by_name, name)
    }

    /// The last message to which the next named action was not `name`.
    fn last_turn_without(&self, name: &str) -> Option<usize> {
        let action = self.actions.last()?;
        [action.last, action.other].into_iter().flatten().find(|turn| turn.action != name).map(|turn| turn.user)
    }
}

fn last_of(positions: &HashMap<&str, Vec<usize>>, name: &str) -> Option<usize> {
    positions.get(name)?.last().copied()
}

fn is_said_or_done(effect: &Effect) -> bool {
    matches!(effect, Effect::User | Effect::Action(_) | Effect::UserFeaturization)
}
