//! What a channel of one's own needs, so that its crate depends on `trunkline` alone.
//!
//! A channel is a type that implements [`Channel`], and a row of the table that says how it is made from its section of
//! `credentials.yml`. Its routes turn requests into messages and hand them to the [`Inbox`] of its [`Door`]; when that has taken a
//! message, it is on record. The answer comes back to whoever waits for it ([`Inbox::converse`]), or the channel's [`Receiver`] carries
//! it to the person, retried and in order ([`Channel::outgoing`]). `examples/channels/rust` is a complete one that does the latter.

pub use async_trait::async_trait;
pub use axum;
pub use trunkline_channels::{
    Bodies, BuildChannel, Channel, ChannelSpec, Door, Problem, ReceivedBody, idempotency_key, json, json_with,
};
pub use trunkline_config::{Secret, Section, TimeUnit, UnknownKeys};
pub use trunkline_core::{
    Batch, BotMessage, CollectedMessage, Event, EventId, Forms, Inbox, InboxError, Incoming, Offset, Outcome, Receiver, Replies,
    Shown, UserMessage, render,
};
