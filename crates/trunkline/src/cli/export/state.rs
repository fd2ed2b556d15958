//! What an export has done, on disk, so that it can go on after anything.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use trunkline_core::Offset;
use trunkline_gateway::there_is_no;

/// The layout of the file.
const VERSION: u32 = 1;

/// An export: what was asked for, and how far it has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ExportState {
    version: u32,
    /// 32 hexadecimal digits.
    pub(super) id: String,
    /// The name of the broker.
    pub(super) broker: String,
    pub(super) origin: Origin,
    /// Which journal or tracker store it is.
    pub(super) place: String,
    pub(super) selection: Selection,
    /// What is appended at this offset of the journal or behind it came after the export had begun. Absent for a tracker store.
    pub(super) end: Option<Offset>,
    /// Everything before is dealt with.
    pub(super) position: Position,
    /// What is confirmed at the position or behind it.
    pub(super) ahead: BTreeSet<Offset>,
    /// How many events are confirmed.
    pub(super) events: u64,
    /// How many events the broker refused for good.
    pub(super) rejected: u64,
    /// How many records could not be read.
    pub(super) unreadable: u64,
    /// How often in a row the broker took nothing of what it was given.
    pub(super) failures: u32,
    /// How many conversations are selected; `None` means all.
    listed: Option<usize>,
}

/// Where the events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    Journal,
    TrackerStore,
}

/// Which events are exported, and how they are changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Selection {
    /// Only these conversations; `None` means all. They have a file of their own, because they may be many, and never change.
    #[serde(skip)]
    pub(super) conversations: Option<Vec<String>>,
    /// Only events of this time or later.
    pub(super) minimum: Option<Seconds>,
    /// Only events before this time.
    pub(super) maximum: Option<Seconds>,
    /// Added to the timestamps that are published, in seconds.
    pub(super) offset: i64,
}

/// A place among all events that could be exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The conversation that is next; `None` while they are not read one after another.
    pub(super) conversation: Option<String>,
    /// The next offset of the journal, or how many events of the conversation are dealt with.
    pub(super) next: u64,
}

/// Unix seconds, finite. Written as text, because a number in JSON may lose its last digit.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Seconds(pub(crate) f64);

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = text.parse().ok().filter(|seconds: &f64| seconds.is_finite());
        seconds.map(Self).ok_or_else(|| "expected a number of Unix seconds, such as 1795248186.25".to_owned())
    }
}

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Seconds> for String {
    fn from(seconds: Seconds) -> Self {
        seconds.0.to_string()
    }
}

impl Selection {
    /// Whether an event of this time is wanted.
    pub(super) fn wants_time(&self, time: f64) -> bool {
        self.minimum.is_none_or(|minimum| time >= minimum.0) && self.maximum.is_none_or(|maximum| time < maximum.0)
    }
}

impl ExportState {
    /// An export that is about to begin.
    pub(super) fn new(broker: &str, origin: Origin, place: String, selection: Selection) -> Self {
        Self {
            version: VERSION,
            id: uuid::Uuid::new_v4().simple().to_string(),
            broker: broker.to_owned(),
            origin,
            place,
            selection,
            end: None,
            position: Position::default(),
            ahead: BTreeSet::new(),
            events: 0,
            rejected: 0,
            unreadable: 0,
            failures: 0,
            listed: None,
        }
    }
}

/// The files of the exports that are not finished, beside the journal: `exports/<id>.json`, and `exports/<id>.conversations` where
/// conversations are selected.
#[derive(Clone, Debug)]
pub(super) struct States {
    directory: PathBuf,
}

impl States {
    pub(super) fn new(journal: &Path) -> Self {
        Self { directory: journal.join("exports") }
    }

    /// The state of the export `id`.
    pub(super) fn load(&self, id: &str) -> Result<ExportState, String> {
        let path = self.path(id);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let what = format!("unfinished export {id} in {}", self.directory.display());
                return Err(there_is_no(&what, self.ids()));
            }
            text => text.map_err(|error| at(&path, error))?,
        };
        let mut state: ExportState = serde_json::from_slice(&text).map_err(|error| at(&path, error))?;
        if state.version != VERSION || state.id != id {
            return Err(format!("{} is not of this version of Trunkline, or of another export", path.display()));
        }
        if let Some(count) = state.listed {
            let path = self.list(id);
            let text = fs::read(&path).map_err(|error| at(&path, error))?;
            let conversations: Vec<String> = serde_json::from_slice(&text).map_err(|error| at(&path, error))?;
            if conversations.len() != count {
                return Err(format!("{} has {} conversations, and not {count}", path.display(), conversations.len()));
            }
            state.selection.conversations = Some(conversations);
        }
        Ok(state)
    }

    /// Writes the state of an export that begins, as [`save`](Self::save) does.
    pub(super) fn begin(&self, state: &mut ExportState) -> Result<(), String> {
        if let Some(conversations) = &state.selection.conversations {
            state.listed = Some(conversations.len());
            self.write(&self.list(&state.id), conversations)?;
        }
        self.save(state)
    }

    /// Writes the state, synced to disk: there is always either the former one or this one.
    pub(super) fn save(&self, state: &ExportState) -> Result<(), String> {
        self.write(&self.path(&state.id), state)
    }

    fn write(&self, path: &Path, content: &impl Serialize) -> Result<(), String> {
        let write = || -> io::Result<()> {
            fs::create_dir_all(&self.directory)?;
            let next = path.with_added_extension("next");
            let mut file = File::create(&next)?;
            file.write_all(&serde_json::to_vec(content)?)?;
            file.sync_all()?;
            fs::rename(&next, path)?;
            File::open(&self.directory)?.sync_all()
        };
        write().map_err(|error| format!("how far it has come cannot be stored: {}", at(path, error)))
    }

    /// Removes the state of an export that is finished.
    pub(super) fn remove(&self, id: &str) {
        // One that stays is an export that has nothing left to do.
        let _ = fs::remove_file(self.path(id));
        let _ = fs::remove_file(self.list(id));
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn list(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.conversations"))
    }

    fn ids(&self) -> Vec<String> {
        let names = fs::read_dir(&self.directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut ids: Vec<_> = names.filter_map(|name| Some(name.to_str()?.strip_suffix(".json")?.to_owned())).collect();
        ids.sort_unstable();
        ids
    }
}

fn at(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let states = States::new(directory.path());
        let seconds = |text: &str| Some(text.parse().expect("seconds"));
        let selection = Selection {
            conversations: Some(vec!["ann".to_owned(), " b\"".to_owned()]),
            minimum: seconds("1795248186.2937574"),
            maximum: seconds("-0.1"),
            offset: -5,
        };
        let mut state = ExportState::new("kitchen", Origin::TrackerStore, "a place".to_owned(), selection);
        state.position = Position { conversation: Some("ann".to_owned()), next: 7 };
        state.ahead = [9, 12].into();
        states.begin(&mut state).expect("a write");
        state.events = 3;
        states.save(&state).expect("another write");
        assert_eq!(states.load(&state.id), Ok(state.clone()));
        let error = states.load("0").expect_err("no such export");
        assert!(error.contains(&state.id), "{error}");
        // Without its list an export of two conversations would become one of all.
        let list = directory.path().join("exports").join(format!("{}.conversations", state.id));
        let text = fs::read(&list).expect("a list");
        fs::write(&list, "[]").expect("a write");
        assert!(states.load(&state.id).expect_err("another list").ends_with("has 0 conversations, and not 2"));
        fs::remove_file(&list).expect("it is there");
        assert!(states.load(&state.id).expect_err("no list").contains(".conversations: "));
        fs::write(&list, text).expect("a write");
        states.remove(&state.id);
        assert!(states.load(&state.id).expect_err("gone").ends_with("there are: none"));
        assert_eq!(fs::read_dir(directory.path().join("exports")).expect("a directory").count(), 0);
    }

    #[test]
    fn times_are_finite_numbers_and_the_end_is_not_included() {
        for text in ["", "now", "nan", "inf"] {
            assert!(text.parse::<Seconds>().is_err(), "{text}");
        }
        let selection = Selection { minimum: Some(Seconds(1.0)), maximum: Some(Seconds(2.0)), ..Selection::default() };
        assert_eq!([0.9, 1.0, 1.9, 2.0].map(|time| selection.wants_time(time)), [false, true, true, false]);
    }
}
