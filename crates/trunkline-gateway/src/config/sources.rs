//! `sources` of `trunkline.yml`: the brokers that are read.

use std::path::Path;

use trunkline_adapter::{BuildSource, ReadBy, SourceSpec, Spec as _};
use trunkline_config::Section;

use super::name::name;
use crate::{Adapters, BrokerPlan, SourcePlan};

/// `published` are the brokers that the same gateway publishes to.
pub(super) fn sources(root: &Section<'_>, directory: &Path, adapters: &Adapters, published: &[BrokerPlan]) -> Vec<SourcePlan> {
    let mut plans: Vec<SourcePlan> = Vec::new();
    root.sections("sources", |section| {
        let Some(plan) = source(section, directory, adapters) else { return };
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

fn source(section: &Section<'_>, directory: &Path, adapters: &Adapters) -> Option<SourcePlan> {
    let kind = section.required_string("type");
    let Some((spec, build)) = kind.and_then(|kind| readable(section, "type", &kind, adapters)) else {
        section.entries();
        return None;
    };
    let name = name(section, spec.kind, "a file is called after it");
    let source = build(section, directory, ReadBy::Gateway)?;
    Some(SourcePlan { name, kind: spec.kind, source })
}

/// The row of a kind that can be read; an error at `key` when there is none.
pub(super) fn readable<'t>(
    section: &Section<'_>,
    key: &str,
    kind: &str,
    adapters: &'t Adapters,
) -> Option<(&'t SourceSpec, BuildSource)> {
    find_readable(kind, adapters).map_err(|reason| section.error(key, reason, None)).ok()
}

/// The row of a kind that can be read, and how one is made; the error says which can.
pub fn find_readable<'t>(kind: &str, adapters: &'t Adapters) -> Result<(&'t SourceSpec, BuildSource), String> {
    let Adapters { brokers, sources, .. } = adapters;
    if let Ok(spec) = sources.find(kind) {
        return spec.build.map(|build| (spec, build)).ok_or_else(|| sources.not_built_in(spec));
    }
    let readable = Some(sources.built_in()).filter(|kinds| !kinds.is_empty());
    let readable = readable.as_deref().unwrap_or("none in this build");
    Err(match trunkline_brokers::find(brokers, kind) {
        Ok(spec) if !spec.is_built_in() => brokers.not_built_in(spec),
        Ok(spec) => format!("events cannot be read from type `{}`; they can be read from: {readable}", spec.kind),
        Err(error) => format!("{error}; events can be read from: {readable}"),
    })
}
