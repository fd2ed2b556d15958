//! The limits of what comes in, in one place; `docs/limits.md` has them as a table.
//!
//! A limit stands here when it says what an event may be, at every door. How much one request may take, in bytes and time, is a
//! setting of the server.

/// The longest name of a conversation, a type and a channel, in characters: what the `sender_id` column of Rasa's SQL tables
/// holds. Names are kept in memory and in the index for many events, so a longer one is refused.
pub const MAX_NAME_CHARS: usize = 255;

/// The longest names of a user and of a session, in bytes. A longer one is kept in its event, and nothing is found by it.
pub const MAX_USER_BYTES: usize = 255;

/// The longest `Idempotency-Key`, in bytes: it is kept as long as it identifies something.
pub const MAX_KEY_BYTES: usize = 255;

/// The longest number, in characters. Nobody needs as many digits, and receivers refuse them: Jackson, which most consumers in Java
/// read JSON with, after 1,000 characters, and Python an integer of more than 4,300 digits.
pub const MAX_NUMBER_CHARS: usize = 1_000;

/// The deepest nesting. What is recorded and answered has some levels more around it (the parse data of an event, the list of a
/// tracker), and must still be read by us and by others.
pub const MAX_INPUT_DEPTH: u32 = 120;

/// The most events in one request.
pub const MAX_EVENTS: usize = 10_000;

/// So many times as many bytes as it has may a list of events become, when each gets the name of its conversation...
pub const MAX_GROWTH: usize = 4;

/// ... and so many bytes more.
pub const FREE_GROWTH: usize = 64 << 10;

/// The most events of a conversation that are put together to its tracker.
pub const MAX_TRACKER_EVENTS: usize = 100_000;

/// The most bytes of their bodies.
pub const MAX_TRACKER_BYTES: usize = 64 << 20;
