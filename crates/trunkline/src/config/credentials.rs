//! `credentials.yml`: the channels.

use trunkline_channels::{CHANNELS, InputChannel, Rest, find};
use trunkline_config::{Section, closest};

/// The channels without a file.
pub(super) fn default_channels() -> Vec<Box<dyn InputChannel>> {
    vec![Box::new(Rest)]
}

pub(super) fn channels(root: &Section<'_>) -> Vec<Box<dyn InputChannel>> {
    let mut channels = Vec::new();
    for (key, _) in root.entries() {
        let name = key.name.as_str();
        match find(name) {
            Some(spec) => match spec.build {
                Some(build) => channels.extend(root.section_or_empty(name, build)),
                None => root.error(name, format!("channel `{name}` is not built in yet; built in: {}", built_in()), None),
            },
            None if name.contains('.') => {
                let message =
                    format!("`{name}` is a Python class, and custom channels are not built in yet; built in: {}", built_in());
                root.error(name, message, None);
            }
            None => {
                let hint =
                    closest(name, CHANNELS.iter().map(|spec| spec.name)).map(|nearest| format!("did you mean `{nearest}`?"));
                root.error(name, format!("unknown channel `{name}`; built in: {}", built_in()), hint.as_deref());
            }
        }
    }
    if channels.is_empty() { default_channels() } else { channels }
}

fn built_in() -> String {
    let names: Vec<_> = CHANNELS.iter().filter(|spec| spec.build.is_some()).map(|spec| spec.name).collect();
    names.join(", ")
}
