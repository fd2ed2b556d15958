//! The channels that `credentials.yml` can name.

use std::path::Path;
use std::sync::Arc;

use trunkline_adapter::{Spec, Table};
use trunkline_config::Section;

use crate::{Callback, Channel, Rest};

/// Makes a channel from its section of `credentials.yml`; relative paths start at the directory of the project. Every problem is
/// reported through the section; `None` is never without an error. Nothing outside the process is touched.
pub type BuildChannel = fn(&Section<'_>, &Path) -> Option<Arc<dyn Channel>>;

/// A row of the table of channels.
#[derive(Clone, Copy, Debug)]
pub struct ChannelSpec {
    /// The name in `credentials.yml`.
    pub name: &'static str,
    /// A description for people.
    pub summary: &'static str,
    /// Makes one; `None`: it is known and not built in yet.
    pub build: Option<BuildChannel>,
}

impl ChannelSpec {
    /// A row of a channel.
    pub const fn new(name: &'static str, summary: &'static str, build: BuildChannel) -> Self {
        Self { name, summary, build: Some(build) }
    }

    const fn known(name: &'static str, summary: &'static str) -> Self {
        Self { name, summary, build: None }
    }
}

impl Spec for ChannelSpec {
    fn kind(&self) -> &str {
        self.name
    }

    fn summary(&self) -> &str {
        self.summary
    }

    fn is_built_in(&self) -> bool {
        self.build.is_some()
    }
}

/// All channels that Rasa has.
pub fn channels() -> Table<ChannelSpec> {
    let rows = [
        ChannelSpec::known("botframework", "Microsoft Bot Framework"),
        ChannelSpec::new("callback", "JSON in, replies posted to a URL", |section, directory| {
            Some(Arc::new(Callback::from_section(section, directory)?))
        }),
        ChannelSpec::known("cmdline", "the terminal; `trunkline shell` talks through `rest`"),
        ChannelSpec::known("facebook", "Facebook Messenger"),
        ChannelSpec::known("hangouts", "Google Chat"),
        ChannelSpec::known("mattermost", "Mattermost"),
        ChannelSpec::known("rasa", "Rasa X"),
        ChannelSpec::new("rest", "JSON in, replies as the answer, streamed on request", |_, _| Some(Arc::new(Rest))),
        ChannelSpec::known("rocketchat", "Rocket.Chat"),
        ChannelSpec::known("slack", "Slack"),
        ChannelSpec::known("socketio", "Socket.IO"),
        ChannelSpec::known("telegram", "Telegram"),
        ChannelSpec::known("twilio", "Twilio SMS"),
        ChannelSpec::known("twilio_voice", "Twilio voice calls"),
        ChannelSpec::known("webexteams", "Webex"),
    ];
    Table::new("channel", rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_in_the_original_and_case_counts() {
        let channels = channels();
        assert_eq!(channels.built_in(), "callback, rest");
        assert!(channels.find_exactly("rest").is_ok() && channels.find_exactly("Rest").is_err());
    }
}
