//! The `assistant` section of `trunkline.yml`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_adapter::{Spec as _, Table};
use trunkline_config::{Section, TimeUnit, UnknownKeys};
use trunkline_core::Assistant;

use crate::echo::Echo;
use crate::table::{AssistantSpec, DEFAULT_KIND};

/// The time limit of a turn when the section gives none.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);

/// The longest time limit of a turn that can be given: what Rasa itself allows.
pub const MAX_TIMEOUT: Duration = Duration::from_hours(1);

/// What the person gets when the assistant does not answer and the section says nothing else.
pub const DEFAULT_APOLOGY: &str = "Sorry, I cannot answer right now. Please try again later.";

/// The number of turns at the same time when the section gives none.
pub const DEFAULT_CONCURRENCY: usize = 256;

/// An assistant, and how its turns are to be run.
#[derive(Clone)]
pub struct AssistantPlan {
    /// Its type.
    pub kind: &'static str,
    /// The assistant.
    pub assistant: Arc<dyn Assistant>,
    /// The time limit of a turn. The assistant's own requests end a few seconds later even if nobody keeps it.
    pub timeout: Duration,
    /// What the person gets when the assistant does not answer.
    pub apology: String,
    /// How many turns run at the same time.
    pub concurrency: usize,
}

/// What an empty section means: the echo.
impl Default for AssistantPlan {
    fn default() -> Self {
        Self {
            kind: DEFAULT_KIND,
            assistant: Arc::new(Echo),
            timeout: DEFAULT_TIMEOUT,
            apology: DEFAULT_APOLOGY.to_owned(),
            concurrency: DEFAULT_CONCURRENCY,
        }
    }
}

impl fmt::Debug for AssistantPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, assistant: _, timeout, apology, concurrency } = self;
        let mut plan = f.debug_struct("AssistantPlan");
        plan.field("kind", kind).field("timeout", timeout).field("apology", apology).field("concurrency", concurrency);
        plan.finish_non_exhaustive()
    }
}

/// Reads the `assistant` section, whose type is one of `assistants`; an empty one means the echo with its defaults. Relative paths
/// of certificates start at `directory`.
///
/// Every problem is reported through the section; `None` is never without an error. Nothing outside the process is touched.
pub fn from_section(section: &Section<'_>, directory: &Path, assistants: &Table<AssistantSpec>) -> Option<AssistantPlan> {
    section.unknown_keys(UnknownKeys::Refuse);
    let timeout = timeout(section);
    let apology = apology(section);
    let concurrency = section.integer("concurrency", 1..=100_000_u32);
    let Some(spec) = spec(section, assistants) else {
        // Whose keys these are is not known, so none of them is called unknown.
        section.entries();
        return None;
    };
    let assistant = spec.build.and_then(|build| build(section, directory, timeout))?;
    let concurrency = concurrency.and_then(|number| number.try_into().ok()).unwrap_or(DEFAULT_CONCURRENCY);
    Some(AssistantPlan { kind: spec.kind, assistant, timeout, apology, concurrency })
}

/// The row for the section's `type`, if it is built in.
fn spec<'t>(section: &Section<'_>, assistants: &'t Table<AssistantSpec>) -> Option<&'t AssistantSpec> {
    if !section.has("type") && section.has("url") {
        section.error("url", "`url` without a `type`", Some("add `type: rasa` or `type: http`"));
        return None;
    }
    let kind = section.string("type");
    if kind.is_none() && section.has("type") {
        return None;
    }
    match assistants.find(kind.as_deref().unwrap_or(DEFAULT_KIND)) {
        Ok(spec) if spec.is_built_in() => Some(spec),
        Ok(spec) => {
            section.error("type", assistants.not_built_in(spec), None);
            None
        }
        Err(unknown) => {
            section.error("type", unknown.to_string(), None);
            None
        }
    }
}

fn timeout(section: &Section<'_>) -> Duration {
    let given = section.duration("timeout", TimeUnit::Seconds).unwrap_or(DEFAULT_TIMEOUT);
    if given.is_zero() || given > MAX_TIMEOUT {
        section.unexpected("timeout", "a duration of more than nothing and at most an hour", None);
        return DEFAULT_TIMEOUT;
    }
    given
}

fn apology(section: &Section<'_>) -> String {
    let given = section.string("apology").unwrap_or_else(|| DEFAULT_APOLOGY.to_owned());
    if given.trim().is_empty() {
        section.unexpected("apology", "what to say to a person who gets no answer", None);
    }
    given
}
