//! What answers a user message: one adapter per kind of assistant, and the table of every kind that Trunkline knows.
//!
//! | type | answers by |
//! | --- | --- |
//! | `echo` | saying the text back; the default |
//! | `rasa` | asking a server that speaks Rasa's REST channel |
//! | `http` | asking any URL, in the same form: for people who write their own in any language |
//!
//! [`from_section`] reads the `assistant` section of `trunkline.yml` into an [`AssistantPlan`]. Building touches nothing outside the
//! process; the first turn connects.
//!
//! The adapters ask and translate. The time limit of a turn, the apology and the number of turns at the same time are in
//! the plan, but are the caller's to keep; so is asking again. An adapter never asks twice, because an assistant that
//! was asked may have acted. They ask by the guarded client of `trunkline-http`.
//!
//! ```
//! use std::path::Path;
//!
//! use trunkline_config::{Diagnostics, Document, UnknownKeys};
//!
//! let text = "assistant:\n  type: rasa\n  url: http://localhost:5006\n  timeout: 20s\n";
//! let diagnostics = Diagnostics::new();
//! let document = Document::parse("trunkline.yml", text, &|_| None, &diagnostics).expect("valid YAML");
//! let assistants = trunkline_assistants::assistants();
//! let plan = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
//!     root.section_or_empty("assistant", |section| {
//!         trunkline_assistants::from_section(section, Path::new("pizzeria"), &assistants)
//!     })
//! });
//! let plan = plan.expect("there are no errors");
//! assert_eq!((plan.kind, plan.timeout.as_secs(), plan.concurrency), ("rasa", 20, 256));
//! ```

mod answer;
mod client;
mod echo;
mod http;
mod place;
mod plan;
mod rasa;
mod replies;
mod table;

pub use echo::Echo;
pub use plan::{AssistantPlan, DEFAULT_APOLOGY, DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT, MAX_TIMEOUT, from_section};
pub use table::{AssistantSpec, BuildAssistant, DEFAULT_KIND, assistants};
