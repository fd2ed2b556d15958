//! The section `type: path.to.your.module.Class`: a broker class written for Rasa, run by a helper of ours.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, json};
use trunkline_config::{Section, UnknownKeys, Value};
use trunkline_core::Broker;

use super::broker::ExecBroker;
use super::program::{Program, Times};

/// The helper: an `exec` program that loads the class. Python from 3.8 on, nothing else.
const HELPER: &str = include_str!("helper.py");

/// The variable that names the interpreter where the section does not; `python3` without either.
const INTERPRETER: &str = "TRUNKLINE_PYTHON";

/// The key of what is ours. Every other one belongs to the class, as in Rasa.
pub(crate) const OURS: &str = "trunkline";

/// The keys under [`OURS`] that all brokers share.
const SHARED: [&str; 6] = ["name", "filter", "start", "lanes", "batch", "retry"];

/// Builds the broker from its section. The helper runs in `directory`, from which the class is imported.
///
/// Every key of the section goes to the class as Rasa gives it, except `trunkline`.
pub fn python_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    let key = if section.has("store_type") { "store_type" } else { "type" };
    let class = section.string(key)?;
    if !is_class_path(&class) {
        section.unexpected(key, "the path of a Python class, as `package.module.Class`", None);
        return None;
    }
    let of_the_class = section.entries().iter().filter(|(key, _)| key.name != OURS);
    let endpoint: Map<String, serde_json::Value> = of_the_class.map(|(key, node)| (key.name.clone(), node.to_json())).collect();
    let name = section.node(OURS).and_then(|ours| ours.get("name")?.text());
    Some(Arc::new(ExecBroker::new(Program {
        broker: name.unwrap_or_else(|| name_of_class(&class)).to_owned(),
        title: class.clone(),
        command: vec![interpreter(section), OsString::from("-c"), HELPER.into()],
        directory: directory.to_owned(),
        environment: Vec::new(),
        settings: json!({"class": class, "endpoint": endpoint}),
        remedy: "install Python 3.8 or later, or name the interpreter with `trunkline: {python: …}`",
        times: Times::default(),
    })))
}

/// What runs the helper. The other keys beside it are read by whoever makes the subscription.
fn interpreter(section: &Section<'_>) -> OsString {
    let given = section.node(OURS).filter(|ours| matches!(ours.value, Value::Mapping(_))).and_then(|_| {
        section.section(OURS, |ours| {
            ours.unknown_keys(UnknownKeys::Refuse);
            for shared in SHARED {
                ours.node(shared);
            }
            ours.string("python")
        })?
    });
    given.map(OsString::from).or_else(|| std::env::var_os(INTERPRETER)).unwrap_or_else(|| "python3".into())
}

/// What a broker of this class is called unless it has a name: the last part of its path.
pub(crate) fn name_of_class(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Whether `path` could be that of a class in a module: identifiers of any alphabet, at least two, with dots between.
pub(crate) fn is_class_path(path: &str) -> bool {
    let is_identifier = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|first: char| first.is_numeric())
            && part.chars().all(|c| c == '_' || c.is_alphanumeric())
    };
    path.contains('.') && path.split('.').all(is_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_path_is_identifiers_with_dots_between() {
        for path in ["module.Class", "a.b_2._C", "modül.Klasse"] {
            assert!(is_class_path(path), "{path}");
        }
        for path in ["", "python", ".Class", "module.", "a..B", "a-b.C", "a.2b", "a b.C", "file.log/x.y"] {
            assert!(!is_class_path(path), "{path}");
        }
    }
}
