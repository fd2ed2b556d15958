//! The section `type: path.to.your.module.Class`: a broker class written for Rasa, run by a helper of ours.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use trunkline_config::Section;
use trunkline_core::Broker;

use super::broker::ExecBroker;
use super::program::{Program, Times};

/// The helper: an `exec` program that loads the class. Python from 3.8 on, nothing else.
const HELPER: &str = include_str!("helper.py");

/// The variable that names the interpreter; `python3` without it.
const INTERPRETER: &str = "TRUNKLINE_PYTHON";

/// The keys that all brokers share. The class gets every other one.
const SHARED: [&str; 6] = ["name", "filter", "start", "lanes", "batch", "retry"];

/// Builds the broker from its section. The helper runs in `directory`, from which the class is imported.
///
/// Every key of the section goes to the class as Rasa gives it, except those that all our brokers share, such as `name`.
pub fn python_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    let key = if section.has("store_type") { "store_type" } else { "type" };
    let class = section.string(key)?;
    if !is_class_path(&class) {
        section.unexpected(key, "the path of a Python class, as `package.module.Class`", None);
        return None;
    }
    let of_the_class = section.entries().iter().filter(|(key, _)| !SHARED.contains(&key.name.as_str()));
    let endpoint: Map<String, Value> = of_the_class.map(|(key, node)| (key.name.clone(), node.to_json())).collect();
    let python = std::env::var_os(INTERPRETER).unwrap_or_else(|| "python3".into());
    Some(Arc::new(ExecBroker::new(Program {
        broker: section.string("name").unwrap_or_else(|| "python".to_owned()),
        title: class.clone(),
        command: vec![python, OsString::from("-c"), HELPER.into()],
        directory: directory.to_owned(),
        environment: Vec::new(),
        settings: json!({"class": class, "endpoint": endpoint}),
        times: Times::default(),
        remedy: "install Python 3.8 or later, or name the interpreter in the variable TRUNKLINE_PYTHON",
    })))
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
