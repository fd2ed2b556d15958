//! `endpoints.yml`: the event brokers, one or a list.

use std::path::Path;

use trunkline_brokers::{BrokerSpec, Brokers, DEFAULT_KIND, ReadBy, SqlTrackerStore, UnknownKind};
use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_delivery::{Backoff, BatchLimits, Filter, LaneMode, OnExhausted, Retry, Start, Subscription};

use super::{BrokerPlan, SourcePlan, sources};

/// Sections of Rasa's file that say nothing to us.
const RASAS_OWN: [&str; 7] = ["tracker_store", "action_endpoint", "nlg", "lock_store", "models", "model", "nlu"];

pub(super) fn brokers(root: &Section<'_>, directory: &Path, brokers: &Brokers) -> Vec<BrokerPlan> {
    for name in RASAS_OWN {
        root.node(name);
    }
    let mut plans: Vec<BrokerPlan> = Vec::new();
    root.sections("event_broker", |section| {
        let Some(plan) = broker(section, directory, brokers) else { return };
        if plans.iter().any(|other| other.subscription.name == plan.subscription.name) {
            let hint = "give each its own `name`; the cursor of a broker is stored under it";
            section.error("name", format!("two brokers are called `{}`", plan.subscription.name), Some(hint));
        }
        plans.push(plan);
    });
    plans
}

/// The source that reads what the broker `name` publishes; the error has the names there are.
pub(super) fn source_of_broker(
    root: &Section<'_>,
    directory: &Path,
    brokers: &Brokers,
    name: &str,
) -> Result<Option<SourcePlan>, Vec<String>> {
    // The rest of the file is nobody's concern here, nor is what only publishing needs.
    root.entries();
    let (mut names, mut found) = (Vec::new(), None);
    root.sections("event_broker", |section| {
        let (key, kind) = kind(section);
        let kinds_own = brokers.find(&kind).map_or(kind.as_str(), |spec| spec.kind);
        let its_name = section.string("name").unwrap_or_else(|| kinds_own.to_owned());
        section.entries();
        if its_name == name {
            found = Some(sources::readable(section, key, &kind, brokers).and_then(|spec| {
                Some(SourcePlan {
                    name: its_name.clone(),
                    kind: spec.kind,
                    source: spec.source?(section, directory, ReadBy::Person)?,
                })
            }));
        }
        names.push(its_name);
    });
    found.ok_or(names)
}

/// Rasa's tracker store.
pub(super) fn tracker_store(root: &Section<'_>, directory: &Path) -> Option<SqlTrackerStore> {
    root.entries();
    let read = |section: &Section<'_>| {
        let (kind, alias) = (section.string("type"), section.string("store_type"));
        let key = if alias.is_some() { "store_type" } else { "type" };
        match alias.or(kind) {
            Some(kind) if kind.eq_ignore_ascii_case("sql") => SqlTrackerStore::from_section(section, directory),
            Some(kind) => {
                section.entries();
                section.error(key, format!("a tracker store of type `{kind}` cannot be read; `SQL` can"), None);
                None
            }
            None => {
                section.entries();
                section.required_string("type");
                None
            }
        }
    };
    root.required("tracker_store", |root, key| root.section(key, read)).flatten()
}

/// What stands under `type`, and the key where it stands. `store_type` is another name for it and wins, as in Rasa.
fn kind(section: &Section<'_>) -> (&'static str, String) {
    let (kind, alias) = (section.string("type"), section.string("store_type"));
    let key = if alias.is_some() { "store_type" } else { "type" };
    (key, alias.or(kind).unwrap_or_else(|| DEFAULT_KIND.to_owned()))
}

fn broker(section: &Section<'_>, directory: &Path, brokers: &Brokers) -> Option<BrokerPlan> {
    let (key, kind) = kind(section);
    let spec = match brokers.find(&kind) {
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
        section.error(key, brokers.not_built_in(spec), None);
        section.entries();
        return None;
    };
    let subscription = subscription(section, spec);
    let broker = build(section, directory)?;
    let subscription = subscription?;
    let limit = subscription.retry.timeout;
    if let Some(request) = broker.request_timeout().filter(|request| *request >= limit) {
        let message = format!(
            "one request may take {} s, and the call that it is a part of no more than {} s",
            request.as_secs_f32(),
            limit.as_secs_f32()
        );
        section.error("timeout", message, Some("make `timeout` shorter than `retry.timeout`"));
    }
    Some(BrokerPlan { kind: spec.kind, subscription, broker })
}

/// What every broker may say about how it gets its events.
fn subscription(section: &Section<'_>, spec: &BrokerSpec) -> Option<Subscription> {
    let name = section.string("name").unwrap_or_else(|| spec.kind.to_owned());
    let filter = section.section("filter", filter).unwrap_or_else(|| Some(Filter::published()));
    let start = section.enumeration("start", &[("now", Start::Now), ("beginning", Start::Beginning)]);
    let lanes: u32 = section.integer("lanes", 1..=MOST_LANES).unwrap_or(1);
    if lanes > 1 && spec.exactly_once {
        let hint = "it stores one cursor with its data, which is what makes its effect exactly once; leave `lanes` out";
        section.error("lanes", format!("broker type `{}` works with one lane only", spec.kind), Some(hint));
    }
    let batch = section.section_or_empty("batch", batch);
    let retry = section.section_or_empty("retry", retry);
    let subscription = Subscription { start: start.unwrap_or(Start::Now), batch, retry, ..Subscription::new(name, filter?) };
    Some(if spec.exactly_once {
        subscription
    } else {
        Subscription { lanes: LaneMode::Conversations, concurrency: lanes as usize, ..subscription }
    })
}

/// More would not help any receiver: each is a batch under way.
const MOST_LANES: u32 = 64;

fn batch(section: &Section<'_>) -> BatchLimits {
    section.unknown_keys(UnknownKeys::Refuse);
    let default = BatchLimits::default();
    BatchLimits {
        events: section.integer("events", 1..=10_000).unwrap_or(default.events),
        bytes: section.bytes("bytes").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.bytes),
    }
}

fn retry(section: &Section<'_>) -> Retry {
    section.unknown_keys(UnknownKeys::Refuse);
    let (default, backoff) = (Retry::default(), Backoff::default());
    let initial = section.duration("initial", TimeUnit::Seconds).unwrap_or(backoff.initial);
    let most = section.duration("most", TimeUnit::Seconds).unwrap_or(backoff.most.max(initial));
    if initial > most {
        section.error("most", "the longest wait must not be shorter than `initial`".to_owned(), None);
    }
    let on_exhausted = [("dead_letter", OnExhausted::GoOn), ("hold", OnExhausted::Hold)];
    Retry {
        backoff: Backoff { initial, most },
        max_attempts: section.integer("attempts", 1..=1_000_000),
        timeout: section.duration("timeout", TimeUnit::Seconds).filter(|limit| !limit.is_zero()).unwrap_or(default.timeout),
        on_exhausted: section.enumeration("on_exhausted", &on_exhausted).unwrap_or(default.on_exhausted),
    }
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
