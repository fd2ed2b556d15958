//! A plan that contradicts itself is refused before anything is opened.
//!
//! The files of a project are checked while they are read, so that an error names the line. A plan made in code is checked here
//! alone, and so are two names of one file, which only look like one place when the file is there.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use trunkline_core::Place;

use crate::config::{ASSISTANT, MOST_CHARS, is_name};
use crate::{BrokerPlan, Plan, SourcePlan};

const BROKER: &str = "broker";

/// What in a plan cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A source reads what a broker writes.
    #[error(
        "source `{source_name}` reads the {} that broker `{broker}` writes; every event would be appended again, for ever",
        place_word(place)
    )]
    Circle {
        /// The name of the source.
        source_name: String,
        /// The name of the broker.
        broker: String,
        /// The place, as the source names it.
        place: Place,
    },
    /// Two have the same name.
    #[error("two {kind}s are called `{name}`; give each its own name, under which is stored how far it is")]
    TwoOfOneName {
        /// `broker`, `channel` or `source`.
        kind: &'static str,
        /// Their name.
        name: String,
    },
    /// A name that nobody may have.
    #[error("no {kind} can be called `{name}`: expected 1 to {MOST_CHARS} letters, digits, `-`, `_` and `.`, the first not a `.`{}", if *kind == BROKER { "; the assistant's own cursor is called `assistant`" } else { "" })]
    Name {
        /// `broker`, `channel` or `source`.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// Refuses a plan for its first contradiction.
pub(crate) fn check(plan: &Plan) -> Result<(), Contradiction> {
    let Plan { brokers, channels, sources, .. } = plan;
    names(BROKER, brokers.iter().map(|broker| broker.subscription.name.as_str()))?;
    names("channel", channels.iter().map(|channel| channel.name()))?;
    names("source", sources.iter().map(|source| source.name.as_str()))?;
    for source in sources {
        if let Some(broker) = brokers.iter().find(|broker| is_circle(broker, source)) {
            let (source_name, broker) = (source.name.clone(), broker.subscription.name.clone());
            return Err(Contradiction::Circle { source_name, broker, place: source.source.place() });
        }
    }
    Ok(())
}

fn names<'n>(kind: &'static str, names: impl Iterator<Item = &'n str>) -> Result<(), Contradiction> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !is_name(name) || kind == BROKER && name == ASSISTANT {
            return Err(Contradiction::Name { kind, name: name.to_owned() });
        }
        if !seen.insert(name) {
            return Err(Contradiction::TwoOfOneName { kind, name: name.to_owned() });
        }
    }
    Ok(())
}

/// A file that has several names is not called by one of them.
fn place_word(place: &Place) -> String {
    match place {
        Place::File(_) => "file".to_owned(),
        Place::Named(name) => name.clone(),
    }
}

fn is_circle(broker: &BrokerPlan, source: &SourcePlan) -> bool {
    let file = || Some(file_at(&broker.broker.writes_without_ids_to()?)? == file_at(&source.source.place())?);
    broker.feeds(&*source.source) || file().unwrap_or(false)
}

/// Device and inode of a place that is a file; `None` when it is none, or not there yet.
fn file_at(place: &Place) -> Option<(u64, u64)> {
    let Place::File(path) = place else { return None };
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
