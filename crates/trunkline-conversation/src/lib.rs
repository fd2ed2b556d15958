//! Conversations: everything between the doors of a gateway and its journal. It knows no HTTP and no configuration.
//!
//! ```text
//! channel ─► inbox ─┐                             ┌─► answering ─► assistant
//! API ──► tracker ──┼─► intake ─► journal ─► subscriptions ─► brokers, channels
//! source ─► reading ┘      ▲                      │
//!    ▲                     └── append ◄── turn ◄──┘
//!    └── whoever waits ◄────────────────────┘
//! ```
//!
//! A [`Partition`] holds all of that for a slice of conversations. Its [`Intake`] is the one door through which events come in.
//! A message is recorded, and only a caller who asked for the answer waits for it; the subscription over all messages hands each to
//! the assistant ([`Answering`]), one after another within a conversation. What the assistant says is recorded, and only then
//! shown. When the process dies in between, the subscription finds the message again after the restart.

mod answering;
mod asked;
mod carrying;
mod inbox;
mod intake;
mod partition;
mod recorded_turn;
pub mod sources;
mod tracker;
mod turns;
mod waiting;

pub use answering::Answering;
pub use carrying::Part;
pub use intake::{Entry, Identity, Intake, Locked, Recorded, Route, SessionStart, Unrecorded, carry_channel};
pub use partition::{Partition, Partitions, StartError};
pub use tracker::TrackerError;
