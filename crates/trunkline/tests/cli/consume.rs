//! `consume`, from a real Redis and from what the project's own brokers published.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use trunkline_testkit::{journal_bodies, services};

use crate::common::{CONVERSATION, Ran, Served, command, project, run};
use crate::export::until;

/// Sends one command to the shared Redis.
pub(crate) fn redis(arguments: &[&str]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", services::port("redis"))).unwrap();
    let parts = arguments.iter().map(|argument| format!("${}\r\n{argument}\r\n", argument.len()));
    let request = format!("*{}\r\n{}", arguments.len(), parts.collect::<String>());
    stream.write_all(request.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert!(!line.starts_with('-'), "{arguments:?}: {line}");
    line
}

fn address() -> String {
    format!("redis://127.0.0.1:{}", services::port("redis"))
}

/// A key that nobody else uses.
fn key(test: &str) -> String {
    format!("cli:{test}:{}", fastrand::u64(..))
}

/// A project whose events were published to the key.
fn published(key: &str, structure: &str) -> TempDir {
    let directory = project(&CONVERSATION);
    let broker = format!("event_broker: {{type: redis, url: \"{}\", key: \"{key}\", structure: {structure}}}\n", address());
    fs::write(directory.path().join("endpoints.yml"), broker).unwrap();
    let ran = run(directory.path(), &["export"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    directory
}

fn consume(directory: &Path, arguments: &[&str]) -> Ran {
    run(directory, &[&["consume"], arguments].concat())
}

fn spawn(directory: &Path, arguments: &[&str]) -> Child {
    let mut command = command(directory, &[&["consume"], arguments].concat());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Interrupts it as Ctrl-C does, and gives what it had to say.
fn interrupted(mut child: Child) -> (Option<i32>, String) {
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::INT).unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    (child.wait().unwrap().code(), errors)
}

#[test]
fn what_was_published_is_printed_as_it_came_and_settled() {
    for structure in ["stream", "list"] {
        let key = key(structure);
        let directory = published(&key, structure);
        let option = format!("structure={structure}");
        let arguments = [&address(), "--key", &key, "--option", &option, "--json"];
        let mut child = spawn(directory.path(), &arguments);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for expected in CONVERSATION {
            assert_eq!(lines.next().unwrap().unwrap(), expected);
        }
        let more = r#"{"sender_id": "eve", "event": "restart", "timestamp": 9.0}"#;
        match structure {
            "stream" => redis(&["XADD", &key, "*", "data", more]),
            _ => redis(&["RPUSH", &key, more]),
        };
        assert_eq!(lines.next().unwrap().unwrap(), more);
        let (code, errors) = interrupted(child);
        assert_eq!((code, errors.as_str()), (Some(0), "trunkline: 5 messages\n"));
        redis(&["DEL", &key]);
    }
}

#[test]
fn an_end_after_some_messages_gives_the_rest_back() {
    let key = key("count");
    let directory = published(&key, "stream");
    let ran = consume(directory.path(), &[&address(), "--key", &key, "--json", "--count", "2"]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}\n{}\n", CONVERSATION[0], CONVERSATION[1])));
    // They came together with others that were not printed.
    let ran = consume(directory.path(), &[&address(), "--key", &key, "--json", "--count", "4"]);
    assert_eq!((ran.code, ran.out.lines().count(), ran.err.as_str()), (Some(0), 4, "trunkline: 4 messages\n"));
    redis(&["DEL", &key]);
}

#[test]
fn people_get_lines_and_what_is_no_event_is_shown_as_such() {
    let key = key("pretty");
    let directory = published(&key, "list");
    redis(&["RPUSH", &key, "no JSON \u{1b}[2J"]);
    redis(&["RPUSH", &key, "{\"event\":\n\"user\"}"]);
    let ran = consume(directory.path(), &[&address(), "--key", &key, "--option", "structure=list", "--count", "6"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines[0], "1970-01-01 01:00:01.000        1  ann  user      two pizzas");
    assert_eq!(lines[3], "1970-01-01 01:00:04.000        4  ann  bot       Which? [2 buttons]");
    assert!(lines[4].contains("no event  (no JSON: ") && lines[4].ends_with("no JSON \\u{1b}[2J"), "{}", lines[4]);
    assert!(lines[5].contains("no event  (an event needs a member `sender_id`"), "{}", lines[5]);
    redis(&["DEL", &key]);
}

#[test]
fn a_file_is_followed_from_its_beginning() {
    let directory = project(&CONVERSATION);
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: file, path: events.log}\n").unwrap();
    assert_eq!(run(directory.path(), &["export"]).code, Some(0));
    for arguments in [["events.log", "--json"], ["file:events.log", "--json"], ["--broker=file", "--json"]] {
        let mut child = spawn(directory.path(), &arguments);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for expected in CONVERSATION {
            assert_eq!(lines.next().unwrap().unwrap(), expected);
        }
        assert_eq!(interrupted(child), (Some(0), "trunkline: 4 messages\n".to_owned()));
    }
}

#[test]
fn a_table_is_followed_from_its_beginning_and_nothing_is_stored_beside_it() {
    let directory = project(&CONVERSATION);
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: sql, db: events.db}\n").unwrap();
    assert_eq!(run(directory.path(), &["export"]).code, Some(0));
    for place in [&["sqlite:///events.db", "--table", "events"][..], &["sqlite:///events.db"], &["--broker", "sql"]] {
        let ran = consume(directory.path(), &[place, &["--json", "--count", "4"]].concat());
        assert_eq!((ran.code, ran.out.lines().collect::<Vec<_>>()), (Some(0), CONVERSATION.to_vec()), "{}", ran.err);
    }
    let database = rusqlite::Connection::open(directory.path().join("events.db")).unwrap();
    let positions = "SELECT count(*) FROM sqlite_master WHERE name = 'trunkline_positions'";
    assert_eq!(database.query_row(positions, (), |row| row.get::<_, u32>(0)).unwrap(), 0);
}

#[test]
fn a_queue_of_a_real_rabbitmq_is_read_and_emptied() {
    let directory = project(&CONVERSATION);
    let (port, name) = (services::port("rabbitmq"), format!("consume-{}", fastrand::u64(..)));
    let (user, password) = (services::USER, services::PASSWORD);
    let broker = format!(
        "event_broker:\n  url: 127.0.0.1\n  port: {port}\n  username: {user}\n  password: {password}\n  exchange_name: {name}\n  queues: {name}\n"
    );
    fs::write(directory.path().join("endpoints.yml"), broker).unwrap();
    assert_eq!(run(directory.path(), &["check", "--connect"]).code, Some(0));
    assert_eq!(run(directory.path(), &["export"]).code, Some(0));
    let address = format!("amqp://{user}:a%20secret%2F50%25@127.0.0.1:{port}");
    let ran = consume(directory.path(), &[&address, "--queue", &name, "--json", "--count", "4"]);
    assert_eq!((ran.code, ran.out.lines().collect::<Vec<_>>()), (Some(0), CONVERSATION.to_vec()), "{}", ran.err);
    assert_eq!(run(directory.path(), &["export", "--conversation-ids", "bob"]).code, Some(0));
    let ran = consume(directory.path(), &["--broker", "pika", "--json", "--count", "1"]);
    assert_eq!((ran.code, ran.out), (Some(0), format!("{}\n", CONVERSATION[1])), "{}", ran.err);

    let error = consume(directory.path(), &[&address.replace("50%25", "60%25"), "--queue", &name]).failed();
    assert!(error.contains("127.0.0.1") && !error.contains("secret"), "{error}");
    let error = consume(directory.path(), &[&address, "--queue", "consume-nobody-made-it"]).failed();
    assert!(error.contains("consume-nobody-made-it"), "{error}");
}

#[test]
fn brokers_and_sources_of_the_project_are_read_by_name() {
    let key = key("named");
    let directory = published(&key, "stream");
    let source = format!("sources: [{{name: in, type: redis, url: \"{}\", key: \"{key}\", group: other}}]\n", address());
    fs::write(directory.path().join("trunkline.yml"), source).unwrap();
    for arguments in [["--broker", "redis"], ["--source", "in"]] {
        let ran = consume(directory.path(), &[&arguments[..], &["--json", "--count", "4"]].concat());
        assert_eq!((ran.code, ran.out.lines().collect::<Vec<_>>()), (Some(0), CONVERSATION.to_vec()), "{arguments:?}");
    }
    let failed = |arguments: &[&str]| consume(directory.path(), arguments).failed();
    let error = failed(&["--broker", "kafka"]);
    assert!(error.contains("endpoints.yml:1:1: event_broker: there is no broker `kafka`; there are: redis"), "{error}");
    fs::write(directory.path().join("other.yml"), "event_broker: {type: file}\n").unwrap();
    let error = failed(&["--broker", "kafka", "--endpoints", "other.yml"]);
    assert!(error.contains("other.yml:1:1: event_broker: there is no broker `kafka`; there are: file"), "{error}");
    assert!(failed(&["--source", "out"]).contains("there is no source `out` in trunkline.yml; there are: in"));
    let ran = run(directory.path(), &["check", "--connect"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.contains("sources    in (redis)\n") && ran.out.contains("source     in (redis): ok\n"), "{ran:?}");
    redis(&["DEL", &key]);
}

#[test]
fn what_is_consumed_from_a_broker_is_not_taken_from_a_gateway_that_reads_there() {
    let key = key("beside");
    // The gateway of another project has the stream as a source.
    let (directory, reader) = (published(&key, "stream"), tempfile::tempdir().unwrap());
    let source = format!("sources: {{type: redis, url: \"{}\", key: \"{key}\"}}\n", address());
    fs::write(reader.path().join("trunkline.yml"), source).unwrap();
    let ran = consume(directory.path(), &["--broker", "redis", "--json", "--count", "4"]);
    assert_eq!((ran.code, ran.out.lines().collect::<Vec<_>>()), (Some(0), CONVERSATION.to_vec()), "{}", ran.err);
    let _served = Served::start(reader.path());
    let journal = reader.path().join(".trunkline");
    until("the gateway has what was consumed", || journal_bodies(&journal).len() == CONVERSATION.len());
    assert_eq!(journal_bodies(&journal), CONVERSATION);
    redis(&["DEL", &key]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let key = key("pipe");
    let directory = published(&key, "stream");
    let mut child = spawn(directory.path(), &[&address(), "--key", &key, "--json"]);
    drop(BufReader::new(child.stdout.take().unwrap()).lines().next());
    // The next line finds nobody.
    redis(&["XADD", &key, "*", "data", CONVERSATION[0]]);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
    redis(&["DEL", &key]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let failed = |arguments: &[&str]| consume(directory.path(), arguments).failed();
    let error = failed(&["redis://127.0.0.1:1", "--key", "k"]);
    assert!(error.contains("127.0.0.1:1"), "{error}");
    let error = failed(&["redis://localhost", "--key", "k", "--option", "structur=list"]);
    assert!(error.contains("unknown key `structur`; did you mean `structure`?"), "{error}");
    let error = failed(&["redis://localhost", "--queue", "q"]);
    assert!(error.contains("--queue says nothing to redis://, which takes --key"), "{error}");
    assert!(failed(&["http://localhost"]).contains("`http://` is not known; known are amqp://"));
    assert_eq!(consume(directory.path(), &[]).code, Some(2));
    assert_eq!(consume(directory.path(), &["redis://localhost", "--option", "x"]).code, Some(2));
    assert_eq!(consume(directory.path(), &["redis://localhost", "--source", "x"]).code, Some(2));
}
