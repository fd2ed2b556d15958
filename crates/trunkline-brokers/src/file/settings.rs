//! The section `type: file`.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::{Section, UnknownKeys};
use trunkline_core::Broker;

use super::FileBroker;
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

/// Rasa's default.
const DEFAULT_PATH: &str = "rasa_event.log";

/// Builds the broker from its section; a relative `path` starts at `directory`.
///
/// A key that is unknown is an error, as in the original. The keys that Rasa takes for those of an HTTP endpoint never
/// reach its broker; here they are answered by a warning.
pub fn file_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    let path = section.string("path").unwrap_or_else(|| DEFAULT_PATH.to_owned());
    if path.is_empty() {
        section.unexpected("path", "the name of a file", None);
        return None;
    }
    warn_of_idle_keys(section, ENDPOINT_KEYS.into_iter().chain(["url"]));
    if section.has("logger_file") {
        // Found in old examples; its distance from `path` is too great for a guess.
        section.node("logger_file");
        section.error("logger_file", "unknown key `logger_file`", Some("did you mean `path`?"));
    }
    Some(Arc::new(FileBroker::new(directory.join(path))))
}
