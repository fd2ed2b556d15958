//! The section `type: file`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_adapter::ReadBy;
use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_core::{Broker, Source};

use super::{FileBroker, FileSource, Fsync, Options, Rotation, Start};
use crate::endpoint::{ENDPOINT_KEYS, warn_of_idle_keys};

/// Rasa's default.
const DEFAULT_PATH: &str = "rasa_event.log";

/// Smaller files would be more directory than content.
const LEAST_SIZE: u64 = 4 << 10;

const LEAST_PERIOD: Duration = Duration::from_mins(1);
const MOST_PERIOD: Duration = Duration::from_hours(366 * 24);

/// Builds the broker from its section; a relative `path` starts at `directory`.
///
/// A key that is unknown is an error, as in the original. The keys that Rasa takes for those of an HTTP endpoint never
/// reach its broker; here they are answered by a warning.
pub fn file_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    let path = path(section)?;
    warn_of_idle_keys(section, ENDPOINT_KEYS.into_iter().chain(["url"]));
    if section.has("logger_file") {
        // Found in old examples; its distance from `path` is too great for a guess.
        section.node("logger_file");
        section.error("logger_file", "unknown key `logger_file`", Some("did you mean `path`?"));
    }
    let rotate = section.section("rotate", rotation);
    let fsync = section.enumeration("fsync", &[("batch", Fsync::Batch), ("never", Fsync::Never)]).unwrap_or_default();
    Some(Arc::new(FileBroker::with_options(directory.join(path), Options { rotate, fsync })))
}

/// Builds the source from its section; relative paths start at `directory`. A key that is unknown is an error.
pub fn file_source_from_section(section: &Section<'_>, directory: &Path, _by: ReadBy) -> Option<Arc<dyn Source>> {
    section.unknown_keys(UnknownKeys::Refuse);
    let path = path(section)?;
    let start = section.enumeration("start", &[("beginning", Start::Beginning), ("now", Start::Now)]).unwrap_or_default();
    let position = section.string("position").map(|position| directory.join(position));
    Some(Arc::new(FileSource::new(directory.join(path), start, position)))
}

fn path(section: &Section<'_>) -> Option<String> {
    let path = section.string("path").unwrap_or_else(|| DEFAULT_PATH.to_owned());
    if path.is_empty() {
        section.unexpected("path", "the name of a file", None);
        return None;
    }
    Some(path)
}

fn rotation(section: &Section<'_>) -> Rotation {
    let size = section.bytes("size");
    if size.is_some_and(|size| size < LEAST_SIZE) {
        section.unexpected("size", "a size of at least 4 KiB", None);
    }
    let every = section.duration("every", TimeUnit::Seconds);
    if every.is_some_and(|every| !(LEAST_PERIOD..=MOST_PERIOD).contains(&every)) {
        section.unexpected("every", "a duration from 1 minute to 366 days", None);
    }
    if !section.has("size") && !section.has("every") {
        section.error("size", "nothing says when to rotate", Some("add `size: 100 MB`, `every: 1d`, or both"));
    }
    let keep = section.integer("keep", 1..=100_000_i64).and_then(|keep| usize::try_from(keep).ok());
    let compress = section.enumeration("compress", &[("none", false), ("gzip", true)]).unwrap_or(false);
    Rotation { size, every, keep, compress }
}
