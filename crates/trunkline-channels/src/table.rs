//! The channels that `credentials.yml` can name.

use trunkline_config::Section;

use crate::{InputChannel, Rest};

/// Makes a channel from its section of `credentials.yml`; problems go to the section's diagnostics.
pub type BuildFn = fn(&Section<'_>) -> Option<Box<dyn InputChannel>>;

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ChannelSpec {
    /// The name in `credentials.yml`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
    /// How it is made; `None`: it is known and not built in yet.
    pub build: Option<BuildFn>,
}

/// All channels that Rasa has, sorted by name.
pub const CHANNELS: &[ChannelSpec] = &[
    not_yet("botframework", "Microsoft Bot Framework"),
    not_yet("callback", "JSON in, replies posted to a URL"),
    not_yet("cmdline", "the terminal; `trunkline shell` talks through `rest`"),
    not_yet("facebook", "Facebook Messenger"),
    not_yet("hangouts", "Google Chat"),
    not_yet("mattermost", "Mattermost"),
    not_yet("rasa", "Rasa X"),
    ChannelSpec {
        name: "rest",
        summary: "JSON in, replies as the answer, streamed on request",
        build: Some(|_| Some(Box::new(Rest))),
    },
    not_yet("rocketchat", "Rocket.Chat"),
    not_yet("slack", "Slack"),
    not_yet("socketio", "Socket.IO"),
    not_yet("telegram", "Telegram"),
    not_yet("twilio", "Twilio SMS"),
    not_yet("twilio_voice", "Twilio voice calls"),
    not_yet("webexteams", "Webex"),
];

const fn not_yet(name: &'static str, summary: &'static str) -> ChannelSpec {
    ChannelSpec { name, summary, build: None }
}

/// The row of a name; names are case-sensitive, as in Rasa.
pub fn find(name: &str) -> Option<&'static ChannelSpec> {
    CHANNELS.iter().find(|spec| spec.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted() {
        assert!(CHANNELS.is_sorted_by(|one, two| one.name < two.name));
        assert!(find("rest").is_some_and(|spec| spec.build.is_some()) && find("Rest").is_none());
    }
}
