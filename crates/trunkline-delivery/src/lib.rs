//! Subscriptions: from the journal to a receiver, in order, until it arrived.
//!
//! A [`Subscription`] is a name, a filter and a cursor over the journal. Its dispatcher reads the journal at the receiver's
//! pace, gives batches to a [`Receiver`](trunkline_core::Receiver), and acts on the outcome of every event: go on, try again later, or make it a dead
//! letter.
//!
//! - **Order.** Events are sorted into *lanes* ([`LaneMode`]). Inside a lane an event is tried only after the one before it is
//!   settled; lanes run side by side. A conversation never leaves its lane.
//! - **Retry.** A lane that failed waits, longer each time, with jitter ([`Backoff`]), and what failed is tried again alone, so
//!   that an event at fault takes no other with it. When batch after batch fails, of more than one lane, the receiver is down as
//!   a whole: a breaker keeps all lanes back and lets a single event through now and then to find out.
//! - **Dead letters.** What a receiver rejects, or what fails again and again while the receiver is otherwise ready, is recorded
//!   in the journal. Its conversation goes on, or is held ([`OnExhausted`]).
//! - **Memory.** What is read and not settled is bounded in number and bytes; of lanes that wait only offsets are kept.
//! - **Restart.** The cursor is stored behind the deliveries, so what was delivered in the last fifth of a second may be
//!   delivered twice; each event then has the same id. A receiver that stores our cursor with its data
//!   ([`Receiver::position`](trunkline_core::Receiver::position)) gets each event once.
//!
//! Nothing here knows what a broker is, apart from the few lines that make every [`trunkline_core::Broker`] a receiver.

mod attempt;
mod backoff;
mod breaker;
mod delivery;
mod dispatcher;
mod filter;
mod lanes;
mod metrics;
mod readiness;
mod subscription;

pub use backoff::Backoff;
pub use delivery::{Delivery, Report, Shutdown, start};
pub use filter::{Filter, FilterError};
pub use metrics::Metrics;
pub use subscription::{BatchLimits, LaneMode, OnExhausted, RegisterError, Retry, Start, Subscription};
