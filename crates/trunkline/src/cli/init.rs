//! `trunkline init`: a project with commented files.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::output::{self, Failure, Outcome};

/// The files of a project. What they say is true of the program, because the tests read them with it.
const FILES: [(&str, &str); 3] = [
    ("endpoints.yml", include_str!("init/endpoints.yml")),
    ("credentials.yml", include_str!("init/credentials.yml")),
    ("trunkline.yml", include_str!("init/trunkline.yml")),
];

/// Make a project with commented files.
///
/// When one of the files is there already, nothing is changed.
#[derive(Args, Debug)]
pub(super) struct Init {
    /// The directory of the project; it is made when there is none.
    #[arg(default_value = ".", value_name = "DIR")]
    directory: PathBuf,
}

impl Init {
    pub(super) fn run(self) -> Result<Outcome, Failure> {
        let directory = &self.directory;
        let present: Vec<_> =
            FILES.iter().map(|(name, _)| directory.join(name)).filter(|path| path.symlink_metadata().is_ok()).collect();
        if !present.is_empty() {
            return Err(refused(&present));
        }
        fs::create_dir_all(directory).map_err(|error| Failure::new(format!("{}: {error}", directory.display())))?;
        for (name, text) in FILES {
            let path = directory.join(name);
            match fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
            {
                Ok(()) => {}
                // It has come in between.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(refused(&[path])),
                Err(error) => return Err(Failure::new(format!("{}: {error}", path.display()))),
            }
        }
        output::report(hints(directory))?;
        Ok(Outcome::Done)
    }
}

fn refused(present: &[PathBuf]) -> Failure {
    let names: Vec<_> = present.iter().map(|path| path.display().to_string()).collect();
    let (verb, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
    Failure::new(format!(
        "{} {verb} there already, and nothing was changed. A project of Rasa needs no other files: `trunkline check` reads {them}",
        names.join(", ")
    ))
}

/// What there is now, and what to do next.
fn hints(directory: &Path) -> String {
    let argument = argument(directory);
    let command = |name: &str| format!("trunkline {name}{argument}");
    let next = [
        (command("check"), "says what is wrong with the files"),
        (command("serve"), "runs the gateway"),
        (command("shell"), "talks to the assistant in the terminal"),
    ];
    let width = next.iter().map(|(command, _)| command.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!(
        "Made a project in {}:",
        if argument.is_empty() { "this directory".into() } else { directory.display().to_string() }
    )];
    lines.extend(
        ["endpoints.yml    where events are published", "credentials.yml  where people write", "trunkline.yml    all else"]
            .map(|line| format!("  {line}")),
    );
    lines.push("Next:".to_owned());
    lines.extend(next.iter().map(|(command, what)| format!("  {command:width$}  {what}")));
    lines.join("\n")
}

/// The directory as an argument in a shell, with a space before it; nothing for the one we are in.
pub(super) fn argument(directory: &Path) -> String {
    let text = directory.display().to_string();
    let is_plain = |character: char| character.is_alphanumeric() || "/._-~+@%".contains(character);
    match text.as_str() {
        "." => String::new(),
        _ if text.chars().all(is_plain) => format!(" {text}"),
        _ => format!(" '{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trunkline_config::{Diagnostics, Style};
    use trunkline_gateway::{Adapters, Overrides, Plan, Project};

    use super::*;

    /// The plan of a project of these files, which has not a single warning.
    fn plan(files: &[(&str, &str)]) -> Plan {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        let diagnostics = Diagnostics::new();
        let plan = Project::new(directory.path(), Overrides::default(), Adapters::default()).plan(&diagnostics);
        assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
        let mut plan = plan.unwrap();
        plan.journal.directory = plan.journal.directory.strip_prefix(directory.path()).unwrap().to_owned();
        plan
    }

    /// `text` with all keys in force: a `#` right before a word hides a key, one before a space begins a remark.
    fn uncommented(text: &str) -> String {
        let line = |line: &str| match line.split_once('#') {
            Some((indent, key)) if indent.trim().is_empty() && !key.starts_with(' ') && !key.is_empty() => {
                format!("{indent}{key}\n")
            }
            _ => format!("{line}\n"),
        };
        text.lines().map(line).collect()
    }

    /// The examples in the remarks: lines that are indented by more than a space.
    fn examples(text: &str) -> Vec<String> {
        let mut examples = vec![String::new()];
        for line in text.lines() {
            let remark = line.trim_start().strip_prefix("#     ");
            match (remark, examples.last_mut()) {
                (Some(code), Some(example)) => example.extend([code, "\n"]),
                _ => examples.push(String::new()),
            }
        }
        examples.retain(|example| !example.is_empty());
        examples
    }

    fn file(wanted: &str) -> &'static str {
        FILES.iter().find(|(name, _)| *name == wanted).unwrap().1
    }

    #[test]
    fn the_files_as_they_are_mean_the_defaults_and_a_file_broker() {
        let (plan, default) = (plan(&FILES), plan(&[]));
        let (broker, channel) = (&plan.brokers[0], &plan.channels[0]);
        assert_eq!((broker.subscription.name.as_str(), broker.kind, channel.name()), ("file", "file", "rest"));
        assert_eq!((plan.brokers.len(), plan.channels.len()), (1, 1));
        assert_eq!(format!("{:?}", (&plan.server, &plan.api)), format!("{:?}", (&default.server, &default.api)));
    }

    #[test]
    fn the_values_in_the_comments_are_the_defaults() {
        let all: Vec<_> = FILES.iter().map(|(name, text)| (*name, uncommented(text))).collect();
        let all: Vec<_> = all.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let (mut plan, mut default) = (plan(&all), plan(&[]));
        assert!(plan.journal.options.retention.max_age.take().is_some() && plan.api.token.is_some() && plan.api.jwt.is_some());
        assert_eq!((plan.api.enabled, plan.api.cors.len()), (false, 1));
        for journal in [&mut plan.journal, &mut default.journal] {
            // It shows the time of day.
            journal.options.clock = trunkline_core::Clock::from_fn(std::time::Duration::default);
        }
        let shown = |plan: &Plan| format!("{:?}", (&plan.server, &plan.journal, &plan.assistant, plan.session_expiration));
        assert_eq!(shown(&plan), shown(&default));
    }

    #[test]
    fn every_key_of_the_settings_is_in_the_file() {
        let settings = include_str!("../../../trunkline-gateway/src/config/settings.rs").split("mod tests").next().unwrap();
        let mut pieces = settings.split('"');
        let mut keys = BTreeSet::new();
        while let (Some(before), Some(text)) = (pieces.next(), pieces.next()) {
            let reads = ["string", "port", "bytes", "duration", "integer", "boolean", "secret", "strings"];
            if reads.iter().any(|name| before.ends_with(&format!("{name}("))) {
                keys.insert(text);
            }
        }
        assert!(keys.len() > 15, "{keys:?}");
        let missing: Vec<_> = keys.iter().filter(|key| !file("trunkline.yml").contains(&format!("#{key}: "))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_examples_are_right() {
        let brokers: Vec<_> =
            examples(file("endpoints.yml")).iter().map(|text| plan(&[("endpoints.yml", text)]).brokers.len()).collect();
        assert_eq!(brokers, [1, 2]);
        let kinds = examples(file("trunkline.yml")).into_iter().map(|example| {
            let text = format!("assistant:\n  {}", example.replace('\n', "\n  "));
            plan(&[("trunkline.yml", &text)]).assistant.kind
        });
        assert_eq!(kinds.collect::<Vec<_>>(), ["rasa", "rasa", "http"]);
    }

    #[test]
    fn a_directory_is_quoted_where_a_shell_needs_it() {
        for (directory, expected) in
            [(".", ""), ("pizzeria", " pizzeria"), ("my pizzeria", " 'my pizzeria'"), ("it's", r" 'it'\''s'")]
        {
            assert_eq!(argument(Path::new(directory)), expected);
        }
    }
}
