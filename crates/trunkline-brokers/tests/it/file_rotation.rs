//! Files that are rotated by the broker itself.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use trunkline_brokers::FileBroker;
use trunkline_brokers::file::{Fsync, Options, Rotation};
use trunkline_core::{Broker, Event};

use crate::common::{batch, deliver, event, everything, journal, key, lines, read, replay, rest, rotated, until};
use crate::settings::said;

fn by_size(size: u64) -> Rotation {
    Rotation { size: Some(size), ..Rotation::default() }
}

/// With a period of so many years that none begins while the tests run.
fn by_period() -> Rotation {
    Rotation { every: Some(Duration::from_hours(10_000 * 24)), ..Rotation::default() }
}

fn broker(path: &Path, rotation: Rotation) -> FileBroker {
    FileBroker::with_options(path, Options { rotate: Some(rotation), ..Options::default() })
}

/// Says that a file was written in the period before.
fn age(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_modified(UNIX_EPOCH).unwrap();
}

/// Events whose lines are about 1000 bytes long.
fn long_journal(count: u64) -> Vec<Arc<Event>> {
    (1..=count).map(|offset| event(offset, "u", &"x".repeat(937))).collect()
}

#[tokio::test]
async fn no_file_grows_beyond_the_size_and_all_of_them_together_are_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (broker(&path, by_size(5000)), key(), long_journal(50));
    for events in journal.chunks(3) {
        deliver(&broker, &batch(events, &key)).await;
    }
    assert_eq!(everything(&path), lines(&journal));
    let files = rotated(&path);
    assert_eq!(files.len(), 16);
    for file in files.iter().chain([&path]) {
        assert!(fs::metadata(file).unwrap().len() <= 5000 && read(file).ends_with(b"\n"));
    }
}

#[tokio::test]
async fn a_batch_that_is_larger_has_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (broker(&path, by_size(1)), key(), long_journal(9));
    for events in journal.chunks(3) {
        deliver(&broker, &batch(events, &key)).await;
    }
    let files: Vec<Vec<u8>> = rotated(&path).iter().chain([&path]).map(|file| read(file)).collect();
    assert_eq!(files, journal.chunks(3).map(lines).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_new_period_begins_a_new_file_with_its_first_event_and_also_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (first, key, journal) = (broker(&path, by_period()), key(), journal(8));
    deliver(&first, &batch(&journal[..1], &key)).await;
    deliver(&first, &batch(&journal[1..2], &key)).await;
    assert!(rotated(&path).is_empty());
    age(&path);
    deliver(&first, &batch(&journal[2..3], &key)).await;
    deliver(&first, &batch(&journal[3..4], &key)).await;
    drop(first);
    age(&path);
    let second = broker(&path, by_period());
    deliver(&second, &batch(rest(&second, &journal, &key).await, &key)).await;
    let files: Vec<Vec<u8>> = rotated(&path).iter().chain([&path]).map(|file| read(file)).collect();
    assert_eq!(files, [&journal[..2], &journal[2..4], &journal[4..]].map(lines));
}

#[tokio::test]
async fn the_oldest_beyond_the_number_to_keep_are_removed_and_nothing_else_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let theirs = ["log.1", "log.old.gz", "log.20200101T000000Z", "log2.20200101T000000.000Z", "log.20200101T000000.000Z.bz2"];
    for name in theirs {
        fs::write(directory.path().join(name), "theirs").unwrap();
    }
    // Ours, and from earlier.
    fs::write(directory.path().join("log.20200101T000000.000Z"), "").unwrap();
    fs::write(directory.path().join("log.20200102T000000.000Z.gz"), "").unwrap();
    let (broker, key, journal) = (broker(&path, Rotation { keep: Some(2), ..by_size(1) }), key(), journal(6));
    for events in journal.chunks(1) {
        deliver(&broker, &batch(events, &key)).await;
    }
    let ours = || rotated(&path).into_iter().filter(|file| !theirs.iter().any(|name| file.ends_with(name))).collect::<Vec<_>>();
    until(|| ours().len() == 2).await;
    let left: Vec<u8> = ours().iter().chain([&path]).flat_map(|file| read(file)).collect();
    assert_eq!(left, lines(&journal[3..]));
    assert!(theirs.iter().all(|name| fs::read(directory.path().join(name)).unwrap() == b"theirs"));
}

#[tokio::test]
async fn rotated_files_are_compressed_behind_the_back_with_the_same_permissions() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (broker(&path, Rotation { compress: true, ..by_size(5000) }), key(), long_journal(30));
    deliver(&broker, &batch(&journal[..3], &key)).await;
    // More than the process gives to new files, and less.
    for (mode, events) in [(0o666, &journal[3..15]), (0o600, &journal[15..])] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let before = rotated(&path).len();
        for events in events.chunks(3) {
            deliver(&broker, &batch(events, &key)).await;
        }
        until(|| rotated(&path).iter().all(|file| file.extension().is_some_and(|extension| extension == "gz"))).await;
        for file in rotated(&path)[before..].iter().chain([&path]) {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, mode, "{}", file.display());
            assert!(file == &path || fs::metadata(file).unwrap().len() < 1000);
        }
    }
    assert_eq!(everything(&path), lines(&journal));
}

#[tokio::test]
async fn what_a_crash_left_uncompressed_is_compressed_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let left = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    // Cut short while it was written, before the original was removed, and before anything was done.
    left("log.20200101T000000.000Z", b"first\n");
    left("log.20200101T000000.000Z.gz.tmp", b"torn");
    left("log.20200102T000000.000Z", b"second\n");
    left("log.20200102T000000.000Z.gz", b"whatever it was");
    left("log.20200103T000000.000Z", b"third\n");
    let (broker, key, journal) = (broker(&path, Rotation { compress: true, ..by_size(1 << 20) }), key(), journal(2));
    deliver(&broker, &batch(&journal, &key)).await;
    until(|| fs::read_dir(directory.path()).unwrap().count() == 5).await;
    assert!(rotated(&path).iter().all(|file| file.extension().unwrap() == "gz"));
    assert_eq!(everything(&path), [b"first\nsecond\nthird\n", lines(&journal).as_slice()].concat());
}

#[tokio::test]
async fn a_file_that_somebody_else_holds_is_left_to_them() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let held = directory.path().join("log.20200101T000000.000Z");
    fs::write(&held, "held\n").unwrap();
    let lock = File::open(&held).unwrap();
    lock.lock().unwrap();
    let (broker, key, journal) = (broker(&path, Rotation { compress: true, ..by_size(1) }), key(), journal(3));
    deliver(&broker, &batch(&journal[..1], &key)).await;
    deliver(&broker, &batch(&journal[1..2], &key)).await;
    until(|| rotated(&path)[1].extension().unwrap() == "gz").await;
    assert!(held.exists());
    drop(lock);
    deliver(&broker, &batch(&journal[2..], &key)).await;
    until(|| !held.exists()).await;
    until(|| rotated(&path).iter().all(|file| file.extension().unwrap() == "gz")).await;
    assert_eq!(everything(&path), [b"held\n", lines(&journal).as_slice()].concat());
}

#[tokio::test]
async fn others_may_rotate_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (broker(&path, by_size(2500)), key(), long_journal(10));
    deliver(&broker, &batch(&journal[..1], &key)).await;
    fs::rename(&path, directory.path().join("log.1")).unwrap();
    for events in journal[1..].chunks(1) {
        deliver(&broker, &batch(events, &key)).await;
    }
    assert_eq!(read(&directory.path().join("log.1")), lines(&journal[..1]));
    assert_eq!(everything(&path), lines(&journal[1..]));
    assert_eq!(rotated(&path).len(), 4);
}

#[tokio::test]
async fn a_symbolic_link_goes_on_leading_to_the_newest() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (link, real) = (directory.path().join("log"), elsewhere.path().join("real"));
    symlink(&real, &link).unwrap();
    let (broker, key, journal) = (broker(&link, by_size(1)), key(), journal(4));
    for events in journal.chunks(2) {
        deliver(&broker, &batch(events, &key)).await;
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((read(&link), rotated(&real).len()), (lines(&journal[2..]), 1));
    assert_eq!(everything(&real), lines(&journal));
}

#[tokio::test]
async fn a_replay_rotates_as_well_and_leaves_the_cursor_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (first, key, journal) = (broker(&path, by_size(1)), key(), journal(4));
    // The first before there is a cursor at all.
    deliver(&first, &replay(&journal[..1], &key)).await;
    deliver(&first, &replay(&journal[..1], &key)).await;
    deliver(&first, &batch(&journal[..2], &key)).await;
    deliver(&first, &replay(&journal[..1], &key)).await;
    drop(first);
    let second = broker(&path, by_size(1));
    let rest = rest(&second, &journal, &key).await;
    assert_eq!(rest.len(), 2);
    deliver(&second, &batch(rest, &key)).await;
    let again = lines(&journal[..1]);
    assert_eq!(
        everything(&path),
        [&again, &again, &lines(&journal[..2]), &again, &lines(&journal[2..])].map(Vec::as_slice).concat()
    );
    assert_eq!(rotated(&path).len(), 4);
}

#[tokio::test]
async fn where_no_other_name_can_be_given_the_events_wait() {
    let directory = tempfile::tempdir().unwrap();
    // So long that a moment behind it is too long for the file system.
    let path = directory.path().join("l".repeat(240));
    let (broker, key, journal) = (broker(&path, by_size(1)), key(), journal(2));
    deliver(&broker, &batch(&journal[..1], &key)).await;
    let outcomes = broker.publish(&batch(&journal[1..], &key)).await;
    let said = crate::common::reason(&outcomes[0]);
    assert!(said.starts_with("cannot write `") && said.contains("it cannot be rotated: File name too long"), "{said}");
    assert_eq!(broker.is_ready().await.as_ref().unwrap_err(), said);
    assert_eq!(read(&path), lines(&journal[..1]));
}

#[tokio::test]
async fn what_is_no_regular_file_cannot_be_rotated_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    symlink("/dev/null", &path).unwrap();
    let broker = broker(&path, by_size(1));
    let expected = format!("`{}` is no regular file and cannot be rotated; leave out `rotate`", path.display());
    assert_eq!(broker.is_ready().await, Err(expected));
}

#[tokio::test]
async fn without_syncing_the_same_lines_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let options = || Options { rotate: Some(by_size(500)), fsync: Fsync::Never };
    let (key, journal) = (key(), journal(20));
    for _ in 0..3 {
        let broker = FileBroker::with_options(&path, options());
        for events in rest(&broker, &journal, &key).await.chunks(2).take(3) {
            deliver(&broker, &batch(events, &key)).await;
        }
    }
    assert_eq!(everything(&path), lines(&journal[..18]));
}

#[test]
fn options_are_checked() {
    for right in [
        "rotate: {size: 100 MB, every: 1d, keep: 7, compress: gzip}",
        "rotate: {size: 4096}\nfsync: never",
        "rotate: {every: 1m, compress: none}\nfsync: batch",
    ] {
        assert_eq!(said(&format!("type: file\n{right}")), [""; 0], "{right}");
    }
    for (wrong, expected) in [
        ("rotate: {size: 4095}", "error: event_broker.rotate.size: expected a size of at least 4 KiB"),
        ("rotate: {every: 59}", "error: event_broker.rotate.every: expected a duration from 1 minute to 366 days"),
        ("rotate: {every: 367d}", "error: event_broker.rotate.every: expected a duration from 1 minute to 366 days"),
        (
            "rotate: {keep: 3}",
            "error: event_broker.rotate.size: nothing says when to rotate (add `size: 100 MB`, `every: 1d`, or both)",
        ),
        ("rotate: {}", "error: event_broker.rotate.size: nothing says when to rotate"),
        ("rotate: {size: 1 MB, keep: 0}", "error: event_broker.rotate.keep: expected an integer from 1 to 100000"),
        ("rotate: {size: 1 MB, compress: xz}", "error: event_broker.rotate.compress: expected one of none, gzip"),
        ("rotate: {size: 1 MB, copies: 3}", "error: event_broker.rotate.copies: unknown key `copies`"),
        ("rotate: daily", "error: event_broker.rotate: expected a mapping"),
        ("fsync: always", "error: event_broker.fsync: expected one of batch, never"),
    ] {
        let said = said(&format!("type: file\n{wrong}"));
        assert!(said.len() == 1 && said[0].starts_with(expected), "{wrong}: {said:?}");
    }
}
