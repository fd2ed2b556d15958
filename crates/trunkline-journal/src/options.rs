//! What can be chosen about a journal.

use std::time::Duration;

use trunkline_core::Clock;

/// What can be chosen about a journal; the defaults suit one machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long, and at the most over how many events, an identity is remembered. Default: 72 hours, 10 million.
    pub deduplication_window: Duration,
    /// See [`Options::deduplication_window`].
    pub deduplication_events: u64,
    /// How many bytes of the newest events stay in memory. Default: 8 MiB.
    pub recent_bytes: usize,
    /// How many bytes of appends may wait for the writer. A sender beyond that waits. Default: 32 MiB.
    pub queue_bytes: usize,
    /// What is deleted, and when.
    pub retention: Retention,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            deduplication_window: Duration::from_hours(72),
            deduplication_events: 10_000_000,
            recent_bytes: 8 << 20,
            queue_bytes: 32 << 20,
            retention: Retention::default(),
            clock: Clock::system(),
        }
    }
}

/// What is deleted, and when. Events that an active subscription has not passed are kept, unless
/// [`Retention::past_subscriptions`] says otherwise.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Events older than this may go. Default: none go by age.
    pub max_age: Option<Duration>,
    /// The bytes that the events may take on disk; the oldest go first. When nothing may go, appends are answered
    /// "unavailable". Default: 10 GiB.
    pub max_bytes: u64,
    /// Whether events go even when a subscription has not passed them. They are counted and reported. Default: false.
    pub past_subscriptions: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self { max_age: None, max_bytes: 10 << 30, past_subscriptions: false }
    }
}
