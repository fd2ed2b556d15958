//! Conversations: a person's message in, the assistant's answer out, both through the journal.
//!
//! ```text
//! channel ──► inbox ──► journal ──► subscription ──► answering ──► assistant
//!    ▲                     ▲                             │
//!    └── turns ◄───────────┴── append ◄──────────────────┘
//! ```
//!
//! The inbox appends the message and waits for nobody. The subscription over all messages hands each to the assistant, one
//! after another within a conversation. What the assistant says is appended, and only then shown to whoever waits in
//! [`turns`]. When the process dies in between, the subscription finds the message again after the restart.

mod answering;
mod channels;
mod inbox;
mod session;
mod tracker;
mod turns;

pub(crate) use answering::Answering;
pub(crate) use channels::{Channels, carry_channel};
pub(crate) use inbox::Conversations;
pub(crate) use tracker::TrackerError;
pub(crate) use turns::Turns;

use trunkline_core::Offset;

/// The identity of the last event of the answer to the message at `offset`. Finding it means that the message was answered.
pub(crate) fn turn_identity(offset: Offset) -> String {
    format!("turn:{offset}")
}
