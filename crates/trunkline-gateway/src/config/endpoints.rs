//! `endpoints.yml`: the event brokers, one or a list.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use trunkline_adapter::{BrokerSpec, Concurrency, ReadBy, Table};
use trunkline_brokers::{DEFAULT_KIND, SqlTrackerStore, UnknownType, default_name, find};
use trunkline_config::{Section, TimeUnit, UnknownKeys, Value};
use trunkline_delivery::{Backoff, BatchLimits, Filter, OnExhausted, Retry, Start, Subscription};

use super::name::{ASSISTANT, name, there_is_no};
use super::sources;
use crate::plan::with_concurrency;
use crate::{Adapters, BrokerPlan, SourcePlan};

/// Sections of Rasa's file that say nothing to us.
const RASAS_OWN: [&str; 7] = ["tracker_store", "action_endpoint", "nlg", "lock_store", "models", "model", "nlu"];

/// What `event_broker` says.
#[derive(Debug, Default)]
pub(super) struct EventBrokers {
    pub(super) plans: Vec<BrokerPlan>,
    /// The names of those whose type nobody knows.
    pub(super) left_out: Vec<String>,
}

pub(super) fn brokers(root: &Section<'_>, directory: &Path, table: &Table<BrokerSpec>) -> EventBrokers {
    for name in RASAS_OWN {
        root.node(name);
    }
    let EventBrokers { mut plans, mut left_out } = EventBrokers::default();
    root.sections("event_broker", |section| {
        let Some(plan) = broker(section, directory, table, &mut left_out) else { return };
        if plans.iter().any(|other| other.subscription.name == plan.subscription.name) {
            let hint =
                "give each its own `name` (that of a class stands under `trunkline`); the cursor of a broker is stored under it";
            section.error("name", format!("two brokers are called `{}`", plan.subscription.name), Some(hint));
        }
        plans.push(plan);
    });
    EventBrokers { plans, left_out }
}

/// The source that reads what the broker `name` publishes.
pub(super) fn source_of_broker(root: &Section<'_>, directory: &Path, adapters: &Adapters, name: &str) -> Option<SourcePlan> {
    // The rest of the file is nobody's concern here, nor is what only publishing needs.
    root.entries();
    let (mut names, mut found) = (Vec::new(), None);
    root.sections("event_broker", |section| {
        let (key, kind) = kind(section);
        let its_name = match find(&adapters.brokers, &kind) {
            Ok(spec) => {
                shared(section, spec, |shared| shared.string("name")).unwrap_or_else(|| default_name(spec, &kind).to_owned())
            }
            Err(_) => section.string("name").unwrap_or_else(|| kind.clone()),
        };
        section.entries();
        if its_name == name {
            found = Some(sources::readable(section, key, &kind, adapters).and_then(|(spec, build)| {
                let source = build(section, directory, ReadBy::Person)?;
                Some(SourcePlan { name: its_name.clone(), kind: spec.kind, source })
            }));
        }
        names.push(its_name);
    });
    found.unwrap_or_else(|| {
        root.error("event_broker", there_is_no(&format!("broker `{name}`"), names), None);
        None
    })
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

/// The keys of a broker's type, the one that wins last, as in Rasa.
pub(super) const KIND_KEYS: [&str; 2] = ["type", "store_type"];

/// The type of a broker, and the key where it stands.
fn kind(section: &Section<'_>) -> (&'static str, String) {
    let [key, alias_key] = KIND_KEYS;
    let (kind, alias) = (section.string(key), section.string(alias_key));
    let key = if alias.is_some() { alias_key } else { key };
    (key, alias.or(kind).unwrap_or_else(|| DEFAULT_KIND.to_owned()))
}

pub(super) fn broker(
    section: &Section<'_>,
    directory: &Path,
    table: &Table<BrokerSpec>,
    left_out: &mut Vec<String>,
) -> Option<BrokerPlan> {
    let (key, kind) = kind(section);
    let spec = match find(table, &kind) {
        Ok(spec) => spec,
        Err(UnknownType::Word(unknown)) => {
            let hint = "as in Rasa, the gateway runs without this broker; what it has not got yet is kept for it";
            section.warning(key, unknown.to_string(), Some(hint));
            // Without a name its cursor is stored under the type that was probably meant.
            left_out.push(broker_name(section, &unknown.nearest.unwrap_or(kind)));
            section.entries();
            return None;
        }
        Err(error @ UnknownType::Class(_)) => {
            section.error(key, error.to_string(), None);
            section.entries();
            return None;
        }
    };
    let Some(build) = spec.build else {
        section.error(key, table.not_built_in(spec), None);
        section.entries();
        return None;
    };
    if let Some(ours) = spec.shared_under {
        warn_of_what_looks_shared(section, ours);
    }
    let subscription = shared(section, spec, |shared| subscription(shared, spec, &kind));
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

/// Reads what all brokers share where it stands: in the section itself, or under a key of it when the others belong to a class.
fn shared<T>(section: &Section<'_>, spec: &BrokerSpec, read: impl FnOnce(&Section<'_>) -> T) -> T {
    match spec.shared_under {
        None => read(section),
        Some(key) => section.section_or_empty(key, |shared| {
            // What nobody knows there is for the broker to say, which has keys of its own beside these.
            shared.entries();
            read(shared)
        }),
    }
}

/// Warns of keys that go to a class although they look like ours.
fn warn_of_what_looks_shared(section: &Section<'_>, ours: &str) {
    for (key, known) in [("filter", &FILTER_KEYS[..]), ("batch", &BATCH_KEYS), ("retry", &RETRY_KEYS)] {
        let Some(Value::Mapping(entries)) = section.node(key).map(|node| &node.value) else { continue };
        if !entries.is_empty() && entries.iter().all(|(key, _)| known.contains(&key.name.as_str())) {
            let hint = format!("for the gateway write it under `{ours}:`");
            section.warning(key, format!("`{key}` goes to the class"), Some(&hint));
        }
    }
}

fn broker_name(section: &Section<'_>, default: &str) -> String {
    let name = name(section, default, "the cursor of a broker is stored under it");
    if name == ASSISTANT {
        let hint = "the assistant's own cursor is stored under it; give the broker another name";
        section.error("name", format!("no broker can be called `{ASSISTANT}`"), Some(hint));
    }
    name
}

/// What every broker may say about how it gets its events.
fn subscription(section: &Section<'_>, spec: &BrokerSpec, kind: &str) -> Option<Subscription> {
    let name = broker_name(section, default_name(spec, kind));
    let filter = section.section("filter", filter).unwrap_or_else(|| Some(Filter::published()));
    let start = section.enumeration("start", &[("now", Start::Now), ("beginning", Start::Beginning)]);
    let lanes: Option<u32> = section.integer("lanes", 1..=MOST_LANES);
    let (concurrency, why) = match spec.concurrency {
        Concurrency::StoresCursor => (
            spec.concurrency,
            Some("it stores one cursor with its data, which is what makes its effect exactly once; leave `lanes` out"),
        ),
        Concurrency::OneAtATime => (
            spec.concurrency,
            Some(
                "its child process works on one batch at a time, and on the conversations in it side by side; leave `lanes` out",
            ),
        ),
        Concurrency::Lanes(default) => (Concurrency::Lanes(lanes.unwrap_or(default)), None),
    };
    if let Some(why) = why.filter(|_| lanes.is_some_and(|lanes| lanes > 1)) {
        section.error("lanes", format!("broker type `{}` works with one lane only", spec.kind), Some(why));
    }
    let batch = section.section_or_empty("batch", batch);
    let retry = section.section_or_empty("retry", retry);
    let subscription = Subscription { start: start.unwrap_or(Start::Now), batch, retry, ..Subscription::new(name, filter?) };
    Some(with_concurrency(subscription, concurrency))
}

const FILTER_KEYS: [&str; 4] = ["types", "exclude_types", "channels", "conversations"];
const BATCH_KEYS: [&str; 2] = ["events", "bytes"];
const RETRY_KEYS: [&str; 5] = ["initial", "most", "attempts", "timeout", "on_exhausted"];

/// More would not help any receiver: each is a batch under way.
const MOST_LANES: u32 = 64;

/// Smaller batches would be nothing but overhead, larger ones more memory than any receiver is worth.
const BATCH_BYTES: RangeInclusive<u64> = 1 << 10..=64 << 20;

const INITIAL_WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
const MOST_WAIT: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
const CALL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);

fn batch(section: &Section<'_>) -> BatchLimits {
    section.unknown_keys(UnknownKeys::Refuse);
    let default = BatchLimits::default();
    let bytes = section.bytes("bytes");
    if bytes.is_some_and(|bytes| !BATCH_BYTES.contains(&bytes)) {
        section.unexpected("bytes", "a size from 1 KiB to 64 MiB", None);
    }
    BatchLimits {
        events: section.integer("events", 1..=10_000).unwrap_or(default.events),
        bytes: bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default.bytes),
    }
}

fn retry(section: &Section<'_>) -> Retry {
    section.unknown_keys(UnknownKeys::Refuse);
    let (default, backoff) = (Retry::default(), Backoff::default());
    let initial = duration(section, "initial", &INITIAL_WAIT, "a duration from 1 ms to 1 h").unwrap_or(backoff.initial);
    let most = duration(section, "most", &MOST_WAIT, "a duration from 1 ms to 24 h").unwrap_or(backoff.most.max(initial));
    if initial > most {
        section.error("most", "the longest wait must not be shorter than `initial`".to_owned(), None);
    }
    let on_exhausted = [("dead_letter", OnExhausted::GoOn), ("hold", OnExhausted::Hold)];
    Retry {
        backoff: Backoff { initial, most },
        max_attempts: section.integer("attempts", 1..=1_000_000),
        timeout: duration(section, "timeout", &CALL, "a duration from 100 ms to 1 h").unwrap_or(default.timeout),
        on_exhausted: section.enumeration("on_exhausted", &on_exhausted).unwrap_or(default.on_exhausted),
    }
}

/// A duration in a range; a bare number is seconds.
fn duration(section: &Section<'_>, key: &str, range: &RangeInclusive<Duration>, expected: &str) -> Option<Duration> {
    let duration = section.duration(key, TimeUnit::Seconds)?;
    if !range.contains(&duration) {
        section.unexpected(key, expected, None);
        return None;
    }
    Some(duration)
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

#[cfg(test)]
mod tests {
    use std::fs;

    use trunkline_config::Diagnostics;
    use trunkline_delivery::LaneMode;

    use super::*;
    use crate::{Overrides, Project};

    #[test]
    fn a_broker_has_the_lanes_of_its_type_unless_its_section_says_otherwise() {
        let project = tempfile::tempdir().unwrap();
        let pika = "type: pika, url: a, username: b, password: c, queues: d";
        let webhook = "type: webhook, url: 'https://a'";
        let yaml = format!("event_broker: [{{{pika}}}, {{{pika}, name: one, lanes: 1}}, {{{webhook}}}, {{type: file}}]");
        fs::write(project.path().join("endpoints.yml"), yaml).unwrap();
        let diagnostics = Diagnostics::new();
        let plan = Project::new(project.path(), Overrides::default(), Adapters::default()).plan(&diagnostics);
        let plan = plan.unwrap_or_else(|| panic!("{:?}", diagnostics.sorted()));
        let lanes: Vec<_> =
            plan.brokers.iter().map(|broker| (broker.subscription.lanes, broker.subscription.concurrency)).collect();
        let several = LaneMode::Conversations;
        assert_eq!(lanes, [(several, 4), (several, 1), (several, 1), (LaneMode::One, 1)]);
    }
}
