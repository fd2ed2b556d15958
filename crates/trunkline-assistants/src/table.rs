//! Every assistant by name, built in or not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_config::{Section, closest};
use trunkline_core::Assistant;

use crate::echo::Echo;
use crate::{http, rasa};

/// What a section without a `type` means.
pub const DEFAULT_KIND: &str = "echo";

/// Builds an assistant from its section; relative paths start at the directory, and the duration is the time limit of a turn.
///
/// The caller has asked the section before for the keys that all assistants share. Every problem is reported through the
/// section; `None` is never without an error. Nothing outside the process is touched.
pub type Build = fn(&Section<'_>, &Path, Duration) -> Option<Arc<dyn Assistant>>;

/// A row of [`ASSISTANTS`].
#[derive(Clone, Copy, Debug)]
pub struct AssistantSpec {
    /// The `type`, in lower case.
    pub kind: &'static str,
    /// What it answers with, for a person.
    pub summary: &'static str,
    /// `None` while it is not built in; then [`not_built_in`](Self::not_built_in) is the answer.
    pub build: Option<Build>,
}

impl AssistantSpec {
    /// What to tell a person who asks for an assistant that is not built in.
    pub fn not_built_in(&self) -> String {
        format!("assistant type `{}` is not built in yet; built in: {}", self.kind, built_in())
    }
}

/// Every type of assistant, sorted.
pub const ASSISTANTS: &[AssistantSpec] = &[
    AssistantSpec { kind: "echo", summary: "says the user's text back", build: Some(|_, _, _| Some(Arc::new(Echo))) },
    AssistantSpec { kind: "http", summary: "any URL that answers a POST with replies", build: Some(http::from_section) },
    AssistantSpec { kind: "openai", summary: "a chat API in the form of OpenAI's", build: None },
    AssistantSpec { kind: "rasa", summary: "a server that speaks Rasa's REST channel", build: Some(rasa::from_section) },
    AssistantSpec { kind: "skills", summary: "the skills and flows of this project", build: None },
];

/// The row for what stands under `type`, in upper or lower case.
pub fn find(kind: &str) -> Result<&'static AssistantSpec, UnknownKind> {
    ASSISTANTS.iter().find(|spec| spec.kind.eq_ignore_ascii_case(kind)).ok_or_else(|| {
        let nearest = closest(kind, ASSISTANTS.iter().map(|spec| spec.kind));
        UnknownKind { kind: kind.to_owned(), nearest }
    })
}

/// A `type` that is no row of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown assistant type `{kind}`{}", suggestion(*nearest))]
pub struct UnknownKind {
    /// As it was written.
    pub kind: String,
    /// The type that was probably meant.
    pub nearest: Option<&'static str>,
}

fn built_in() -> String {
    let kinds: Vec<&str> = ASSISTANTS.iter().filter(|spec| spec.build.is_some()).map(|spec| spec.kind).collect();
    kinds.join(", ")
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| format!("; built in: {}", built_in()), |kind| format!("; did you mean `{kind}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_lower_case_sorted_and_unique() {
        assert!(ASSISTANTS.windows(2).all(|pair| pair[0].kind < pair[1].kind));
        assert!(ASSISTANTS.iter().all(|spec| spec.kind == spec.kind.to_ascii_lowercase() && !spec.summary.is_empty()));
        assert!(find(DEFAULT_KIND).unwrap().build.is_some());
    }

    #[test]
    fn types_are_found_in_any_case_and_others_are_answered_by_name() {
        assert_eq!(find("Rasa").unwrap().kind, "rasa");
        let text = |kind: &str| find(kind).unwrap_err().to_string();
        assert_eq!(text("rsaa"), "unknown assistant type `rsaa`; did you mean `rasa`?");
        assert_eq!(text("dialogflow"), "unknown assistant type `dialogflow`; built in: echo, http, rasa");
        assert_eq!(
            find("openai").unwrap().not_built_in(),
            "assistant type `openai` is not built in yet; built in: echo, http, rasa"
        );
    }
}
