//! Comparing what arrived with what was acknowledged.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use trunkline_journal::ReadOnlyJournal;
use trunkline_testkit::{Exit, file_events, journal_bodies, sql_events};

use super::clients::Clients;

/// It ended by itself, in order, and without a panic on the way.
pub(crate) fn assert_ended_well(exit: &Exit) {
    assert_eq!(exit.status.code(), Some(0), "{}", exit.log);
    assert!(!exit.log.contains("panicked"), "{}", exit.log);
}

/// Every acknowledged request is in the journal: once, as it was sent, in the order of its client. One that was not
/// acknowledged is there once, behind them, or not at all. Answers the bodies of the journal.
pub(crate) fn assert_journal_has(directory: &Path, clients: &Clients) -> Vec<String> {
    let verification = ReadOnlyJournal::open(directory).unwrap().verify(&mut |_, _| {}).unwrap();
    assert!(verification.is_sound(), "{verification:?}");
    assert_eq!(verification.repeated_identities, []);
    assert_every_message_is_answered(directory);

    let bodies = journal_bodies(directory);
    let (mut found, mut answers) = (by_conversation(&bodies, "slot", "user"), by_conversation(&bodies, "bot", "bot"));
    for client in &clients.all {
        let mut sent: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for request in &client.acknowledged {
            sent.entry(&request.conversation).or_default().push(request);
        }
        if let Some(pending) = &client.pending {
            sent.entry(&pending.conversation).or_default().push(pending);
        }
        let pending = client.pending.as_ref().map(|pending| pending.token.as_str());
        for (conversation, mut requests) in sent {
            let found = found.remove(conversation).unwrap_or_default();
            let tokens: Vec<_> = found.iter().map(|(token, _)| token.as_str()).collect();
            requests.pop_if(|last| pending == Some(&last.token) && tokens.last() != pending.as_ref());
            let expected: Vec<_> = requests.iter().map(|request| request.token.as_str()).collect();
            assert_eq!(tokens, expected, "the requests in conversation {conversation}");
            for (request, (_, body)) in requests.iter().zip(&found).filter(|(request, _)| !request.way.is_message()) {
                assert_eq!(*body, request.event());
            }
            // The echo says everything once.
            let answers = answers.remove(conversation).unwrap_or_default();
            let answers: Vec<_> = answers.into_iter().map(|(token, _)| token).collect();
            let messages = requests.iter().filter(|request| request.way.is_message());
            let messages: Vec<_> = messages.map(|request| request.token.as_str()).collect();
            assert_eq!(answers, messages, "the answers in conversation {conversation}");
        }
    }
    assert!(found.is_empty() && answers.is_empty(), "nobody sent {found:?} {answers:?}");
    bodies
}

/// The tokens and bodies of the events of two types, by conversation.
fn by_conversation<'a>(bodies: &'a [String], one: &str, other: &str) -> HashMap<String, Vec<(String, &'a str)>> {
    let mut found: HashMap<String, Vec<_>> = HashMap::new();
    for body in bodies {
        let event: Value = serde_json::from_str(body).unwrap();
        let kind = event["event"].as_str().unwrap();
        if kind == one || kind == other {
            let token = event.get("value").or(event.get("text")).unwrap().as_str().unwrap();
            let conversation = event["sender_id"].as_str().unwrap();
            found.entry(conversation.to_owned()).or_default().push((token.to_owned(), body.as_str()));
        }
    }
    found
}

/// Every message that is to be answered is followed by the end of its turn, once.
pub(crate) fn assert_every_message_is_answered(directory: &Path) {
    let connection = Connection::open_with_flags(directory.join("journal.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap();
    let offsets = |sql: &str| -> Vec<u64> {
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let messages = offsets("SELECT offset FROM events WHERE kind = 1 ORDER BY offset");
    let ended = offsets(
        "SELECT CAST(substr(identity, 6) AS INTEGER) FROM events
         WHERE identity GLOB 'turn:*' AND type = 'action' AND body LIKE '%\"action_listen\"%' ORDER BY 1",
    );
    assert_eq!(ended, messages, "the turns that ended and the messages");
}

/// How a list differs from the one expected.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) duplicates: usize,
    pub(crate) missing: usize,
}

impl Difference {
    pub(crate) fn of(found: &[String], expected: &[String]) -> Self {
        let mut counts: HashMap<&str, (usize, usize)> = HashMap::new();
        for body in found {
            counts.entry(body).or_default().0 += 1;
        }
        for body in expected {
            counts.entry(body).or_default().1 += 1;
        }
        let duplicates = counts.values().map(|(found, expected)| found.saturating_sub(*expected)).sum();
        let missing = counts.values().map(|(found, expected)| expected.saturating_sub(*found)).sum();
        Self { duplicates, missing }
    }
}

/// The list is the expected one. The message of a failure is short, because the lists are not.
pub(crate) fn assert_same(what: &str, found: &[String], expected: &[String]) {
    let difference = Difference::of(found, expected);
    assert_eq!(difference, Difference::default(), "{what}");
    if let Some(at) = (0..expected.len()).find(|at| found[*at] != expected[*at]) {
        panic!("{what}: out of order at {at}:\n{}\n{}", found[at], expected[at]);
    }
}

/// Both brokers have what the journal has, in its order, once.
pub(crate) fn assert_brokers_have(expected: &[String], file: &Path, sql: &Path) {
    assert_same("the rows of the SQL broker", &sql_events(sql), expected);
    assert_same("the lines of the file broker", &file_events(file), expected);
}
