//! `sources` of `trunkline.yml`: the brokers that are read.

use std::path::Path;

use trunkline_brokers::{BrokerSpec, Brokers, ReadBy};
use trunkline_config::Section;

use super::name::name;
use super::{BrokerPlan, SourcePlan};

/// `published` are the brokers that the same gateway publishes to.
pub(super) fn sources(
    root: &Section<'_>,
    directory: &Path,
    journal: &Path,
    brokers: &Brokers,
    published: &[BrokerPlan],
) -> Vec<SourcePlan> {
    let mut plans: Vec<SourcePlan> = Vec::new();
    root.sections("sources", |section| {
        let Some(plan) = source(section, directory, journal, brokers) else { return };
        if let Some(broker) = published.iter().find(|broker| broker.feeds(&*plan.source)) {
            let message = format!(
                "broker `{}` writes to the {}; every event would be appended again, for ever",
                broker.subscription.name,
                plan.source.place()
            );
            section.error("type", message, Some("let one of the two use another file, table or list"));
        }
        if plans.iter().any(|other| other.name == plan.name) {
            let hint = "give each its own `name`; what was read already is remembered under it";
            section.error("name", format!("two sources are called `{}`", plan.name), Some(hint));
        }
        plans.push(plan);
    });
    plans
}

fn source(section: &Section<'_>, directory: &Path, journal: &Path, brokers: &Brokers) -> Option<SourcePlan> {
    let kind = section.required_string("type");
    let Some(spec) = kind.and_then(|kind| readable(section, "type", &kind, brokers)) else {
        section.entries();
        return None;
    };
    let name = name(section, spec.kind, "a file is called after it");
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
