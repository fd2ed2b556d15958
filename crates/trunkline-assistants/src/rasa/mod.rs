//! `type: rasa`: a server that speaks Rasa's REST channel.
//!
//! With `events: messages` the replies are said as they are read, and we write the tracker events. With `events: tracker`
//! the server keeps the tracker: after the turn its events are recorded first and the replies said afterwards.
//!
//! [`address`] holds what Rasa does with conversation ids in addresses.

mod address;
mod assistant;
mod settings;
mod tracker;

pub(crate) use settings::from_section;
