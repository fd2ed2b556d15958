//! What may be under way together without a confirm in between.

/// The most bytes of a body with which a classic queue surely keeps the message in its index: below RabbitMQ's default for
/// `queue_index_embed_msgs_below`, less what the properties may add.
const EMBEDDED: usize = 4096 - 1024;

/// The least bytes of a body with which it surely keeps the message in the store that it shares with other queues.
const STORED: usize = 4096;

/// How much of a conversation may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// One event.
    Strict,
    /// Events that a classic queue keeps in the same place: a server that is killed loses the end of each place, and not the same
    /// end.
    ByPlace,
    /// All of a batch.
    Free,
}

/// Where a queue keeps a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Anywhere,
    InIndex,
    InStore,
}

impl Order {
    /// Where a message with a body of `size` bytes is kept: it may be under way together with others of its conversation that are
    /// kept there. `None` when it goes alone.
    pub(super) fn kept(self, size: usize) -> Option<Kept> {
        match self {
            Self::Strict => None,
            Self::ByPlace if size <= EMBEDDED => Some(Kept::InIndex),
            Self::ByPlace => (size >= STORED).then_some(Kept::InStore),
            Self::Free => Some(Kept::Anywhere),
        }
    }
}
