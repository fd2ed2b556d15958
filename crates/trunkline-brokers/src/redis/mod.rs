//! Broker and source `redis`: events as entries of a stream or a list, on a single node or a cluster.
//!
//! `Delivered` means that the server has applied the write. How much of that a power cut can take back is the server's business:
//! with `appendonly yes` and `appendfsync everysec` up to two seconds, with `appendfsync always` nothing.
//!
//! What makes a redelivery harmless: entries are added by a script, which Redis runs as one step, and which moves the cursor of
//! the subscription in the same step. The script first compares the cursor with what we believe it to be. So an attempt that was
//! given up and reaches the server late does nothing, or is recognised as done by the next one, even across a restart of ours.
//! Each event is there exactly once. On a cluster this needs one slot for everything: a key without placeholders, or with a hash
//! tag before the first of them. Without, it is at least once, an entry of a stream carries the id of its event, and each key
//! has the events of a conversation in order.
//!
//! A server that loses writes which it had confirmed goes back with its cursor and its data alike. That is noticed at the next batch,
//! and what was lost is delivered again. Where the cursor is gone altogether, nobody knows what else is: the log says which events to
//! export again.

mod address;
mod broker;
mod cursor;
mod error;
mod freely;
mod keys;
mod list;
mod once;
mod ready;
mod script;
mod settings;
mod source;
mod stream;

pub use broker::RedisBroker;
pub use settings::{redis_from_section, redis_source_from_section};
pub use source::RedisSource;

/// The kind of Redis value that holds the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Structure {
    Stream,
    List,
}

impl Structure {
    /// As `TYPE` calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::List => "list",
        }
    }

    /// Where events are, for a person.
    fn place(self, key: &str, server: &str) -> String {
        format!("{} `{key}` of {server}", self.name())
    }
}

/// The end of a list at which events are added. They are read from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

/// The fields of a stream's entry. The body is the first, which is where people look.
const DATA: &str = "data";
const ID: &str = "id";
const SENDER_ID: &str = "sender_id";
const TYPE: &str = "type";
