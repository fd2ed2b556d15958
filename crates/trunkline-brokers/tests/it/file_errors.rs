//! Disks that are full and directories that are gone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use trunkline_brokers::FileBroker;
use trunkline_core::{Broker, CursorKey, Event, JournalId, Outcome};

use crate::common::{batch, deliver, event, journal, key, lines, reason, runtime};

/// Says to [`writes_until_the_limit`] where to write, and so that it is the child.
const CHILD: &str = "TRUNKLINE_TEST_CHILD_DIRECTORY";
const JOURNAL: &str = "0123456789abcdef0123456789abcdef";

fn limited_key() -> CursorKey {
    CursorKey { journal: JournalId::parse(JOURNAL).unwrap(), subscription: "brokers/0".into() }
}

/// 40 events of about 1000 bytes, so that no limit falls on the end of a line.
fn long_journal() -> Vec<std::sync::Arc<Event>> {
    (1..=40).map(|offset| event(offset, "u", &"x".repeat(937))).collect()
}

#[tokio::test]
async fn a_missing_directory_is_an_error_that_names_it_until_it_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("gone");
    let (broker, key, journal) = (FileBroker::new(parent.join("log")), key(), journal(3));
    let expected = format!("the directory `{}` does not exist", parent.display());
    assert!(broker.is_ready().await.unwrap_err().contains(&expected));
    assert!(broker.position(&key).await.unwrap_err().contains(&expected));
    let outcomes = broker.publish(&batch(&journal, &key)).await;
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Retry { reason, .. } if reason.contains(&expected))));
    assert!(!parent.exists());

    fs::create_dir(&parent).unwrap();
    assert_eq!(broker.is_ready().await, Ok(()));
    deliver(&broker, &batch(&journal, &key)).await;
    assert_eq!(fs::read(parent.join("log")).unwrap(), lines(&journal));
}

#[tokio::test]
async fn a_directory_that_vanishes_with_its_file_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let parent = directory.path().join("logs");
    fs::create_dir(&parent).unwrap();
    let (broker, key, journal) = (FileBroker::new(parent.join("log")), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    fs::remove_dir_all(&parent).unwrap();
    let outcomes = broker.publish(&batch(&journal[2..], &key)).await;
    assert!(reason(&outcomes[0]).contains("does not exist"), "{outcomes:?}");
    fs::create_dir(&parent).unwrap();
    deliver(&broker, &batch(&journal[2..], &key)).await;
    assert_eq!(fs::read(parent.join("log")).unwrap(), lines(&journal[2..]));
}

#[tokio::test]
async fn a_directory_in_place_of_the_file_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let broker = FileBroker::new(directory.path());
    let outcomes = broker.publish(&batch(&journal(1), &key())).await;
    assert!(reason(&outcomes[0]).contains(&directory.path().display().to_string()), "{outcomes:?}");
    assert!(broker.is_ready().await.is_err());
}

#[tokio::test]
async fn a_full_device_means_try_again_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    symlink("/dev/full", &path).unwrap();
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(2));
    assert_eq!(broker.is_ready().await, Ok(()));
    let outcomes = broker.publish(&batch(&journal, &key)).await;
    assert_eq!(outcomes.len(), 2);
    for outcome in &outcomes {
        assert!(matches!(outcome, Outcome::Retry { .. }));
        assert!(
            reason(outcome).contains(&path.display().to_string()) && reason(outcome).contains("No space left"),
            "{outcome:?}"
        );
    }
    // An event that is tried again and again must not be given up for this.
    assert_eq!(broker.is_ready().await.as_ref().unwrap_err(), reason(&outcomes[0]));
    fs::remove_file(&path).unwrap();
    deliver(&broker, &batch(&journal, &key)).await;
    assert_eq!(broker.is_ready().await, Ok(()));
}

/// The limit of the kernel on the size of a file stands in for a full disk: a write that crosses it is cut short first and
/// fails then. It can only be set for a whole process, and so for a child.
#[tokio::test]
async fn a_write_that_fails_half_way_is_cut_back_and_done_later() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "file_errors::writes_until_the_limit", "--nocapture"])
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let journal = long_journal();
    let written = fs::read(log(directory.path())).unwrap();
    let count = written.split_inclusive(|&byte| byte == b'\n').count();
    assert!((3..40).contains(&count), "the limit lies inside the journal");
    assert_eq!(written, lines(&journal[..count]));

    let broker = FileBroker::new(log(directory.path()));
    assert_eq!(broker.position(&limited_key()).await, Ok(Some(journal[count].offset)));
    deliver(&broker, &batch(&journal[count..], &limited_key())).await;
    assert_eq!(fs::read(log(directory.path())).unwrap(), lines(&journal));
}

fn log(directory: &Path) -> PathBuf {
    directory.join("log")
}

/// The child of [`a_write_that_fails_half_way_is_cut_back_and_done_later`]; alone it has nothing to do.
#[test]
fn writes_until_the_limit() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let path = log(Path::new(&directory));
    runtime().block_on(async {
        let broker = FileBroker::new(&path);
        for events in long_journal().chunks(3) {
            let batch = batch(events, &limited_key());
            let before = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let outcomes = broker.publish(&batch).await;
            if outcomes[0] != Outcome::Delivered {
                assert!(reason(&outcomes[0]).contains("File too large"), "{outcomes:?}");
                assert_eq!(broker.is_ready().await.as_ref().unwrap_err(), reason(&outcomes[0]));
                assert_eq!(broker.publish(&batch).await, outcomes);
                assert_eq!(fs::metadata(&path).unwrap().len(), before);
                return;
            }
        }
        panic!("no limit was met");
    });
}
