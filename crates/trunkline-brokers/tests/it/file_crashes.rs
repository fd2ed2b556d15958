//! What is left on the disk by a crash, made by hand: a cursor that is older than the file, and a file that is cut.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use trunkline_brokers::FileBroker;
use trunkline_brokers::file::{Options, Rotation};
use trunkline_core::{Broker, CursorKey, Event};

use crate::common::{batch, deliver, event, everything, journal, key, lines, replay, rest, rotated, runtime};

struct Disk {
    directory: TempDir,
    key: CursorKey,
}

impl Disk {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), key: key() }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("rasa_event.log")
    }

    fn cursor(&self) -> PathBuf {
        self.directory.path().join("rasa_event.log.cursor")
    }

    fn written(&self) -> Vec<u8> {
        fs::read(self.log()).unwrap()
    }

    fn broker(&self, rotate: Option<Rotation>) -> FileBroker {
        FileBroker::with_options(self.log(), Options { rotate, ..Options::default() })
    }

    /// Writes batches, and leaves the cursor as it was behind the first of them.
    async fn write_behind_the_cursor(&self, batches: &[&[Arc<Event>]]) {
        let broker = FileBroker::new(self.log());
        let mut behind_the_first = None;
        for events in batches {
            deliver(&broker, &batch(events, &self.key)).await;
            behind_the_first.get_or_insert_with(|| fs::read(self.cursor()).unwrap());
        }
        drop(broker);
        put(&self.cursor(), &behind_the_first.unwrap());
    }
}

/// Writes over what is there, as the same file.
fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[tokio::test]
async fn lines_behind_an_old_cursor_are_not_written_again() {
    let (disk, journal) = (Disk::new(), journal(8));
    disk.write_behind_the_cursor(&[&journal[..2], &journal[2..4], &journal[4..6]]).await;

    // Batches need not be cut as they were before.
    let broker = FileBroker::new(disk.log());
    let rest = rest(&broker, &journal, &disk.key).await;
    assert_eq!(rest.len(), 6);
    for events in rest.chunks(3) {
        deliver(&broker, &batch(events, &disk.key)).await;
    }
    assert_eq!(disk.written(), lines(&journal));
}

#[tokio::test]
async fn a_last_line_torn_at_any_byte_is_completed() {
    let journal = journal(4);
    let (before, after) = (lines(&journal[..1]).len() as u64, lines(&journal[..3]).len() as u64);
    for length in before..=after {
        let disk = Disk::new();
        disk.write_behind_the_cursor(&[&journal[..1], &journal[1..3]]).await;
        cut(&disk.log(), length);

        let broker = FileBroker::new(disk.log());
        deliver(&broker, &batch(rest(&broker, &journal, &disk.key).await, &disk.key)).await;
        assert_eq!(disk.written(), lines(&journal), "torn at {length}");
    }
}

#[tokio::test]
async fn strange_bytes_behind_the_cursor_are_kept_and_everything_missing_is_appended() {
    let (disk, journal) = (Disk::new(), journal(6));
    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(&journal[..2], &disk.key)).await;
    drop(broker);
    let strange = b"{\"event\": \"somebody else's\"}\n{\"torn";
    put(&disk.log(), &[lines(&journal[..2]).as_slice(), strange].concat());

    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(rest(&broker, &journal, &disk.key).await, &disk.key)).await;
    let expected = [lines(&journal[..2]).as_slice(), strange, b"\n", &lines(&journal[2..])].concat();
    assert_eq!(disk.written(), expected);

    // And the cursor covers all of it.
    drop(broker);
    let broker = FileBroker::new(disk.log());
    assert_eq!(broker.position(&disk.key).await, Ok(Some(journal[5].offset + 1)));
}

#[tokio::test]
async fn lines_of_ours_in_front_of_strange_bytes_are_not_repeated() {
    let (disk, journal) = (Disk::new(), journal(6));
    disk.write_behind_the_cursor(&[&journal[..2], &journal[2..4]]).await;
    let strange = b"# a note\n";
    put(&disk.log(), &[lines(&journal[..4]).as_slice(), strange].concat());

    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(rest(&broker, &journal, &disk.key).await, &disk.key)).await;
    assert_eq!(disk.written(), [lines(&journal[..4]).as_slice(), strange, &lines(&journal[4..])].concat());
}

#[tokio::test]
async fn a_file_shorter_than_its_cursor_says_is_appended_to() {
    let (disk, journal) = (Disk::new(), journal(4));
    deliver(&FileBroker::new(disk.log()), &batch(&journal[..2], &disk.key)).await;
    cut(&disk.log(), lines(&journal[..1]).len() as u64);
    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(rest(&broker, &journal, &disk.key).await, &disk.key)).await;
    assert_eq!(disk.written(), [lines(&journal[..1]), lines(&journal[2..])].concat());
}

#[tokio::test]
async fn a_damaged_cursor_is_not_believed() {
    let (disk, journal) = (Disk::new(), journal(4));
    deliver(&FileBroker::new(disk.log()), &batch(&journal[..2], &disk.key)).await;
    let mut cursor = fs::read(disk.cursor()).unwrap();
    cursor[70] ^= 1;
    put(&disk.cursor(), &cursor);
    let broker = FileBroker::new(disk.log());
    assert_eq!(broker.position(&disk.key).await, Ok(None));
    deliver(&broker, &batch(&journal[2..], &disk.key)).await;
    assert_eq!(disk.written(), lines(&journal));
}

#[tokio::test]
async fn a_replay_before_the_end_is_understood_is_written_and_nothing_is_lost() {
    let (disk, journal) = (Disk::new(), journal(4));
    disk.write_behind_the_cursor(&[&journal[..1], &journal[1..3]]).await;
    cut(&disk.log(), lines(&journal[..3]).len() as u64 - 5);

    let broker = FileBroker::new(disk.log());
    let rest = rest(&broker, &journal, &disk.key).await;
    let again = [event(1, "again", "a replay")];
    deliver(&broker, &replay(&again, &disk.key)).await;
    deliver(&broker, &batch(rest, &disk.key)).await;
    let mut torn = lines(&journal[..3]);
    torn.truncate(torn.len() - 5);
    assert_eq!(disk.written(), [torn.as_slice(), b"\n", &lines(&again), &lines(&journal[2..])].concat());
}

#[tokio::test]
async fn a_last_line_that_lacked_nothing_but_its_end_is_not_repeated_behind_a_replay() {
    let (disk, journal) = (Disk::new(), journal(4));
    disk.write_behind_the_cursor(&[&journal[..1], &journal[1..3]]).await;
    cut(&disk.log(), lines(&journal[..3]).len() as u64 - 1);

    let broker = FileBroker::new(disk.log());
    let rest = rest(&broker, &journal, &disk.key).await;
    let again = [event(1, "again", "a replay")];
    deliver(&broker, &replay(&again, &disk.key)).await;
    deliver(&broker, &batch(rest, &disk.key)).await;
    assert_eq!(disk.written(), [lines(&journal[..3]), lines(&again), lines(&journal[3..])].concat());
}

/// One stretch of life: what ends well, and then perhaps a crash.
#[derive(Clone, Debug)]
struct Life {
    acts: Vec<Act>,
    crash: Option<Crash>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    /// So many of the events that come next are published.
    Publish(usize),
    Replay,
}

/// How many cursors back the disk is, what was under way, and how much of that reached the disk, in 256ths.
#[derive(Clone, Copy, Debug)]
struct Crash {
    back: usize,
    under_way: Act,
    part: u8,
}

fn any_life() -> impl Strategy<Value = Life> {
    let act = || prop_oneof![4 => (1..5_usize).prop_map(Act::Publish), 1 => Just(Act::Replay)];
    let crash = (0..4_usize, act(), any::<u8>()).prop_map(|(back, under_way, part)| Crash { back, under_way, part });
    (prop::collection::vec(act(), 0..4), prop::option::of(crash)).prop_map(|(acts, crash)| Life { acts, crash })
}

/// The journal being published, on a disk that crashes.
struct World {
    disk: Disk,
    /// It is no JSON, and so told from the events.
    replayed: [Arc<Event>; 1],
    /// The cursors that may be found after a crash, the newest last.
    cursors: Vec<Vec<u8>>,
    /// Whether the cursor may not be on the disk yet that accounts for a replay.
    is_behind_replay: bool,
    /// Whether the end of the file is a replay of which no cursor says anything. The next event that is written brings one that
    /// does, on the disk before the event.
    is_unaccounted: bool,
    rotated: usize,
}

impl World {
    fn new() -> Self {
        let replayed = Event { body: "# a replay, and not a short one".into(), ..Event::clone(&event(1, "u", "x")) };
        Self {
            disk: Disk::new(),
            replayed: [replayed.into()],
            cursors: Vec::new(),
            is_behind_replay: false,
            is_unaccounted: false,
            rotated: 0,
        }
    }

    /// Does it, and answers what is left of `rest`.
    async fn act<'a>(&mut self, broker: &FileBroker, act: Act, rest: &'a [Arc<Event>]) -> &'a [Arc<Event>] {
        let (events, others) = match act {
            Act::Publish(size) => rest.split_at(size.min(rest.len())),
            Act::Replay => (&[][..], rest),
        };
        if let Act::Replay = act {
            let before = self.cursor();
            deliver(broker, &replay(&self.replayed, &self.disk.key)).await;
            self.is_behind_replay = true;
            self.is_unaccounted |= !before.is_empty() && before == self.cursor();
        } else if !events.is_empty() {
            self.put_cursor_on_disk();
            let before = self.disk.written();
            deliver(broker, &batch(events, &self.disk.key)).await;
            // What was there already brings no cursor.
            if self.is_unaccounted && self.disk.written() != before {
                self.is_unaccounted = false;
                self.cursors.clear();
            }
        }
        others
    }

    /// As it is before anything is written behind a replay, and at every start.
    fn put_cursor_on_disk(&mut self) {
        if std::mem::take(&mut self.is_behind_replay) {
            self.cursors = self.cursors.pop().into_iter().collect();
        }
    }

    /// Remembers the cursor; the one before a rotation is on the disk before that.
    fn look(&mut self) {
        if self.has_rotated() {
            self.cursors.clear();
        }
        // There is none before the first event.
        self.cursors.extend(Some(self.cursor()).filter(|cursor| !cursor.is_empty()));
    }

    fn cursor(&self) -> Vec<u8> {
        fs::read(self.disk.cursor()).unwrap()
    }

    fn has_rotated(&mut self) -> bool {
        let before = std::mem::replace(&mut self.rotated, rotated(&self.disk.log()).len());
        before < self.rotated
    }

    async fn crash(&mut self, broker: FileBroker, crash: Crash, rest: &[Arc<Event>]) {
        let (safe, is_unaccounted) = (self.disk.written().len(), self.is_unaccounted);
        self.act(&broker, crash.under_way, rest).await;
        drop(broker);
        if self.has_rotated() || is_unaccounted {
            // Where it can be cut short then, the tests of the log itself look for.
            self.cursors.clear();
            self.look();
            return;
        }
        self.is_unaccounted |= matches!(crash.under_way, Act::Replay);
        let added = self.disk.written().len() - safe;
        cut(&self.disk.log(), (safe + added * usize::from(crash.part) / 256) as u64);
        self.cursors.truncate(self.cursors.len().saturating_sub(crash.back).max(1));
        put(&self.disk.cursor(), self.cursors.last().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn each_event_stands_in_the_files_once_whatever_a_crash_leaves(
        lives in prop::collection::vec(any_life(), 1..6),
        size in prop::option::of(1..2000_u64),
    ) {
        let rotate = size.map(|size| Rotation { size: Some(size), ..Rotation::default() });
        let (mut world, journal) = (World::new(), journal(64));
        let is_replay = |act: &Act| matches!(act, Act::Replay);
        let under_way = |life: &Life| life.crash.map(|crash| crash.under_way);
        let has_replays = lives.iter().any(|life| life.acts.iter().any(is_replay) || under_way(life).as_ref().is_some_and(is_replay));
        runtime().block_on(async {
            for life in lives {
                let broker = world.disk.broker(rotate.clone());
                let mut rest = rest(&broker, &journal, &world.disk.key).await;
                world.put_cursor_on_disk();
                for act in life.acts {
                    rest = world.act(&broker, act, rest).await;
                    world.look();
                }
                if let Some(crash) = life.crash.filter(|_| !world.cursors.is_empty()) {
                    world.crash(broker, crash, rest).await;
                }
            }
            let broker = world.disk.broker(rotate);
            let rest = rest(&broker, &journal, &world.disk.key).await;
            if !rest.is_empty() {
                deliver(&broker, &batch(rest, &world.disk.key)).await;
            }
        });
        let mut written = everything(&world.disk.log());
        if has_replays {
            // A replay is none of these, and leaves a torn line in front of it as it is.
            let is_event = |line: &&[u8]| serde_json::from_slice::<serde_json::Value>(line).is_ok();
            written = written.split_inclusive(|&byte| byte == b'\n').filter(is_event).flatten().copied().collect();
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        prop_assert_eq!(text(written), text(lines(&journal)));
    }
}
