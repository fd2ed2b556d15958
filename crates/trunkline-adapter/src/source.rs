//! Rows of the table of sources.

use std::path::Path;
use std::sync::Arc;

use trunkline_config::Section;
use trunkline_core::Source;

use crate::Spec;

/// Builds a source from its section, under the same rules as a broker ([`BuildBroker`](crate::BuildBroker)).
pub type BuildSource = fn(&Section<'_>, &Path, ReadBy) -> Option<Arc<dyn Source>>;

/// Who reads a source. It decides about what the section leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBy {
    /// A gateway, which goes on where it was.
    Gateway,
    /// A person who looks. Unless the section says so, nothing is taken from a gateway that reads there too.
    Person,
}

impl ReadBy {
    /// The name under which a source remembers how far it was read, where the section gives none.
    pub fn group(self) -> &'static str {
        match self {
            Self::Gateway => "trunkline",
            Self::Person => "trunkline-consume",
        }
    }
}

/// A row of the table of sources.
#[derive(Clone, Copy, Debug)]
pub struct SourceSpec {
    /// The `type`, in lower case: that of the broker that publishes there, if there is one.
    pub kind: &'static str,
    /// A description for people, as `a topic of Apache Kafka`.
    pub summary: &'static str,
    /// Rasa's class of the broker that publishes there, which may stand in place of the type.
    pub class: Option<&'static str>,
    /// Makes one; `None` while it is not built in.
    pub build: Option<BuildSource>,
    /// The feature of cargo that it comes with, when it is not always there.
    pub feature: Option<&'static str>,
}

impl SourceSpec {
    /// A row of a source.
    pub const fn new(kind: &'static str, summary: &'static str, build: BuildSource) -> Self {
        Self { build: Some(build), ..Self::known(kind, summary) }
    }

    /// A row of a source that is known and not built in.
    pub const fn known(kind: &'static str, summary: &'static str) -> Self {
        Self { kind, summary, class: None, build: None, feature: None }
    }
}

impl Spec for SourceSpec {
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
