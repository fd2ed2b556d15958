//! Broker `exec`: a child process of any language that reads and writes JSON lines; and `python`, the same with a helper of ours
//! that loads a broker class written for Rasa.
//!
//! The protocol, version 1, is written down in `docs/brokers/exec.md`. `Delivered` means what the child means by it. A
//! redelivery is harmless when the child recognises the event by its id, which stays the same on every attempt.
//!
//! One child serves one batch at a time. It is handed an event only after the one before it in the same conversation was
//! delivered, so that no child has to think about order; other conversations are pipelined. It is started by the first call
//! that needs it, and again after it died, at growing distances when it keeps dying. A call that its caller gives up takes the
//! child with it: what it was still doing must not overtake what comes next. However a child ends, what it started ends with it.

mod broker;
mod errors;
mod group;
mod lines;
mod process;
mod program;
mod protocol;
pub(crate) mod python;
mod settings;
#[cfg(test)]
mod tests;
mod turns;

pub use broker::ExecBroker;
pub use python::python_from_section;
pub use settings::exec_from_section;
