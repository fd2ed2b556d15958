//! `endpoints.yml`: the event brokers, one or a list.

use std::path::Path;

use trunkline_brokers::{DEFAULT_KIND, UnknownKind, find};
use trunkline_config::{Section, UnknownKeys};
use trunkline_delivery::{Filter, Start};

use super::BrokerPlan;

/// Sections of Rasa's file that say nothing to us.
const RASAS_OWN: [&str; 7] = ["tracker_store", "action_endpoint", "nlg", "lock_store", "models", "model", "nlu"];

pub(super) fn brokers(root: &Section<'_>, directory: &Path) -> Vec<BrokerPlan> {
    for name in RASAS_OWN {
        root.node(name);
    }
    let mut plans: Vec<BrokerPlan> = Vec::new();
    root.sections("event_broker", |section| {
        let Some(plan) = broker(section, directory) else { return };
        if plans.iter().any(|other| other.name == plan.name) {
            let hint = "give each its own `name`; the cursor of a broker is stored under it";
            section.error("name", format!("two brokers are called `{}`", plan.name), Some(hint));
        }
        plans.push(plan);
    });
    plans
}

fn broker(section: &Section<'_>, directory: &Path) -> Option<BrokerPlan> {
    // `store_type` is another name for `type` and wins, as in Rasa.
    let (kind, alias) = (section.string("type"), section.string("store_type"));
    let key = if alias.is_some() { "store_type" } else { "type" };
    let kind = alias.or(kind).unwrap_or_else(|| DEFAULT_KIND.to_owned());
    let name = section.string("name");
    let filter = section.section("filter", filter).unwrap_or_else(|| Some(Filter::published()));
    let start = section.enumeration("start", &[("now", Start::Now), ("beginning", Start::Beginning)]);
    let spec = match find(&kind) {
        Ok(spec) => spec,
        Err(error @ UnknownKind::Word { .. }) => {
            let hint = "as in Rasa, the gateway runs without this broker; its events stay in the journal";
            section.warning(key, error.to_string(), Some(hint));
            section.entries();
            return None;
        }
        Err(error @ UnknownKind::Class(_)) => {
            section.error(key, error.to_string(), None);
            section.entries();
            return None;
        }
    };
    let Some(build) = spec.build else {
        section.error(key, spec.not_built_in(), None);
        section.entries();
        return None;
    };
    let broker = build(section, directory)?;
    let name = name.unwrap_or_else(|| spec.kind.to_owned());
    Some(BrokerPlan { name, kind: spec.kind, filter: filter?, start: start.unwrap_or(Start::Now), broker })
}

fn filter(section: &Section<'_>) -> Option<Filter> {
    section.unknown_keys(UnknownKeys::Refuse);
    let list = |key| section.strings(key).unwrap_or_default();
    let filter = Filter::published()
        .with_types(list("types"))
        .without_types(list("exclude_types"))
        .with_channels(list("channels"))
        .with_conversations(&list("conversations"));
    filter.map_err(|error| section.error("conversations", error.to_string(), None)).ok()
}
