//! `sources` of `trunkline.yml`: the brokers that are read.

use std::path::Path;

use trunkline_brokers::{BrokerSpec, Brokers, ReadBy};
use trunkline_config::Section;

use super::SourcePlan;

/// The longest name, in characters; files and figures are called after it.
const MOST_NAME_CHARS: usize = 64;

pub(super) fn sources(root: &Section<'_>, directory: &Path, journal: &Path, brokers: &Brokers) -> Vec<SourcePlan> {
    let mut plans: Vec<SourcePlan> = Vec::new();
    root.sections("sources", |section| {
        let Some(plan) = source(section, directory, journal, brokers) else { return };
        if plans.iter().any(|other| other.name == plan.name) {
            let hint = "give each its own `name`; what was read already is remembered under it";
            section.error("name", format!("two sources are called `{}`", plan.name), Some(hint));
        }
        plans.push(plan);
    });
    plans
}

fn source(section: &Section<'_>, directory: &Path, journal: &Path, brokers: &Brokers) -> Option<SourcePlan> {
    let (kind, name) = (section.required_string("type"), section.string("name"));
    let Some(spec) = kind.and_then(|kind| readable(section, "type", &kind, brokers)) else {
        section.entries();
        return None;
    };
    let name = name.unwrap_or_else(|| spec.kind.to_owned());
    let is_plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    if name.is_empty() || name.len() > MOST_NAME_CHARS || name.starts_with('.') || !name.chars().all(is_plain) {
        let expected = "1 to 64 letters, digits, `-`, `_` and `.`, the first not a `.`";
        section.unexpected("name", expected, Some("a file is called after it"));
    }
    let position = journal.join("positions").join(&name);
    let source = spec.source?(section, directory, ReadBy::Gateway { position: &position })?;
    Some(SourcePlan { name, kind: spec.kind, source })
}

/// The row of a kind that can be read; an error at `key` when there is none.
pub(super) fn readable<'b>(section: &Section<'_>, key: &str, kind: &str, brokers: &'b Brokers) -> Option<&'b BrokerSpec> {
    match find_readable(kind, brokers) {
        Ok(spec) => Some(spec),
        Err(reason) => {
            section.error(key, reason, None);
            None
        }
    }
}

/// The row of a kind that can be read; the error says which can.
pub(crate) fn find_readable<'b>(kind: &str, brokers: &'b Brokers) -> Result<&'b BrokerSpec, String> {
    let kinds: Vec<_> = brokers.rows().iter().filter(|row| row.source.is_some()).map(|row| row.kind).collect();
    let readable = if kinds.is_empty() { "none in this build".to_owned() } else { kinds.join(", ") };
    match brokers.find(kind) {
        Ok(spec) if spec.source.is_some() => Ok(spec),
        Ok(spec) if spec.build.is_none() => Err(brokers.not_built_in(spec)),
        Ok(spec) => Err(format!("events cannot be read from type `{}`; they can be read from: {readable}", spec.kind)),
        Err(error) => Err(format!("{error}; events can be read from: {readable}")),
    }
}
