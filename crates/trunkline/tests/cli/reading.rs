//! `tail` and `journal`.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use serde_json::Value;

use crate::common::{CONVERSATION, Served, command, json_lines, project, run, run_with};

#[test]
fn tail_prints_what_was_appended_byte_for_byte() {
    let odd = "{\"sender_id\": \"ann\", \"event\": \"odd\", \"timestamp\": 5.0, \"delete\": \"\u{7f}\", \"big\": 123456789012345678901234567890}";
    let mut events = CONVERSATION.to_vec();
    events.push(odd);
    let directory = project(&events);
    let printed = run(directory.path(), &["tail", "--json", "--no-follow", "--since", "beginning"]).done();
    for (line, body) in printed.lines().zip(&events) {
        assert!(line.ends_with(&format!(",\"event\":{body}}}")), "{line}");
    }
    let lines = json_lines(&printed);
    let keys: Vec<_> = lines[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["offset", "id", "time", "conversation", "type", "kind", "channel", "event"]);
    assert_eq!(lines.iter().map(|line| line["offset"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(run(directory.path(), &["journal", "dump"]).done(), printed);
    assert_eq!(
        run(directory.path(), &["journal", "dump", "--from", "5"]).done().lines().collect::<Vec<_>>(),
        [printed.lines().last().unwrap()]
    );
}

#[test]
fn tail_selects_and_begins_where_it_is_told() {
    let events: Vec<_> =
        (1..=30).map(|number| format!(r#"{{"sender_id": "c{}", "event": "user", "text": "n{number}"}}"#, number % 3)).collect();
    let directory = project(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let texts = |arguments: &[&str]| -> Vec<String> {
        let printed = run(directory.path(), &[&["tail", "--json", "--no-follow"], arguments].concat()).done();
        json_lines(&printed).iter().map(|line| line["event"]["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(texts(&[]), (21..=30).map(|number| format!("n{number}")).collect::<Vec<_>>());
    assert_eq!(texts(&["--conversation", "c0"]), (1..=10).map(|number| format!("n{}", number * 3)).collect::<Vec<_>>());
    assert_eq!(texts(&["--since", "10m"]).len(), 30);
    assert_eq!(texts(&["--since", "2100-01-01"]), Vec::<String>::new());
    assert_eq!(texts(&["--type", "bot", "--type", "slot"]), Vec::<String>::new());
    let text = run(directory.path(), &["tail", "--no-follow", "--type", "user"]).done();
    assert!(text.lines().last().unwrap().ends_with("       30  c0  user      n30"), "{text}");
    let error = run(directory.path(), &["tail", "--since", "yesterday"]);
    assert!(error.code == Some(2) && error.err.contains("expected a duration such as 10m"), "{error:?}");
}

#[test]
fn tail_follows_a_running_gateway() {
    let directory = tempfile::tempdir().unwrap();
    let _served = Served::start(directory.path());
    let mut tail = command(directory.path(), &["tail", "--json", "--type", "bot"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    assert_eq!(run_with(directory.path(), &["shell", "--conversation", "ann"], "one\ntwo\n").done(), "one\ntwo\n");
    for text in ["one", "two"] {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((line["conversation"].as_str(), line["event"]["text"].as_str()), (Some("ann"), Some(text)));
    }
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let body = format!(r#"{{"sender_id": "ann", "event": "user", "text": "{}"}}"#, "x".repeat(1_000));
    let directory = project(&vec![body.as_str(); 2_000]);
    for arguments in [&["journal", "dump"][..], &["tail", "--no-follow", "--since", "beginning"]] {
        let mut child = command(directory.path(), arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        out.read_line(&mut first).unwrap();
        drop(out);
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(first.ends_with('\n'));
    }
}

#[test]
fn damage_is_told_by_offset() {
    let directory = project(&CONVERSATION);
    // As a bit that has turned over on the disk.
    let path = directory.path().join(".trunkline/journal.db");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"h\\u0").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let ran = run(directory.path(), &["journal", "verify"]);
    assert_eq!((ran.code, ran.out.lines().next()), (Some(1), Some("offset 2: the record is damaged")));
    let ran = run(directory.path(), &["tail", "--no-follow", "--since", "beginning"]);
    assert_eq!((ran.code, ran.out.lines().count()), (Some(1), 3));
    assert_eq!(ran.err, "trunkline: the record at offset 2 is damaged and left out\n");
}

#[test]
fn a_conversation_is_found_among_many() {
    let events: Vec<_> = (1..=6_000)
        .map(|number| format!(r#"{{"sender_id": "c{}", "event": "user", "text": "n{number}"}}"#, number % 3))
        .collect();
    let directory = project(&events.iter().map(String::as_str).collect::<Vec<_>>());
    let offsets = |arguments: &[&str]| -> Vec<u64> {
        let arguments = [&["tail", "--json", "--no-follow", "--conversation", "c0"], arguments].concat();
        json_lines(&run(directory.path(), &arguments).done()).iter().map(|line| line["offset"].as_u64().unwrap()).collect()
    };
    assert_eq!(offsets(&["--since", "beginning"]), (1..=2_000).map(|number| number * 3).collect::<Vec<_>>());
    assert_eq!(offsets(&[]), (1_991..=2_000).map(|number| number * 3).collect::<Vec<_>>());
    assert_eq!(offsets(&["--type", "bot"]), Vec::<u64>::new());
}
