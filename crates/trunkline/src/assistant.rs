//! What an assistant of one's own needs, so that its crate depends on `trunkline` alone.
//!
//! An assistant is a type that implements [`Assistant`], and a row of the table that says how it is made from `assistant` in
//! `trunkline.yml`. It is asked once for every turn, and what it says is on record before anyone sees it. `examples/assistants/rust` is
//! a complete one.

pub use async_trait::async_trait;
pub use trunkline_assistants::{AssistantSpec, BuildAssistant};
pub use trunkline_config::{Secret, Section, TimeUnit, UnknownKeys};
pub use trunkline_core::{Assistant, AssistantError, BotMessage, Recording, Turn, UserMessage};
