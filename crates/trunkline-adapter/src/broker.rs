//! Rows of the table of brokers.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::Section;
use trunkline_core::Broker;

use crate::Spec;

/// Builds a broker from its section; paths in it are relative to the directory of the project.
///
/// The caller has asked the section before for all keys that brokers share (`type`, `name`, `filter`, …), so that the
/// section does not call them unknown. Every problem is reported through the section; `None` when no broker can be made,
/// which is never without an error. Nothing outside the process is touched.
pub type BuildBroker = fn(&Section<'_>, &Path) -> Option<Arc<dyn Broker>>;

/// How many batches a kind of broker takes side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concurrency {
    /// One, because it stores our cursor with its data, which makes its effect exactly once.
    StoresCursor,
    /// One, because it works on one batch at a time: several would only wait for each other.
    OneAtATime,
    /// So many, each of other conversations, unless the section says otherwise with `lanes`.
    Lanes(u32),
}

/// A row of the table of brokers.
#[derive(Clone, Copy, Debug)]
pub struct BrokerSpec {
    /// The `type`, in lower case.
    pub kind: &'static str,
    /// A description for people, as `a topic of Apache Kafka`.
    pub summary: &'static str,
    /// Rasa's class, which may stand in place of the type.
    pub class: Option<&'static str>,
    /// How many batches it takes side by side.
    pub concurrency: Concurrency,
    /// The key under which stands what all brokers share, where every other key of the section belongs to a class that is not ours.
    pub shared_under: Option<&'static str>,
    /// Makes one; `None` while it is not built in.
    pub build: Option<BuildBroker>,
    /// The feature of cargo that it comes with, when it is not always there.
    pub feature: Option<&'static str>,
}

impl BrokerSpec {
    /// A row of a broker of one's own, which publishes at least once, one batch after the other.
    pub const fn new(kind: &'static str, summary: &'static str, build: BuildBroker) -> Self {
        Self { build: Some(build), ..Self::known(kind, summary) }
    }

    /// A row of a broker that is known and not built in.
    pub const fn known(kind: &'static str, summary: &'static str) -> Self {
        Self { kind, summary, class: None, concurrency: Concurrency::Lanes(1), shared_under: None, build: None, feature: None }
    }
}

impl Spec for BrokerSpec {
    fn kind(&self) -> &str {
        self.kind
    }

    fn summary(&self) -> &str {
        self.summary
    }

    fn is_built_in(&self) -> bool {
        self.build.is_some()
    }

    fn class(&self) -> Option<&str> {
        self.class
    }

    fn feature(&self) -> Option<&str> {
        self.feature
    }
}
