//! The protocol of child processes, with children that keep it and children that do not.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use trunkline_brokers::{brokers, find};
use trunkline_config::{Diagnostics, Document, UnknownKeys};
use trunkline_core::{Batch, Broker, Event, Outcome};
use trunkline_testkit::python;

use crate::common::{batch, deliver, event, journal, key, reason};

/// The broker of a section, which must be sound.
pub(crate) fn build(yaml: &str, directory: &Path) -> Arc<dyn Broker> {
    let (broker, diagnostics) = read(yaml, directory);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    broker.unwrap()
}

fn read(yaml: &str, directory: &Path) -> (Option<Arc<dyn Broker>>, Diagnostics) {
    let diagnostics = Diagnostics::new();
    let text = format!("event_broker:\n  {}\n", yaml.replace('\n', "\n  "));
    let document = Document::parse("endpoints.yml", &text, &|_| None, &diagnostics).unwrap();
    let broker = document.read(UnknownKeys::Warn, &diagnostics, |root| {
        root.section("event_broker", |section| {
            section.node("name");
            find(&brokers(), &section.string("type").unwrap()).unwrap().build.unwrap()(section, directory)
        })
    });
    (broker.flatten(), diagnostics)
}

/// A child that behaves as `settings` say, in a directory of its own.
struct Child {
    directory: TempDir,
    broker: Arc<dyn Broker>,
}

impl Child {
    fn new(settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/children/child.py");
        let yaml = format!(
            "type: exec\nname: cellar\ncommand: [{}, {script}]\nsettings: {settings}\nenvironment: {{GREETING: hej}}",
            python().display()
        );
        Self { broker: build(&yaml, directory.path()), directory }
    }

    /// What the child noted, line by line.
    fn record(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("record")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the child has noted a line that begins so, for the `count`th time, and gives it.
    async fn noted(&self, beginning: &str, count: usize) -> String {
        let noted = async {
            loop {
                let record = self.record();
                if let Some(line) = record.iter().filter(|line| line.starts_with(beginning)).nth(count - 1) {
                    return line.clone();
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_mins(1), noted).await.expect("it is noted")
    }

    /// The conversations and times of what arrived.
    fn arrived(&self) -> Vec<(String, u64)> {
        let words = |line: &String| {
            let mut words = line.strip_prefix("event ")?.split(' ');
            Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
        };
        self.record().iter().filter_map(words).collect()
    }

    fn lives(&self) -> usize {
        self.record().iter().filter(|line| line.starts_with("hello")).count()
    }

    /// Publishes what is not yet delivered, as a delivery would, until nothing is left.
    async fn deliver_all(&self, events: &[Arc<Event>]) {
        let (mut rest, deadline) = (events.to_vec(), Instant::now() + Duration::from_mins(1));
        while !rest.is_empty() {
            assert!(Instant::now() < deadline, "it does not come to an end");
            let outcomes = self.broker.publish(&batch(&rest, &key())).await;
            let wait = outcomes.iter().filter_map(|outcome| match outcome {
                Outcome::Retry { after, .. } => *after,
                _ => None,
            });
            sleep(wait.max().unwrap_or_default()).await;
            let mut outcomes = outcomes.into_iter();
            rest.retain(|_| outcomes.next() != Some(Outcome::Delivered));
        }
    }
}

fn positions(arrived: &[(String, u64)], conversation: &str) -> Vec<u64> {
    arrived.iter().filter(|(name, _)| name == conversation).map(|(_, time)| *time).collect()
}

fn assert_ordered_and_whole(child: &Child, events: &[Arc<Event>]) {
    let arrived = child.arrived();
    for conversation in ["user0", "user1", "user2"] {
        let expected: Vec<u64> =
            events.iter().filter(|event| event.conversation == conversation).map(|event| event.offset).collect();
        let mut found = positions(&arrived, conversation);
        // What was answered and not read, or not answered, comes again; nothing may come before what it follows.
        let mut seen = Vec::new();
        found.retain(|time| {
            let is_new = !seen.contains(time);
            seen.push(*time);
            is_new
        });
        assert_eq!(found, expected, "{conversation}");
    }
}

#[tokio::test]
async fn a_child_gets_settings_events_and_the_end() {
    let child = Child::new("{}");
    let events = journal(300);
    child.broker.is_ready().await.unwrap();
    let exported = Batch { export: Some("0123456789abcdef0123456789abcdef".into()), ..batch(&events[..2], &key()) };
    deliver(&*child.broker, &exported).await;
    deliver(&*child.broker, &batch(&events[2..], &key())).await;
    assert_ordered_and_whole(&child, &events);
    let record = child.record();
    assert!(record[0].starts_with("hello ") && record[0].ends_with(" 1 cellar hej"), "{record:?}");
    assert_eq!(
        record[1],
        format!("event {} {} {} 0123456789abcdef0123456789abcdef", events[0].conversation, events[0].offset, events[0].id)
    );
    assert!(record[3].ends_with(" -"), "{}", record[3]);
    child.broker.close().await;
    assert_eq!(child.record().last().unwrap(), "close");
    assert_eq!(child.lives(), 1);
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let child = Child::new("{how: backwards}");
    let events = journal(300);
    deliver(&*child.broker, &batch(&events, &key())).await;
    assert_ordered_and_whole(&child, &events);
}

#[tokio::test]
async fn neither_full_pipes_nor_a_noisy_child_stop_a_batch() {
    let child = Child::new("{how: noisy}");
    let text = "x".repeat(100_000);
    let events: Vec<_> = (1..=100).map(|offset| event(offset, &format!("user{offset}"), &text)).collect();
    deliver(&*child.broker, &batch(&events, &key())).await;
    assert_eq!(child.arrived().len(), 100);
}

#[tokio::test]
async fn nothing_of_a_conversation_follows_what_was_not_delivered() {
    let child = Child::new("{}");
    let events = [
        event(1, "a", "one"),
        event(2, "a", "reject"),
        event(3, "b", "retry"),
        event(4, "a", "two"),
        event(5, "b", "three"),
        event(6, "c", "four"),
    ];
    let outcomes = child.broker.publish(&batch(&events, &key())).await;
    assert_eq!(outcomes[0], Outcome::Delivered);
    assert_eq!(outcomes[1], Outcome::Reject { reason: "nobody wants it".to_owned() });
    let after = Some(Duration::from_millis(7_500));
    assert_eq!(outcomes[2], Outcome::Retry { after, reason: "not on a Sunday".to_owned() });
    assert_eq!(reason(&outcomes[3]), "an earlier event of the conversation was rejected");
    assert_eq!(reason(&outcomes[4]), "an earlier event of the conversation was not delivered");
    assert_eq!(outcomes[5], Outcome::Delivered);
    assert_eq!(child.arrived(), [("a".to_owned(), 1), ("c".to_owned(), 6)]);
}

#[tokio::test]
async fn a_child_that_fails_in_mid_batch_is_started_again_and_nothing_is_lost() {
    for (how, expected) in [
        ("dies", "ended (exit status: 4); the last line of its standard error: out of cheese"),
        ("garbage", "wrote a line that is no answer of the protocol, and was killed: `print() goes to standard output`"),
        ("too long", "wrote a line that is no answer of the protocol, and was killed: `{\"type\": \"outcome\","),
        (
            "misspelt",
            "gave an answer that is none of the protocol (unknown variant `ok`, expected one of `delivered`, `retry`, `reject`",
        ),
        ("unknown id", "gave an outcome for `nobody`, an event that it has not or answered before, and was killed"),
        ("twice", "an event that it has not or answered before, and was killed"),
        ("closes", "closed its standard input or output, and was killed"),
    ] {
        let child = Child::new(&format!("{{how: {how}, at: 20}}"));
        let events = journal(60);
        let outcomes = child.broker.publish(&batch(&events, &key())).await;
        assert!(outcomes.iter().filter(|outcome| **outcome == Outcome::Delivered).count() >= 19, "{how}: {outcomes:?}");
        let failed = outcomes.iter().find(|outcome| **outcome != Outcome::Delivered).unwrap();
        assert!(reason(failed).contains(expected), "{how}: {failed:?}");
        let mut outcomes = outcomes.into_iter();
        let mut rest = events.clone();
        rest.retain(|_| outcomes.next() != Some(Outcome::Delivered));
        child.deliver_all(&rest).await;
        assert_ordered_and_whole(&child, &events);
        assert_eq!(child.lives(), 2, "{how}");
    }
}

#[tokio::test]
async fn a_child_that_does_not_come_up_is_named_with_its_reason_and_not_started_all_the_time() {
    for (how, expected) in [
        ("no hello", "ended (exit status: 3); the last line of its standard error: there is no cheese"),
        ("version", "speaks version 7 of the protocol, and was killed; this Trunkline speaks version 1"),
        ("garbage first", "wrote a line that is no answer of the protocol, and was killed: `Starting up...`"),
    ] {
        let child = Child::new(&format!("{{how: {how}, always: true}}"));
        let error = child.broker.is_ready().await.unwrap_err();
        assert!(error.contains("child.py`") && error.contains(expected), "{how}: {error}");
        let mut waits = Vec::new();
        for _ in 0..20 {
            let outcomes = child.broker.publish(&batch(&journal(2), &key())).await;
            let Outcome::Retry { after, reason } = &outcomes[1] else { panic!("{outcomes:?}") };
            assert!(reason.contains(expected), "{how}: {reason}");
            waits.push(after.unwrap_or_default());
        }
        assert!(waits.iter().any(|wait| *wait > Duration::ZERO), "{waits:?}");
        assert!(child.lives() < 10, "{how}: {} starts", child.lives());
    }
}

#[tokio::test]
async fn a_child_that_ended_between_two_batches_costs_nothing() {
    let child = Child::new("{}");
    let events = journal(10);
    deliver(&*child.broker, &batch(&events[..5], &key())).await;
    let pid = child.record()[0].split(' ').nth(1).unwrap().to_owned();
    std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    child.deliver_all(&events[5..]).await;
    assert_ordered_and_whole(&child, &events);
    assert_eq!(child.lives(), 2);
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_the_child_with_it() {
    let child = Child::new("{how: hangs, at: 3}");
    let events = journal(10);
    let call = batch(&events, &key());
    tokio::select! {
        outcomes = child.broker.publish(&call) => panic!("it answers: {outcomes:?}"),
        _ = child.noted("event", 2) => {}
    }
    let pid = child.record()[0].split(' ').nth(1).unwrap().to_owned();
    let process = format!("/proc/{pid}/stat");
    let ended = async {
        while std::fs::read_to_string(&process).is_ok_and(|stat| !stat.contains(") Z ")) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_mins(1), ended).await.expect("the child still runs");
    child.deliver_all(&events).await;
    assert_ordered_and_whole(&child, &events);
}

#[tokio::test]
async fn a_child_says_whether_it_is_ready() {
    let child = Child::new("{how: not ready}");
    let error = child.broker.is_ready().await.unwrap_err();
    assert!(error.ends_with("child.py` is not ready: the cellar is locked"), "{error}");
    deliver(&*child.broker, &batch(&journal(1), &key())).await;
    assert_eq!(child.lives(), 1);
}

#[tokio::test]
async fn a_slow_child_is_given_no_more_when_half_of_the_time_is_over() {
    let child = Child::new("{}");
    let events: Vec<_> = (1..=9).map(|offset| event(offset, &format!("user{offset}"), "x")).collect();
    // The first is handed over all the same, or none ever would be.
    let outcomes = child.broker.publish(&Batch { deadline: Instant::now(), ..batch(&events, &key()) }).await;
    assert_eq!(outcomes[0], Outcome::Delivered);
    for outcome in &outcomes[1..] {
        let said = "child.py` is slow: it answered 1 events in 0 s; the others follow in the next call";
        assert!(reason(outcome).ends_with(said), "{outcome:?}");
    }
    deliver(&*child.broker, &batch(&events[1..], &key())).await;
    assert_eq!((child.arrived().len(), child.lives()), (9, 1));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let error = build("type: exec\ncommand: no-such-program", directory.path()).is_ready().await.unwrap_err();
    assert!(
        error.starts_with("cannot start `no-such-program`: ") && error.ends_with("install it, or correct `command`"),
        "{error}"
    );
    let error = build("type: exec\ncommand: [cat]\ndirectory: nowhere", directory.path()).is_ready().await.unwrap_err();
    assert!(error.ends_with("nowhere` does not exist"), "{error}");
    let script = directory.path().join("run");
    std::fs::write(&script, "#!/bin/sh\necho not executable\n").unwrap();
    let error = build("type: exec\ncommand: ./run", directory.path()).is_ready().await.unwrap_err();
    assert!(error.starts_with("cannot start `./run`: Permission denied"), "{error}");
}

#[test]
fn mistakes_in_the_section_are_found_without_starting_anything() {
    for (yaml, expected) in [
        ("type: exec", "event_broker.command: required key is missing"),
        ("type: exec\ncommand: []", "expected a program, or a list of a program and its arguments, found a list"),
        (
            "type: exec\ncommand: python3 broker.py",
            "expected a list of the program and its arguments, found \"python3 broker.py\"",
        ),
        ("type: exec\ncommand: cat\nsettings: 5", "event_broker.settings: expected a mapping, found 5"),
        ("type: exec\ncommand: cat\nenvironment: {A=B: c}", "event_broker.environment: no variable can be set"),
        ("type: exec\ncommand: cat\nsetings: {}", "unknown key `setings`"),
        ("type: python", "expected the path of a Python class, as `package.module.Class`, found \"python\""),
    ] {
        let (broker, diagnostics) = read(yaml, Path::new("/nowhere"));
        let said = diagnostics.render(trunkline_config::Style::Plain);
        assert!(broker.is_none() || diagnostics.has_errors(), "{yaml}");
        assert!(said.contains(expected), "{yaml}: {said}");
    }
    let hint = read("type: exec\ncommand: python3 broker.py", Path::new("/nowhere")).1.render(trunkline_config::Style::Plain);
    assert!(hint.contains("write `[python3, broker.py]`"), "{hint}");
}
