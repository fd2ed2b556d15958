//! The derived index: from identities, conversations, users and sessions to offsets.
//!
//! Indexes with random keys inside the commit bring the rate of appends down to a quarter, so these are written behind it:
//! what the file does not have yet is held in memory ([`tail`]), and a thread of its own writes it in sorted batches into
//! `index.db` ([`file`]). A look-up asks the memory first and the file after, in this order: what leaves the memory is in the
//! file already.

pub(super) mod file;
mod service;
mod tail;

pub(super) use service::Index;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::By;

/// The key under which an identity of a conversation is indexed. Different ones may share it: the row decides.
pub(super) fn hash(conversation: &str, identity: &str) -> i64 {
    xxh3_64_with_seed(identity.as_bytes(), 0x7472_756e_6b6c_696e ^ xxh3_64(conversation.as_bytes())).cast_signed()
}

/// How many kinds of names there are.
const NAMES: usize = 3;

/// The number of a kind of names, as it is stored, and the name.
fn numbered(by: By<'_>) -> (usize, &str) {
    match by {
        By::Conversation(name) => (0, name),
        By::User(name) => (1, name),
        By::Session(name) => (2, name),
    }
}
