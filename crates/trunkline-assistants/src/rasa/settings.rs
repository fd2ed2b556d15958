//! The section `type: rasa`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_config::Section;
use trunkline_core::{Assistant, Recording};

use super::address::Addresses;
use super::assistant::Rasa;
use crate::client::{Client, size};

/// A tracker holds the whole conversation, about a kilobyte for each event.
const DEFAULT_MAX_TRACKER: u64 = 16 << 20;

/// Builds the assistant from its section.
pub(crate) fn from_section(section: &Section<'_>, directory: &Path, timeout: Duration) -> Option<Arc<dyn Assistant>> {
    let choices = [("messages", Recording::Gateway), ("tracker", Recording::Assistant)];
    let recording = section.enumeration("events", &choices).unwrap_or(Recording::Gateway);
    let stream = section.boolean("stream").unwrap_or(false);
    let max_tracker = size(section, "max_tracker", DEFAULT_MAX_TRACKER);
    match recording {
        Recording::Assistant if stream => {
            let why = "`stream` has no effect with `events: tracker`, where replies are said when the events are recorded";
            section.warning("stream", why, None);
        }
        Recording::Gateway if section.has("max_tracker") => {
            section.warning("max_tracker", "`max_tracker` has no effect without `events: tracker`", None);
        }
        Recording::Assistant | Recording::Gateway => {}
    }
    let client = Client::from_section("rasa", section, directory, timeout)?;
    let addresses = Addresses::new(client.url(), stream && recording == Recording::Gateway);
    Some(Arc::new(Rasa { client, addresses, recording, max_tracker }))
}
