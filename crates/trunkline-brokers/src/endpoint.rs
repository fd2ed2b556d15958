//! Keys of a section that Rasa reads as those of an HTTP endpoint.

use trunkline_config::Section;

/// What never reaches one of Rasa's brokers.
pub(crate) const ENDPOINT_KEYS: [&str; 6] = ["params", "headers", "basic_auth", "token", "token_name", "cafile"];

/// Warns of `keys` that are given. Only those that are given are asked for, so that no hint ever suggests one of them.
pub(crate) fn warn_of_idle_keys<'k>(section: &Section<'_>, keys: impl IntoIterator<Item = &'k str>) {
    for key in keys.into_iter().filter(|key| section.has(key)) {
        section.node(key);
        section.warning(key, format!("`{key}` has no effect on this type of broker"), None);
    }
}
