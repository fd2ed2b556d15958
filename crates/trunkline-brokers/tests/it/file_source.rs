//! Files that are followed.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::time::timeout;
use trunkline_adapter::ReadBy;
use trunkline_brokers::file::{FileSource, Options, Rotation, Start};
use trunkline_brokers::{FileBroker, sources};
use trunkline_config::{Diagnostics, Document, UnknownKeys};
use trunkline_core::{Reader, Received, Source};

use crate::common::{batch, deliver, journal, key, lines};

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn bodies(received: &[Received]) -> Vec<String> {
    received.iter().map(|one| String::from_utf8(one.body.to_vec()).unwrap()).collect()
}

/// Waits for `count` lines.
async fn take(reader: &mut dyn Reader, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let some = timeout(Duration::from_secs(10), reader.receive()).await.expect("a line").unwrap().unwrap();
        assert!(!some.is_empty());
        all.extend(some);
    }
    assert_eq!(all.len(), count);
    all
}

/// Demands that there is nothing, by looking for a while, giving the call up again and again.
async fn nothing(reader: &mut dyn Reader) {
    for _ in 0..5 {
        assert!(timeout(Duration::from_millis(20), reader.receive()).await.is_err());
    }
}

struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn log(&self) -> std::path::PathBuf {
        self.directory.path().join("log")
    }

    fn source(&self, start: Start) -> FileSource {
        FileSource::new(self.log(), start, None)
    }

    /// Remembers its position.
    fn remembering(&self, start: Start) -> FileSource {
        FileSource::new(self.log(), start, Some(self.directory.path().join("position")))
    }
}

#[tokio::test]
async fn complete_lines_are_handed_out_and_the_last_waits_until_it_is_complete() {
    let place = Place::new();
    fs::write(place.log(), "one\n\n  \ntwo\r\nthr").unwrap();
    let source = place.source(Start::Beginning);
    assert_eq!(source.place().to_string(), format!("file {}", place.log().display()));
    let mut reader = source.open().await.unwrap();
    let received = take(&mut *reader, 2).await;
    assert_eq!(bodies(&received), ["one", "two\r"]);
    assert_eq!(received[1].origin, format!("{}, byte 8", place.log().display()));
    nothing(&mut *reader).await;
    append(&place.log(), "ee");
    nothing(&mut *reader).await;
    append(&place.log(), "\nfour\n");
    assert_eq!(bodies(&take(&mut *reader, 2).await), ["three", "four"]);
}

#[tokio::test]
async fn a_start_at_now_leaves_out_what_is_there() {
    let place = Place::new();
    fs::write(place.log(), "old\n").unwrap();
    let mut reader = place.source(Start::Now).open().await.unwrap();
    nothing(&mut *reader).await;
    append(&place.log(), "new\n");
    assert_eq!(bodies(&take(&mut *reader, 1).await), ["new"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_waited_for_and_read_whole() {
    let place = Place::new();
    let mut reader = place.source(Start::Now).open().await.unwrap();
    nothing(&mut *reader).await;
    append(&place.log(), "first\n");
    assert_eq!(bodies(&take(&mut *reader, 1).await), ["first"]);
}

#[tokio::test]
async fn many_and_long_lines_come_in_pieces_and_in_order() {
    let place = Place::new();
    let mut texts: Vec<String> = (0..3000).map(|number| format!("{{\"number\": {number}}}")).collect();
    texts.insert(1500, "x".repeat(3 << 20));
    fs::write(place.log(), texts.join("\n") + "\n").unwrap();
    let mut reader = place.source(Start::Beginning).open().await.unwrap();
    let mut all = Vec::new();
    while all.len() < texts.len() {
        let some = reader.receive().await.unwrap().unwrap();
        assert!((1..=256).contains(&some.len()));
        all.extend(some);
    }
    assert_eq!(bodies(&all), texts);
}

#[tokio::test]
async fn ids_stay_the_same_and_differ_from_all_others() {
    let place = Place::new();
    fs::write(place.log(), "same\nsame\nother\n").unwrap();
    let source = place.source(Start::Beginning);
    let ids = |received: &[Received]| received.iter().map(|one| one.id.clone().unwrap()).collect::<Vec<_>>();
    let first = ids(&take(&mut *source.open().await.unwrap(), 3).await);
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 3);
    let mut reader = source.open().await.unwrap();
    assert_eq!(ids(&take(&mut *reader, 3).await), first);
    // The same file with other content.
    fs::write(place.log(), "else\n").unwrap();
    let second = ids(&take(&mut *reader, 1).await);
    assert!(!first.contains(&second[0]));
    // And under another name.
    fs::rename(place.log(), place.directory.path().join("moved")).unwrap();
    let moved = FileSource::new(place.directory.path().join("moved"), Start::Beginning, None);
    assert_eq!(ids(&take(&mut *moved.open().await.unwrap(), 1).await), second);
}

#[tokio::test]
async fn a_renamed_file_is_read_to_its_end_and_then_its_successors() {
    let place = Place::new();
    fs::write(place.log(), "one\n").unwrap();
    let mut reader = place.source(Start::Beginning).open().await.unwrap();
    take(&mut *reader, 1).await;
    append(&place.log(), "two\n");
    fs::rename(place.log(), place.directory.path().join("log.1")).unwrap();
    // Whoever has it open goes on writing.
    append(&place.directory.path().join("log.1"), "three\nunended");
    assert_eq!(bodies(&take(&mut *reader, 2).await), ["two", "three"]);
    nothing(&mut *reader).await;
    // Also when there is a new file already, as `logrotate` creates it before it says so.
    fs::write(place.log(), "").unwrap();
    nothing(&mut *reader).await;
    append(&place.directory.path().join("log.1"), " then\nfour\ntorn");
    assert_eq!(bodies(&take(&mut *reader, 2).await), ["unended then", "four"]);
    append(&place.log(), "five\n");
    assert_eq!(bodies(&take(&mut *reader, 2).await), ["torn", "five"]);
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning() {
    let place = Place::new();
    fs::write(place.log(), "one\ntwo\n").unwrap();
    let mut reader = place.source(Start::Beginning).open().await.unwrap();
    take(&mut *reader, 2).await;
    OpenOptions::new().write(true).truncate(true).open(place.log()).unwrap();
    append(&place.log(), "new\n");
    assert_eq!(bodies(&take(&mut *reader, 1).await), ["new"]);
}

#[tokio::test]
async fn all_that_a_rotating_broker_writes_arrives_once_and_in_order() {
    let place = Place::new();
    let rotate = Some(Rotation { size: Some(2000), ..Rotation::default() });
    let broker = FileBroker::with_options(place.log(), Options { rotate, ..Options::default() });
    let (key, journal) = (key(), journal(400));
    deliver(&broker, &batch(&journal[..1], &key)).await;
    let mut reader = place.source(Start::Beginning).open().await.unwrap();
    let publishing = async {
        for events in journal[1..].chunks(3) {
            deliver(&broker, &batch(events, &key)).await;
        }
    };
    let ((), received) = tokio::join!(publishing, take(&mut *reader, journal.len()));
    let text: Vec<u8> = received.iter().flat_map(|one| [&one.body[..], b"\n"].concat()).collect();
    assert_eq!(text, lines(&journal));
}

#[tokio::test]
async fn what_is_settled_does_not_come_again_and_what_is_not_does() {
    for has_file in [true, false] {
        let place = Place::new();
        let source = || if has_file { place.remembering(Start::Now) } else { place.source(Start::Now) };
        let mut reader = source().open().await.unwrap();
        append(&place.log(), "one\ntwo\n");
        take(&mut *reader, 2).await;
        let position = reader.position().await.unwrap();
        assert_eq!(position.is_none(), has_file);
        reader.settle().await.unwrap();
        append(&place.log(), "three\n");
        take(&mut *reader, 1).await;
        drop(reader);
        // Rotated twice while nobody reads.
        fs::rename(place.log(), place.directory.path().join("log.2")).unwrap();
        append(&place.log(), "four\n");
        fs::rename(place.log(), place.directory.path().join("log.1")).unwrap();
        append(&place.log(), "five\n");
        let mut reader = source().open_at(position.as_deref()).await.unwrap();
        assert_eq!(bodies(&take(&mut *reader, 3).await), ["three", "four", "five"]);
    }
}

#[tokio::test]
async fn another_file_in_the_place_of_the_remembered_one_is_read_whole() {
    let place = Place::new();
    fs::write(place.log(), "one\ntwo\n").unwrap();
    let mut reader = place.remembering(Start::Beginning).open().await.unwrap();
    take(&mut *reader, 2).await;
    reader.settle().await.unwrap();
    // The same inode, and even longer than before.
    fs::write(place.log(), "three\nfour\nfive\n").unwrap();
    let mut reader = place.remembering(Start::Beginning).open().await.unwrap();
    assert_eq!(bodies(&take(&mut *reader, 3).await), ["three", "four", "five"]);
}

#[tokio::test]
async fn the_position_is_no_earlier_file_whatever_it_is_called() {
    let place = Place::new();
    fs::write(place.log(), "one\n").unwrap();
    let position = place.directory.path().join("log.position");
    let mut reader = FileSource::new(place.log(), Start::Beginning, Some(position)).open().await.unwrap();
    take(&mut *reader, 1).await;
    fs::rename(place.log(), place.directory.path().join("log.1")).unwrap();
    append(&place.log(), "two\n");
    // Written after what is read.
    reader.settle().await.unwrap();
    assert_eq!(bodies(&take(&mut *reader, 1).await), ["two"]);
    reader.settle().await.unwrap();
    nothing(&mut *reader).await;
}

#[tokio::test]
async fn behind_a_remembered_file_that_is_gone_nothing_is_passed_over() {
    let place = Place::new();
    let rename = |to: &str| fs::rename(place.log(), place.directory.path().join(to)).unwrap();
    append(&place.log(), "before\n");
    OpenOptions::new().write(true).open(place.log()).unwrap().set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
    rename("log.0");
    append(&place.log(), "one\n");
    let mut reader = place.remembering(Start::Now).open().await.unwrap();
    append(&place.log(), "two\n");
    take(&mut *reader, 1).await;
    reader.settle().await.unwrap();
    drop(reader);
    for (name, text) in [("log.1", "three\n"), ("log.2", "four\n"), ("log.3", "five\n")] {
        rename(name);
        append(&place.log(), text);
    }
    fs::remove_file(place.directory.path().join("log.1")).unwrap();
    let mut reader = place.remembering(Start::Now).open().await.unwrap();
    assert_eq!(bodies(&take(&mut *reader, 3).await), ["three", "four", "five"]);
}

#[tokio::test]
async fn a_file_that_was_copied_and_truncated_while_nobody_reads_goes_on_in_the_copy() {
    let place = Place::new();
    append(&place.log(), "one\n");
    let mut reader = place.remembering(Start::Beginning).open().await.unwrap();
    take(&mut *reader, 1).await;
    reader.settle().await.unwrap();
    append(&place.log(), "two\n");
    fs::copy(place.log(), place.directory.path().join("log.1")).unwrap();
    fs::write(place.log(), "three\n").unwrap();
    let mut reader = place.remembering(Start::Beginning).open().await.unwrap();
    assert_eq!(bodies(&take(&mut *reader, 2).await), ["two", "three"]);
}

#[tokio::test]
async fn asking_whether_it_is_ready_takes_and_creates_nothing() {
    let place = Place::new();
    let source = place.remembering(Start::Beginning);
    assert_eq!(source.is_ready().await, Ok(()));
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 0);
    append(&place.log(), "one\n");
    let mut reader = source.open().await.unwrap();
    assert_eq!(source.is_ready().await, Ok(()));
    assert_eq!(bodies(&take(&mut *reader, 1).await), ["one"]);
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 1);
    fs::write(place.directory.path().join("position"), "nonsense").unwrap();
    assert!(source.is_ready().await.unwrap_err().contains("it is no position of ours"));
    let gone = place.directory.path().join("gone/log");
    assert!(FileSource::new(gone, Start::Now, None).is_ready().await.unwrap_err().contains("does not exist"));
}

#[tokio::test]
async fn what_cannot_be_followed_is_said() {
    let place = Place::new();
    let open = async |path: &Path| FileSource::new(path, Start::Now, None).open().await.map(drop).unwrap_err();
    let gone = place.directory.path().join("gone");
    assert!(open(&gone.join("log")).await.contains(&format!("the directory `{}` does not exist", gone.display())));
    assert!(open(place.directory.path()).await.contains("is no regular file and cannot be followed"));
    assert!(open(Path::new("/dev/null")).await.contains("is no regular file and cannot be followed"));
    fs::write(place.directory.path().join("position"), "nonsense").unwrap();
    let said = place.remembering(Start::Now).open().await.map(drop).unwrap_err();
    assert!(said.contains("it is no position of ours; remove it to begin anew"), "{said}");
    let said = place.source(Start::Now).open_at(Some("nonsense")).await.map(drop).unwrap_err();
    assert_eq!(said, "the position that is kept for it is none of ours: \"nonsense\"");
}

#[tokio::test]
async fn the_section_says_which_file_and_from_where() {
    let place = Place::new();
    fs::write(place.log(), "one\n").unwrap();
    let build = |yaml: &str, by: ReadBy| {
        let diagnostics = Diagnostics::new();
        let document = Document::parse("trunkline.yml", &format!("source: {yaml}"), &|_| None, &diagnostics).unwrap();
        let source = document.read(UnknownKeys::Refuse, &diagnostics, |root| {
            root.section("source", |section| {
                section.node("type");
                sources().find("file").unwrap().build.unwrap()(section, place.directory.path(), by)
            })
        });
        (source.flatten(), diagnostics.sorted().into_iter().map(|one| one.message).collect::<Vec<_>>())
    };
    let read = async |source: Option<Arc<dyn Source>>| {
        let mut reader = source.unwrap().open().await.unwrap();
        take(&mut *reader, 1).await;
        reader.settle().await.unwrap();
        reader.position().await.unwrap()
    };
    let here = place.directory.path().join("here");
    let is_ours = |text: &str| text.starts_with("trunkline-position 1 inode=");
    let (source, said) = build("{type: file, path: log, start: beginning, position: here}", ReadBy::Gateway);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(read(source).await, None);
    assert!(is_ours(&fs::read_to_string(&here).unwrap()));
    // Without a file for it the position is for whoever reads to remember.
    let before = fs::read_dir(place.directory.path()).unwrap().count();
    for by in [ReadBy::Gateway, ReadBy::Person] {
        assert!(is_ours(&read(build("{path: log}", by).0).await.unwrap()));
    }
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), before);
    for wrong in ["{start: end}", "{path: ''}", "{rotate: {size: 1 MB}}"] {
        assert_eq!(build(wrong, ReadBy::Person).1.len(), 1, "{wrong}");
    }
}
