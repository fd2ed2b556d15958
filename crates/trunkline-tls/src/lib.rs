//! TLS as the adapters have it in common: the files of a client, and why no encrypted connection came about.
//!
//! Each adapter has the keys of its original for the files, and gives them to its own library; here they are read and checked, and
//! here a person is told what to do when servers and certificates do not agree.

mod fault;
mod files;

pub use fault::{Fault, Keys};
pub use files::{Pem, TlsFiles};
