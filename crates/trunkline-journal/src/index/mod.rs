//! The derived index: from identities and conversations to offsets.
//!
//! Indexes with random keys inside the commit bring the rate of appends down to a quarter, so these are written behind it:
//! what the file does not have yet is held in memory ([`tail`]), and a thread of its own writes it in sorted batches into
//! `index.db` ([`file`]). A look-up asks the memory first and the file after, in this order: what leaves the memory is in the
//! file already.

pub(crate) mod file;
mod service;
mod tail;

pub(crate) use service::Index;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The key under which an identity is indexed. Different identities may share it: the row decides.
pub(crate) fn hash(identity: &str) -> i64 {
    xxh3_64_with_seed(identity.as_bytes(), 0x7472_756e_6b6c_696e).cast_signed()
}
