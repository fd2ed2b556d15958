//! Reads `endpoints.yml`, `credentials.yml` and `trunkline.yml` so that a person can repair them in one go.
//!
//! A file becomes a [`Document`]: a tree in which every key and value knows its line and column. A [`Section`] reads
//! one mapping of that tree into a typed plan. No accessor stops at a mistake: it records a [`Diagnostic`] with file,
//! line, column, key path, what was found, what was expected and a hint, and goes on. At the end of a section every
//! key that nobody asked for is reported too, so a misspelt key is never silent.
//!
//! ```
//! use trunkline_config::{Diagnostics, Document, Style, UnknownKeys};
//!
//! let text = "event_broker:\n  type: file\n  paht: events.log\n";
//! let diagnostics = Diagnostics::new();
//! if let Some(document) = Document::parse("endpoints.yml", text, &|_| None, &diagnostics) {
//!     document.read(UnknownKeys::Warn, &diagnostics, |root| {
//!         root.section("event_broker", |broker| {
//!             let kind = broker.string("type").unwrap_or_else(|| "pika".to_owned());
//!             let path = broker.string("path").unwrap_or_else(|| "rasa_event.log".to_owned());
//!             (kind, path)
//!         })
//!     });
//! }
//! assert!(!diagnostics.has_errors());
//! assert!(diagnostics.render(Style::Plain).contains("did you mean `path`?"));
//! ```
//!
//! # The YAML that is read
//!
//! YAML 1.2 with the scalar rules of Rasa's loader: `yes` and `on` are text, `017` is 17, `0o17` is 15, `1_000` is
//! 1000. Dates stay text. `${NAME}` in an unquoted scalar is replaced from the environment and stays text, so
//! accessors for numbers and booleans accept text as well. Aliases and merge keys (`<<`) are resolved.
//!
//! # What it refuses
//!
//! - to do I/O: callers hand in the text and a function that looks up environment variables;
//! - more than [`MAX_BYTES`] of text, [`MAX_NODES`] nodes (copies made by aliases included) or [`MAX_DEPTH`] levels;
//! - a root that is not a mapping, several documents in one file, duplicate keys, keys that are not text, tags other
//!   than YAML's own and `!env_var`, and `%` directives;
//! - to show a secret. A value read with [`Section::secret`], a value under a key that sounds secret, and a URL with
//!   credentials appear in diagnostics as `[redacted]`, a value from the environment as `${NAME}`. The [`Debug`] of a
//!   tree shows its shape, never its values.

mod convert;
mod diagnostic;
mod interpolate;
mod node;
mod parse;
mod path;
mod render;
mod scalar;
mod secret;
mod section;
mod suggest;

pub use convert::TimeUnit;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use node::{Key, Node, Span, Value};
pub use parse::{Document, MAX_BYTES, MAX_DEPTH, MAX_NODES};
pub use render::Style;
pub use secret::Secret;
pub use section::{Section, UnknownKeys};
pub use suggest::closest;
