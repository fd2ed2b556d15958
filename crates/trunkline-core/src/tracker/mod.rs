//! The state of a conversation, computed from its events: what Rasa 3.6.21 answers to `GET /conversations/{id}/tracker`.
//!
//! A [`Tracker`] is the list of a conversation's events and little else. Its state is computed when somebody asks for it:
//! an event that takes others back (`rewind`, `undo`) makes Rasa forget its state and build it again from the events that
//! still count, so only the last such event has a say in what can be seen. Reading N events and writing the state are
//! therefore O(N) each (in bytes, and expected, as hash tables are used), however many events are taken back.
//!
//! What differs from the original, and why:
//!
//! - There is no domain here. A conversation has the slots that its events named, in order of appearance, and the initial
//!   value of each is null.
//! - Bodies stand in `events` as they were recorded, not as Rasa would read and write them again: legacy names (`form`,
//!   `form_validation`) act as their successors but keep their names, and members that Rasa does not know stay.
//! - An event that Rasa could not read (an unknown type, an `action` with neither name nor text) joins the list without any
//!   other effect; there the whole tracker would be refused.
//! - Rasa's `entities` event changes the user event before it in place. There these entities survive an `undo`, are seen
//!   even before their own time with `until`, and, if the message had some already, appear in `events` and in
//!   `trigger_message`. Here they belong to `latest_message` for as long as the event counts.

mod applied;
mod effect;
mod history;
mod message;
mod state;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use history::Tracker;
pub use view::{IncludeEvents, UnknownIncludeEvents};
