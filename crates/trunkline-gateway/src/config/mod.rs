//! From the files of a project to the [`Plan`](crate::Plan) that the gateway runs on.
//!
//! Three files, all optional: Rasa's `endpoints.yml` and `credentials.yml` as they are, and `trunkline.yml` for what neither
//! has. Reading them opens nothing else and connects nowhere; every problem of every file is reported in one run.

mod access;
mod arguments;
mod credentials;
mod endpoints;
mod name;
mod project;
mod settings;
mod sources;

pub use arguments::ArgumentsError;
pub(crate) use name::{ASSISTANT, MOST_CHARS, is_name};
pub use name::{listed, there_is_no};
pub use project::{Overrides, Project};
pub use sources::find_readable;
