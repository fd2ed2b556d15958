//! The other languages of the tests.

use std::path::PathBuf;

/// The interpreter of the Python environment with Rasa's broker classes and the clients that read back what arrived.
pub fn python() -> PathBuf {
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python-env/bin/python"));
    assert!(python.exists(), "the Python environment of the tests is missing; make it with: scripts/interpreters");
    python
}
