//! What a gateway can be put together from.

use trunkline_adapter::{BrokerSpec, SourceSpec, Table};
use trunkline_assistants::AssistantSpec;
use trunkline_channels::ChannelSpec;

/// The kinds of brokers, sources, channels and assistants that the files of a project can name.
#[derive(Clone, Debug)]
pub struct Adapters {
    /// Those of `event_broker` in `endpoints.yml`.
    pub brokers: Table<BrokerSpec>,
    /// Those of `sources` in `trunkline.yml`.
    pub sources: Table<SourceSpec>,
    /// Those of `credentials.yml`.
    pub channels: Table<ChannelSpec>,
    /// Those of `assistant` in `trunkline.yml`.
    pub assistants: Table<AssistantSpec>,
}

impl Default for Adapters {
    /// Ours, but for Kafka, which is a crate of its own.
    fn default() -> Self {
        Self {
            brokers: trunkline_brokers::brokers(),
            sources: trunkline_brokers::sources(),
            channels: trunkline_channels::channels(),
            assistants: trunkline_assistants::assistants(),
        }
    }
}

impl Adapters {
    /// The same and one kind of broker more. It takes the place of one of the same kind, as do all that are added.
    #[must_use]
    pub fn with_broker(self, row: BrokerSpec) -> Self {
        Self { brokers: self.brokers.with(row), ..self }
    }

    /// The same and one kind of source more.
    #[must_use]
    pub fn with_source(self, row: SourceSpec) -> Self {
        Self { sources: self.sources.with(row), ..self }
    }

    /// The same and one kind of channel more.
    #[must_use]
    pub fn with_channel(self, row: ChannelSpec) -> Self {
        Self { channels: self.channels.with(row), ..self }
    }

    /// The same and one kind of assistant more.
    #[must_use]
    pub fn with_assistant(self, row: AssistantSpec) -> Self {
        Self { assistants: self.assistants.with(row), ..self }
    }
}
