//! `dead-letters`, with and without a running gateway.

use std::fs;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use trunkline_core::Offset;
use trunkline_journal::{DeadLetterState, NewDeadLetter};

use crate::common::{CONVERSATION, Served, json_lines, project, run, with_journal};

/// A project in which the broker `file` has given up on these events of [`CONVERSATION`].
fn project_with_dead_letters(dead: &'static [Offset]) -> TempDir {
    let directory = project(&CONVERSATION);
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: file}\n").unwrap();
    with_journal(directory.path(), |appender| async move {
        let journal = appender.journal();
        let mut letters = Vec::new();
        for &offset in dead {
            letters.push(NewDeadLetter {
                subscription: "file".to_owned(),
                event: journal.event(offset).await.unwrap().unwrap(),
                reason: "the disk was on fire".to_owned(),
                attempts: 3,
                state: DeadLetterState::Dead,
            });
        }
        journal.add_dead_letters(letters).await.unwrap();
    });
    directory
}

#[test]
fn dead_letters_are_listed_shown_and_decided_upon_in_the_journal() {
    let directory = project_with_dead_letters(&[1, 3, 4]);
    let ran = |arguments: &[&str]| run(directory.path(), &[&["dead-letters"], arguments].concat());
    let list = json_lines(&ran(&["list", "--json"]).done());
    let ids: Vec<_> = list.iter().map(|letter| (letter["id"].as_str().unwrap(), letter["offset"].as_i64().unwrap())).collect();
    assert_eq!(ids, [("1", 1), ("2", 3), ("3", 4)]);
    assert!(ran(&["list"]).done().lines().nth(1).unwrap().ends_with("the disk was on fire"));
    assert_eq!(ran(&["list", "--subscription", "other"]).done(), "There are no dead letters.\n");
    let shown = ran(&["show", "1"]).done();
    assert!(shown.contains("two pizzas") && shown.contains("after 3 attempts"), "{shown}");
    assert!(ran(&["show", "1", "--json"]).done().contains(&format!("\"event\":{}", CONVERSATION[0])));

    assert!(ran(&["replay", "2", "77", "78"]).failed().contains("there is no dead letter 77, 78"));
    assert!(ran(&["replay", "2"]).done().contains("1 dead letter will be delivered again at the next `trunkline serve`"));
    assert_eq!(ran(&["--json", "drop", "3"]).done(), "{\"id\":\"3\",\"state\":\"dropped\"}\n");
    assert_eq!(ran(&["replay", "--all", "--json"]).done(), "{\"id\":\"1\",\"state\":\"replay\"}\n");
    let states: Vec<_> = json_lines(&ran(&["list", "--json"]).done()).iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["replay", "replay"]);
    assert_eq!(ran(&["replay", "--all"]).done(), "There are no dead letters to replay.\n");
    assert_eq!(run(directory.path(), &["dead-letters", "replay"]).code, Some(2));
    let (name, elsewhere) = (directory.path().to_str().unwrap(), tempfile::tempdir().unwrap());
    for arguments in [["dead-letters", "-C", name, "list"], ["dead-letters", "list", "-C", name]] {
        assert_eq!(run(elsewhere.path(), &arguments).done().lines().count(), 3);
    }
}

#[test]
fn dead_letters_are_decided_upon_by_a_running_gateway() {
    let directory = project_with_dead_letters(&[1, 3, 4]);
    let _served = Served::start(directory.path());
    let ran = |arguments: &[&str]| run(directory.path(), &[&["dead-letters"], arguments].concat());
    assert_eq!(ran(&["drop", "3"]).done(), "1 dead letter dropped.\n");
    assert_eq!(ran(&["replay", "--all"]).done(), "2 dead letters will be delivered again now.\n");
    let deadline = Instant::now() + Duration::from_secs(30);
    while ran(&["list"]).done() != "There are no dead letters.\n" {
        assert!(Instant::now() < deadline, "they were not delivered");
    }
    let log = fs::read_to_string(directory.path().join("rasa_event.log")).unwrap_or_default();
    assert!(log.contains("two pizzas") && log.contains("\"number\"") && !log.contains("Which?"), "{log}");
}
