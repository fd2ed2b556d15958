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
                root.error(name, message, Some("a channel of one's own is written in Rust: see `examples/channels/rust`"));
            }
            Err(unknown) => {
                let hint = unknown.nearest.map(|nearest| format!("did you mean `{nearest}`?"));
                root.error(name, format!("unknown channel `{name}`; built in: {}", unknown.built_in), hint.as_deref());
            }
        }
    }
    if channels.is_empty() { default_channels() } else { channels }
}

#[cfg(test)]
mod tests {
    use trunkline_config::{Diagnostics, Document, UnknownKeys};

    use super::*;

    /// The names of the channels, and what is said.
    fn read(yaml: &str) -> (Vec<String>, Vec<String>) {
        let diagnostics = Diagnostics::new();
        let document = Document::parse("credentials.yml", yaml, &|_| None, &diagnostics).unwrap();
        let table = trunkline_channels::channels();
        let found = document.read(UnknownKeys::Warn, &diagnostics, |root| channels(root, Path::new("/nowhere"), &table));
        let said = diagnostics.sorted().into_iter().map(|said| format!("{}: {}", said.path, said.message));
        (found.iter().map(|channel| channel.name().to_owned()).collect(), said.collect())
    }

    fn said(yaml: &str) -> String {
        read(yaml).1.join("\n")
    }

    #[test]
    fn a_callback_needs_a_url_of_http_and_may_go_to_a_private_address() {
        for url in ["http://10.0.0.7:8080/replies", "https://example.org", "http://localhost/", "http://[::1]:8/x?y=z"] {
            assert_eq!(
                read(&format!("callback: {{url: '{url}'}}")),
                (vec!["callback".to_owned()], Vec::<String>::new()),
                "{url}"
            );
        }
        let all =
            "callback: {url: 'http://a', headers: {x: y}, params: {p: q}, token: t, basic_auth: {username: u, password: p}}";
        assert_eq!(read(all).1, Vec::<String>::new());
        for yaml in ["callback:", "callback: {}", "callback: {url: }", "callback: {headers: {x: y}}"] {
            assert!(said(yaml).starts_with("callback.url: "), "{yaml}: {}", said(yaml));
        }
        for url in ["ftp://a", "a", "localhost:8080", "'http://'", "/replies", "[]", "{}", "5"] {
            let said = said(&format!("callback: {{url: {url}}}"));
            assert!(said.starts_with("callback.url: "), "{url}: {said}");
        }
        // What it is for is the channel's own.
        assert!(said("callback: {url: 'http://a', headers: {webhook-id: x}}").starts_with("callback.headers"));
    }

    #[test]
    fn keys_that_nobody_knows_are_told_and_change_nothing() {
        let (names, said) = read("callback: {url: 'http://a', urls: b}\nrest: {x: y}");
        assert_eq!(names, ["callback", "rest"]);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("`urls`") && said[1].contains("`x`"), "{said:?}");
    }

    #[test]
    fn channels_that_are_not_there_are_answered_by_name() {
        assert_eq!(read("").0, ["rest"]);
        for (yaml, expected) in [
            ("slack: {}", "slack: channel `slack` is not built in yet; built in: callback, rest"),
            ("Rest:", "Rest: unknown channel `Rest`; built in: callback, rest"),
            (
                "my.channels.Mine: {}",
                "my.channels.Mine: `my.channels.Mine` is a Python class, and custom channels are not built in yet; built in: callback, rest",
            ),
        ] {
            assert_eq!(said(yaml), expected);
        }
    }
}
