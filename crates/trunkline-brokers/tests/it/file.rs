//! The file broker while nothing goes wrong, and while others rotate, cut and write.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;
use trunkline_brokers::FileBroker;
use trunkline_brokers::file::{FileSource, Start};
use trunkline_core::{Broker, Source};

use crate::common::{batch, deliver, event, journal, key, lines, reason, replay, rest, runtime};

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn lines_stand_in_the_order_of_the_journal_and_texts_with_newlines_stay_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rasa_event.log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(9));
    for events in journal.chunks(2) {
        deliver(&broker, &batch(events, &key)).await;
    }
    broker.close().await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 9);
}

#[tokio::test]
async fn what_others_wrote_before_stays_and_its_last_line_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, "{\"theirs\": 1}\n{\"torn\":").unwrap();
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(2));
    assert_eq!(broker.position(&key).await, Ok(None));
    deliver(&broker, &batch(&journal, &key)).await;
    assert_eq!(fs::read(&path).unwrap(), [b"{\"theirs\": 1}\n{\"torn\":\n", lines(&journal).as_slice()].concat());
}

#[tokio::test]
async fn a_renamed_file_is_followed_by_a_new_one_and_nothing_is_lost_or_doubled() {
    let directory = tempfile::tempdir().unwrap();
    let (path, rotated) = (directory.path().join("log"), directory.path().join("log.1"));
    let (key, journal) = (key(), journal(6));
    let broker = FileBroker::new(&path);
    deliver(&broker, &batch(&journal[..2], &key)).await;
    fs::rename(&path, &rotated).unwrap();
    deliver(&broker, &batch(&journal[2..4], &key)).await;
    assert_eq!(fs::read(&rotated).unwrap(), lines(&journal[..2]));
    assert_eq!(fs::read(&path).unwrap(), lines(&journal[2..4]));

    // The cursor already speaks of the new file.
    drop(broker);
    let broker = FileBroker::new(&path);
    let rest = rest(&broker, &journal, &key).await;
    assert_eq!(rest.len(), 2);
    deliver(&broker, &batch(rest, &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal[2..]));
}

#[tokio::test]
async fn a_file_that_was_rotated_while_nobody_ran_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (key, journal) = (key(), journal(4));
    deliver(&FileBroker::new(&path), &batch(&journal[..2], &key)).await;
    fs::rename(&path, directory.path().join("log.1")).unwrap();
    let broker = FileBroker::new(&path);
    deliver(&broker, &batch(rest(&broker, &journal, &key).await, &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal[2..]));
}

#[tokio::test]
async fn removed_and_truncated_files_are_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(6));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    fs::remove_file(&path).unwrap();
    deliver(&broker, &batch(&journal[2..4], &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal[2..4]));
    OpenOptions::new().write(true).open(&path).unwrap().set_len(5).unwrap();
    deliver(&broker, &batch(&journal[4..], &key)).await;
    assert_eq!(fs::read(&path).unwrap(), [b"{\"sen\n", lines(&journal[4..]).as_slice()].concat());
}

#[tokio::test]
async fn a_lost_cursor_file_is_made_again_while_running() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(6));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    fs::remove_file(directory.path().join("log.cursor")).unwrap();
    deliver(&broker, &batch(&journal[2..4], &key)).await;
    drop(broker);
    let broker = FileBroker::new(&path);
    deliver(&broker, &batch(rest(&broker, &journal, &key).await, &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal));
}

#[tokio::test]
async fn a_line_that_others_left_open_between_two_batches_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(4));
    deliver(&broker, &batch(&journal[..2], &key)).await;
    append(&path, b"theirs");
    deliver(&broker, &batch(&journal[2..], &key)).await;
    let expected = [lines(&journal[..2]).as_slice(), b"theirs\n", &lines(&journal[2..])].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[tokio::test]
async fn a_replay_is_appended_and_leaves_the_cursor_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(6));
    deliver(&broker, &batch(&journal[..4], &key)).await;
    deliver(&broker, &replay(&journal[..2], &key)).await;
    drop(broker);
    let broker = FileBroker::new(&path);
    let rest = rest(&broker, &journal, &key).await;
    assert_eq!(rest.len(), 2);
    deliver(&broker, &batch(rest, &key)).await;
    let expected = [lines(&journal[..4]), lines(&journal[..2]), lines(&journal[4..])].concat();
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[tokio::test]
async fn events_of_a_call_that_was_given_up_are_not_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(6));
    let first = batch(&journal[..4], &key);
    tokio::select! {
        biased;
        _ = broker.publish(&first) => {}
        () = std::future::ready(()) => {}
    }
    deliver(&broker, &batch(&journal, &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal));
}

#[tokio::test]
async fn a_caller_that_knowingly_starts_before_the_cursor_is_obeyed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (key, journal) = (key(), journal(4));
    deliver(&FileBroker::new(&path), &batch(&journal, &key)).await;
    deliver(&FileBroker::new(&path), &batch(&journal[2..], &key)).await;
    assert_eq!(fs::read(&path).unwrap(), [lines(&journal), lines(&journal[2..])].concat());
}

#[tokio::test]
async fn the_cursor_of_another_subscription_or_journal_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let journal = journal(4);
    deliver(&FileBroker::new(&path), &batch(&journal[..2], &key())).await;
    let (broker, other) = (FileBroker::new(&path), key());
    assert_eq!(broker.position(&other).await, Ok(None));
    deliver(&broker, &batch(&journal[2..], &other)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal));
}

#[tokio::test]
async fn a_second_writer_of_the_same_file_is_turned_away_until_the_first_closes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (key, journal) = (key(), journal(4));
    let (first, second) = (FileBroker::new(&path), FileBroker::new(&path));
    deliver(&first, &batch(&journal[..2], &key)).await;
    let refused = second.publish(&batch(&journal[2..], &key)).await;
    assert!(reason(&refused[0]).contains("log.cursor` is locked"), "{refused:?}");
    first.close().await;
    deliver(&second, &batch(&journal[2..], &key)).await;
    assert_eq!(fs::read(&path).unwrap(), lines(&journal));
}

#[tokio::test]
async fn a_pipe_gets_the_lines_and_no_cursor() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    std::os::unix::fs::symlink(format!("/proc/self/fd/{}", writer.as_raw_fd()), &path).unwrap();
    let (broker, key, journal) = (FileBroker::new(&path), key(), journal(3));
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_eq!(broker.position(&key).await, Ok(None));
    deliver(&broker, &batch(&journal, &key)).await;
    broker.close().await;
    drop(writer);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read, lines(&journal));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn it_is_named_as_its_source_because_lines_have_no_ids() {
    let place = FileSource::new("a/log", Start::Beginning, None).place();
    assert_eq!(FileBroker::new("a/log").writes_without_ids_to(), Some(place));
}

#[tokio::test]
async fn asking_whether_it_is_ready_creates_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let broker = FileBroker::new(&path);
    assert_eq!(broker.is_ready().await, Ok(()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    fs::write(&path, "theirs").unwrap();
    let before = fs::metadata(&path).unwrap();
    assert_eq!(broker.is_ready().await, Ok(()));
    let after = fs::metadata(&path).unwrap();
    assert_eq!((before.len(), before.mtime_nsec()), (after.len(), after.mtime_nsec()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_line_is_the_body_and_a_line_feed(texts in prop::collection::vec(".*", 1..5)) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let events: Vec<_> = (1..).zip(&texts).map(|(offset, text)| event(offset, "u", text)).collect();
        runtime().block_on(async { deliver(&FileBroker::new(&path), &batch(&events, &key())).await });
        let written = fs::read(&path).unwrap();
        let found: Vec<&[u8]> = written.split_inclusive(|&byte| byte == b'\n').collect();
        prop_assert_eq!(found.len(), events.len());
        for ((line, event), text) in found.iter().zip(&events).zip(&texts) {
            prop_assert_eq!(*line, [&event.body[..], b"\n"].concat());
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            prop_assert_eq!(&value["text"], text.as_str());
        }
    }
}
