//! The section `type: exec`.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use trunkline_config::{Section, UnknownKeys};
use trunkline_core::Broker;

use super::broker::ExecBroker;
use super::program::{Program, Times};

/// Builds the broker from its section; relative paths start at `directory`, where the child runs too.
pub fn exec_from_section(section: &Section<'_>, directory: &Path) -> Option<Arc<dyn Broker>> {
    section.unknown_keys(UnknownKeys::Refuse);
    let words = section.required("command", Section::strings);
    let within = section.string("directory");
    let environment = section.string_map("environment").unwrap_or_default();
    if environment.iter().any(|(name, value)| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')) {
        section.error("environment", "no variable can be set that has no name, or a name with `=`, or a NUL character", None);
    }
    let settings = section.section("settings", |settings| {
        settings.entries().iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<Map<_, _>>()
    });

    let words = words?;
    if words.first().is_none_or(String::is_empty) || words.iter().any(|word| word.contains('\0')) {
        section.unexpected("command", "a program, or a list of a program and its arguments", None);
        return None;
    }
    if let [word] = words.as_slice()
        && word.contains(char::is_whitespace)
        && section.node("command").is_some_and(|node| node.text().is_some())
    {
        let list: Vec<&str> = word.split_whitespace().collect();
        let hint = format!("write `[{}]`; a program whose name has a space is a list of one", list.join(", "));
        section.unexpected("command", "a list of the program and its arguments", Some(&hint));
        return None;
    }
    Some(Arc::new(ExecBroker::new(Program {
        broker: section.string("name").unwrap_or_else(|| "exec".to_owned()),
        title: title(&words),
        command: words.into_iter().map(Into::into).collect(),
        directory: within.map_or_else(|| directory.to_owned(), |within| directory.join(within)),
        environment,
        settings: Value::Object(settings.unwrap_or_default()),
        times: Times::default(),
        remedy: "install it, or correct `command`",
    })))
}

/// The program and its script, without further arguments, which may be secret.
fn title(words: &[String]) -> String {
    let (program, arguments) = words.split_first().map_or(("", words), |(program, arguments)| (program.as_str(), arguments));
    match arguments.first() {
        Some(script) if !script.starts_with('-') => format!("{program} {script}"),
        _ => program.to_owned(),
    }
}
