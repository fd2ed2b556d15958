//! What is left on the disk by a crash, made by hand: a cursor that is older than the file, and a file that is cut.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use trunkline_brokers::FileBroker;
use trunkline_brokers::file::{Options, Rotation};
use trunkline_core::{Broker, CursorKey};

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
    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(&journal[..2], &disk.key)).await;
    let old = fs::read(disk.cursor()).unwrap();
    deliver(&broker, &batch(&journal[2..4], &disk.key)).await;
    deliver(&broker, &batch(&journal[4..6], &disk.key)).await;
    drop(broker);
    put(&disk.cursor(), &old);

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
        let broker = FileBroker::new(disk.log());
        deliver(&broker, &batch(&journal[..1], &disk.key)).await;
        let old = fs::read(disk.cursor()).unwrap();
        deliver(&broker, &batch(&journal[1..3], &disk.key)).await;
        drop(broker);
        put(&disk.cursor(), &old);
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
    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(&journal[..2], &disk.key)).await;
    let old = fs::read(disk.cursor()).unwrap();
    deliver(&broker, &batch(&journal[2..4], &disk.key)).await;
    drop(broker);
    put(&disk.cursor(), &old);
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
    let broker = FileBroker::new(disk.log());
    deliver(&broker, &batch(&journal[..1], &disk.key)).await;
    let old = fs::read(disk.cursor()).unwrap();
    deliver(&broker, &batch(&journal[1..3], &disk.key)).await;
    drop(broker);
    put(&disk.cursor(), &old);
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

/// One stretch of life: batches that end well, and then perhaps a crash.
#[derive(Clone, Debug)]
struct Life {
    batches: Vec<usize>,
    /// How many cursors back the disk is, and how much of the batch under way reached it, in 256ths.
    crash: Option<(usize, u8)>,
}

fn any_life() -> impl Strategy<Value = Life> {
    let crash = prop::option::of((0..4_usize, any::<u8>()));
    (prop::collection::vec(1..5_usize, 0..4), crash).prop_map(|(batches, crash)| Life { batches, crash })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_event_stands_in_the_files_once_whatever_a_crash_leaves(
        lives in prop::collection::vec(any_life(), 1..6),
        size in prop::option::of(1..2000_u64),
    ) {
        let rotate = size.map(|size| Rotation { size: Some(size), ..Rotation::default() });
        let (disk, journal) = (Disk::new(), journal(64));
        runtime().block_on(async {
            // Those that may be found after a crash: the cursor is on the disk before the file is rotated.
            let mut cursors: Vec<Vec<u8>> = Vec::new();
            for life in lives {
                let broker = disk.broker(rotate.clone());
                let mut rest = rest(&broker, &journal, &disk.key).await;
                let mut files = rotated(&disk.log()).len();
                for size in life.batches {
                    let (events, others) = rest.split_at(size.min(rest.len()));
                    if events.is_empty() {
                        break;
                    }
                    deliver(&broker, &batch(events, &disk.key)).await;
                    rest = others;
                    if rotated(&disk.log()).len() > files {
                        files = rotated(&disk.log()).len();
                        cursors.clear();
                    }
                    cursors.push(fs::read(disk.cursor()).unwrap());
                }
                // The batch in which it crashes: of what it adds to the file, any part is left.
                let Some((back, part)) = life.crash else { continue };
                if !rest.is_empty() && !cursors.is_empty() {
                    let safe = disk.written().len();
                    deliver(&broker, &batch(&rest[..2.min(rest.len())], &disk.key)).await;
                    drop(broker);
                    if rotated(&disk.log()).len() > files {
                        // Where it can be cut short then, the tests of the log itself look for.
                        cursors = vec![fs::read(disk.cursor()).unwrap()];
                        continue;
                    }
                    let added = disk.written().len() - safe;
                    cut(&disk.log(), (safe + added * usize::from(part) / 256) as u64);
                    cursors.truncate(cursors.len().saturating_sub(back).max(1));
                    put(&disk.cursor(), cursors.last().unwrap());
                }
            }
            let broker = disk.broker(rotate);
            let rest = rest(&broker, &journal, &disk.key).await;
            if !rest.is_empty() {
                deliver(&broker, &batch(rest, &disk.key)).await;
            }
        });
        prop_assert_eq!(everything(&disk.log()), lines(&journal));
    }
}
