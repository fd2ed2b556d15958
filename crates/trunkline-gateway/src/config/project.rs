//! The files of a project, and what the command line says instead.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline_brokers::SqlTrackerStore;
use trunkline_channels::Channel;
use trunkline_config::{Diagnostic, Diagnostics, Document, Severity, UnknownKeys};

use super::endpoints::EventBrokers;
use super::{credentials, endpoints, settings, there_is_no};
use crate::{Adapters, Plan, SourcePlan};

const ENDPOINTS: &str = "endpoints.yml";

/// What the command line says; it wins over `trunkline.yml`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The file to read in place of `endpoints.yml`.
    pub endpoints: Option<PathBuf>,
    /// The file to read in place of `credentials.yml`.
    pub credentials: Option<PathBuf>,
    /// The address to listen on.
    pub interface: Option<String>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// Whether the HTTP API is served.
    pub enable_api: bool,
    /// The token of the HTTP API.
    pub auth_token: Option<String>,
    /// The secret, or public key, of JSON Web Tokens.
    pub jwt_secret: Option<String>,
    /// The algorithm of JSON Web Tokens.
    pub jwt_method: Option<String>,
    /// The origins that browsers may call from.
    pub cors: Vec<String>,
}

/// A directory with the three files.
#[derive(Clone, Debug)]
pub struct Project {
    directory: PathBuf,
    overrides: Overrides,
    adapters: Adapters,
}

impl Project {
    /// The project in `directory`, whose files can name any of `adapters`.
    pub fn new(directory: impl Into<PathBuf>, overrides: Overrides, adapters: Adapters) -> Self {
        Self { directory: directory.into(), overrides, adapters }
    }

    /// Reads and checks all files. Every problem goes to `diagnostics`; `None` when one of them is an error.
    pub fn plan(&self, diagnostics: &Diagnostics) -> Option<Plan> {
        if !self.directory.is_dir() {
            let message = format!("{} is no directory", self.directory.display());
            let hint = "name the directory of a project; `trunkline init` makes one".to_owned();
            diagnostics.push(Diagnostic::new(Severity::Error, self.directory.display().to_string(), message).hint(hint));
            return None;
        }
        let (brokers, channels) = (self.brokers(diagnostics), self.channels(diagnostics));
        let settings = self.settings(diagnostics, brokers);
        if diagnostics.has_errors() {
            return None;
        }
        Some(Plan { channels, ..settings? })
    }

    /// The source that reads what the broker `name` of `endpoints.yml` publishes. Every problem goes to `diagnostics`.
    pub fn source_of_broker(&self, name: &str, diagnostics: &Diagnostics) -> Option<SourcePlan> {
        let Some(document) = self.endpoints(diagnostics) else {
            if !diagnostics.has_errors() {
                let (file, none) = (shown(&self.directory.join(ENDPOINTS)), [""; 0]);
                let message = there_is_no(&format!("broker `{name}`"), none);
                diagnostics.push(Diagnostic::new(Severity::Error, file, message));
            }
            return None;
        };
        let source = document.read(UnknownKeys::Warn, diagnostics, |root| {
            endpoints::source_of_broker(root, &self.directory, &self.adapters, name)
        });
        source.filter(|_| !diagnostics.has_errors())
    }

    /// The tracker store of `endpoints.yml`. Every problem goes to `diagnostics`, a missing section too.
    pub fn tracker_store(&self, diagnostics: &Diagnostics) -> Option<SqlTrackerStore> {
        let document = self.endpoints(diagnostics)?;
        let store = document.read(UnknownKeys::Warn, diagnostics, |root| endpoints::tracker_store(root, &self.directory));
        store.filter(|_| !diagnostics.has_errors())
    }

    fn brokers(&self, diagnostics: &Diagnostics) -> EventBrokers {
        let Some(document) = self.endpoints(diagnostics) else { return EventBrokers::default() };
        document.read(UnknownKeys::Warn, diagnostics, |root| endpoints::brokers(root, &self.directory, &self.adapters.brokers))
    }

    fn channels(&self, diagnostics: &Diagnostics) -> Vec<Arc<dyn Channel>> {
        match self.rasas_file("credentials.yml", self.overrides.credentials.as_deref(), diagnostics) {
            Some(document) => document.read(UnknownKeys::Warn, diagnostics, |root| {
                credentials::channels(root, &self.directory, &self.adapters.channels)
            }),
            None => credentials::default_channels(),
        }
    }

    fn settings(&self, diagnostics: &Diagnostics, brokers: EventBrokers) -> Option<Plan> {
        let path = self.directory.join("trunkline.yml");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                diagnostics.push(unreadable(&path, &error));
                return None;
            }
        };
        let document = Document::parse(&shown(&path), &text, &variable, diagnostics)?;
        document.read(UnknownKeys::Refuse, diagnostics, |root| {
            settings::plan(root, &self.directory, &self.overrides, &self.adapters, brokers)
        })
    }

    fn endpoints(&self, diagnostics: &Diagnostics) -> Option<Document> {
        self.rasas_file(ENDPOINTS, self.overrides.endpoints.as_deref(), diagnostics)
    }

    /// One of Rasa's files. As there, a file that was named and is not there gets a warning, and the one in the project is
    /// read instead; when that is not there either, every section is absent.
    fn rasas_file(&self, name: &str, given: Option<&Path>, diagnostics: &Diagnostics) -> Option<Document> {
        let default = self.directory.join(name);
        for path in given.into_iter().chain([default.as_path()]) {
            match fs::read_to_string(path) {
                Ok(text) => return Document::parse(&shown(path), &text, &variable, diagnostics),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if given == Some(path) {
                        let message = format!("there is no such file; {} is read instead, if there is one", default.display());
                        diagnostics.push(Diagnostic::new(Severity::Warning, shown(path), message));
                    }
                }
                Err(error) => {
                    diagnostics.push(unreadable(path, &error));
                    return None;
                }
            }
        }
        None
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// The path as a person would write it.
fn shown(path: &Path) -> String {
    path.strip_prefix("./").unwrap_or(path).display().to_string()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Diagnostic {
    Diagnostic::new(Severity::Error, shown(path), format!("the file could not be read: {error}"))
}
