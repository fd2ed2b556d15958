//! `credentials.yml`: the channels.

use std::path::Path;
use std::sync::Arc;

use trunkline_adapter::Table;
use trunkline_channels::{Channel, ChannelSpec, Rest};
use trunkline_config::Section;

/// The channels without a file.
pub(super) fn default_channels() -> Vec<Arc<dyn Channel>> {
    vec![Arc::new(Rest)]
}

pub(super) fn channels(root: &Section<'_>, directory: &Path, table: &Table<ChannelSpec>) -> Vec<Arc<dyn Channel>> {
    let mut channels = Vec::new();
    for (key, _) in root.entries() {
        let name = key.name.as_str();
        match table.find_exactly(name) {
            Ok(spec) => match spec.build {
                Some(build) => channels.extend(root.section_or_empty(name, |section| build(section, directory))),
                None => root.error(name, table.not_built_in(spec), None),
            },
            Err(_) if name.contains('.') => {
                let built_in = table.built_in();
                let message =
                    format!("`{name}` is a Python class, and custom channels are not built in yet; built in: {built_in}");
                root.error(name, message, None);
            }
            Err(unknown) => {
                let hint = unknown.nearest.map(|nearest| format!("did you mean `{nearest}`?"));
                root.error(name, format!("unknown channel `{name}`; built in: {}", unknown.built_in), hint.as_deref());
            }
        }
    }
    if channels.is_empty() { default_channels() } else { channels }
}
