//! Brokers made from their arguments in code, with the keys and the checks of the files.

use std::fmt;
use std::path::Path;

use serde_json::Value;
use trunkline_config::{Diagnostic, Diagnostics, Document, Severity, UnknownKeys};

use super::endpoints::{self, KIND_KEYS};
use crate::{Adapters, BrokerPlan};

/// What is wrong with arguments.
#[derive(Clone, Debug)]
pub struct ArgumentsError(Vec<Diagnostic>);

impl fmt::Display for ArgumentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Diagnostic { path, message, hint, .. }) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{path}: {message}")?;
            if let Some(hint) = hint {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ArgumentsError {}

impl Adapters {
    /// A broker made from its arguments: an object with the keys that an element of `event_broker` has in `endpoints.yml`, `type` and
    /// `name` among them. Texts are taken as they are, without `${…}`; relative paths begin at the working directory. It connects to
    /// nobody; [`Broker::is_ready`](trunkline_core::Broker::is_ready) does.
    ///
    /// # Errors
    ///
    /// What is wrong with them, each with its key. What would be a warning in a file is logged.
    pub fn broker(&self, arguments: &Value) -> Result<BrokerPlan, ArgumentsError> {
        let diagnostics = Diagnostics::new();
        // JSON is YAML, and what stands in quotes is not interpolated.
        let document = Document::parse("arguments", &arguments.to_string(), &|_| None, &diagnostics);
        let mut left_out = Vec::new();
        let plan = document.and_then(|document| {
            document.read(UnknownKeys::Warn, &diagnostics, |section| {
                endpoints::broker(section, Path::new(""), &self.brokers, &mut left_out)
            })
        });
        let said = diagnostics.sorted();
        match plan.filter(|_| !diagnostics.has_errors()) {
            Some(plan) => {
                for Diagnostic { path, message, .. } in said.iter().filter(|said| said.severity == Severity::Warning) {
                    tracing::warn!(broker = plan.subscription.name, key = path, message, "Arguments of a broker");
                }
                Ok(plan)
            }
            None => Err(ArgumentsError(said.into_iter().filter_map(wrong).collect())),
        }
    }
}

/// What forbids to make the broker. A type that nobody knows is a warning in a file, where the gateway runs without that broker.
fn wrong(said: Diagnostic) -> Option<Diagnostic> {
    match said.severity {
        Severity::Error => Some(said),
        Severity::Warning if KIND_KEYS.contains(&said.path.as_str()) => Some(said.hint(None)),
        Severity::Warning => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_mean_what_the_keys_of_a_section_mean() {
        let adapters = Adapters::default();
        let arguments = json!({
            "type": "pika", "name": "rabbit", "url": "localhost", "port": 5673, "username": "u", "password": "a${b}",
            "queues": ["one", "two"], "filter": {"types": ["user"]}, "lanes": 2,
        });
        let plan = adapters.broker(&arguments).unwrap();
        assert_eq!((plan.kind, plan.subscription.name.as_str(), plan.subscription.concurrency), ("pika", "rabbit", 2));
        let plan = adapters.broker(&json!({"type": "file", "path": "/a"})).unwrap();
        assert_eq!(plan.subscription.name, "file");
    }

    #[test]
    fn what_is_wrong_is_named_by_its_key() {
        let said = |arguments: Value| Adapters::default().broker(&arguments).unwrap_err().to_string();
        let missing = said(json!({"type": "pika", "url": "localhost", "queues": "q"}));
        let expected =
            "username: required key is missing (add `username: …`); password: required key is missing (add `password: …`)";
        assert_eq!(missing, expected);
        assert!(said(json!({"type": "file", "typo": 1})).starts_with("typo: unknown key `typo`"));
        assert!(said(json!({"type": "kafak"})).starts_with("type: unknown broker type `kafak`; did you mean `kafka`?"));
        assert!(!said(json!({"type": "kafak"})).contains("runs without"));
        assert!(!said(json!({"type": "file", "path": 5, "typo": 1, "batch": {"events": 0, "more": 1}})).contains("ignored"));
        assert!(said(json!({"type": "file", "batch": {"events": 0}})).starts_with("batch.events: "));
        assert!(said(json!([])).contains("a mapping"));
    }
}
