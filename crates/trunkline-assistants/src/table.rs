//! Every assistant by name, built in or not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_adapter::{Spec, Table};
use trunkline_config::Section;
use trunkline_core::Assistant;

use crate::echo::Echo;
use crate::{http, rasa};

/// What a section without a `type` means.
pub const DEFAULT_KIND: &str = "echo";

/// Builds an assistant from its section; relative paths start at the directory, and the duration is the time limit of a turn.
///
/// The caller has asked the section before for the keys that all assistants share. Every problem is reported through the
/// section; `None` is never without an error. Nothing outside the process is touched.
pub type BuildAssistant = fn(&Section<'_>, &Path, Duration) -> Option<Arc<dyn Assistant>>;

/// A row of the table of assistants.
#[derive(Clone, Copy, Debug)]
pub struct AssistantSpec {
    /// The `type`, in lower case.
    pub kind: &'static str,
    /// A description for people.
    pub summary: &'static str,
    /// Makes one; `None` while it is not built in.
    pub build: Option<BuildAssistant>,
}

impl AssistantSpec {
    /// A row of an assistant.
    pub const fn new(kind: &'static str, summary: &'static str, build: BuildAssistant) -> Self {
        Self { kind, summary, build: Some(build) }
    }

    const fn known(kind: &'static str, summary: &'static str) -> Self {
        Self { kind, summary, build: None }
    }
}

impl Spec for AssistantSpec {
    fn kind(&self) -> &str {
        self.kind
    }

    fn summary(&self) -> &str {
        self.summary
    }

    fn is_built_in(&self) -> bool {
        self.build.is_some()
    }
}

/// Every assistant that is known.
pub fn assistants() -> Table<AssistantSpec> {
    let rows = [
        AssistantSpec::new(DEFAULT_KIND, "says the user's text back", |_, _, _| Some(Arc::new(Echo))),
        AssistantSpec::new("http", "any URL that answers a POST with replies", http::from_section),
        AssistantSpec::known("openai", "a chat API in the form of OpenAI's"),
        AssistantSpec::new("rasa", "a server that speaks Rasa's REST channel", rasa::from_section),
        AssistantSpec::known("skills", "the skills and flows of this project"),
    ];
    Table::new("assistant type", rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_and_have_a_summary() {
        let assistants = assistants();
        for row in assistants.rows() {
            assert!(row.kind == row.kind.to_ascii_lowercase() && !row.summary.is_empty(), "{}", row.kind);
        }
        assert!(assistants.find(DEFAULT_KIND).unwrap().is_built_in());
    }

    #[test]
    fn types_are_found_in_any_case_and_others_are_answered_by_name() {
        let assistants = assistants();
        assert_eq!(assistants.find("Rasa").unwrap().kind, "rasa");
        let text = |kind: &str| assistants.find(kind).unwrap_err().to_string();
        assert_eq!(text("rsaa"), "unknown assistant type `rsaa`; did you mean `rasa`?");
        assert_eq!(text("dialogflow"), "unknown assistant type `dialogflow`; built in: echo, http, rasa");
        let openai = assistants.find("openai").unwrap();
        assert_eq!(assistants.not_built_in(openai), "assistant type `openai` is not built in yet; built in: echo, http, rasa");
    }
}
