//! The commands, as people and scripts run them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use trunkline::{Overrides, Project};
use trunkline_config::{Diagnostics, Style};
use trunkline_core::json::{Layout, lay_out};
use trunkline_core::{NewEvent, Offset};
use trunkline_journal::{Append, DeadLetterState, Journal, NewDeadLetter, Options};

/// What a command printed, and its exit code.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// The standard output of a command that did what it was asked for and had nothing else to say.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    /// The standard error of a command that failed.
    #[track_caller]
    fn failed(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.err
    }
}

/// The program in `directory`, with nothing of our own environment that it looks at.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    for name in ["RUST_LOG", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "AUTH_TOKEN", "JWT_SECRET", "JWT_METHOD", "COLUMNS"] {
        command.env_remove(name);
    }
    command.current_dir(directory).args(arguments).env("TZ", "Europe/Berlin").stdin(Stdio::null());
    command
}

fn run(directory: &Path, arguments: &[&str]) -> Ran {
    run_with(directory, arguments, "")
}

/// With `input` on standard input.
fn run_with(directory: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut command = command(directory, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn event(body: &str) -> NewEvent {
    NewEvent::from_document(&lay_out(body.as_bytes(), Layout::Dumps).unwrap(), None, 1.5).unwrap()
}

/// Does something with the journal of the project in `directory`.
fn with_journal<F: Future>(directory: &Path, work: impl FnOnce(Journal) -> F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let journal = Journal::open(&directory.join(".trunkline"), Options::default()).unwrap();
        let result = work(journal.clone()).await;
        journal.close().await;
        result
    })
}

/// A project with a journal of these events.
fn project(events: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let events = events.iter().map(|body| event(body)).collect();
    with_journal(directory.path(), |journal| async move { journal.append(Append::many(events)).await.unwrap() });
    directory
}

const CONVERSATION: [&str; 4] = [
    r#"{"sender_id": "ann", "event": "user", "timestamp": 1.0, "text": "two pizzas", "x": 1.50}"#,
    r#"{"sender_id": "bob", "event": "user", "timestamp": 2.0, "text": "h\u00e9llo"}"#,
    r#"{"sender_id": "ann", "event": "slot", "timestamp": 3.0, "name": "number", "value": 2}"#,
    r#"{"sender_id": "ann", "event": "bot", "timestamp": 4.0, "text": "Which?", "data": {"buttons": [{}, {}]}}"#,
];

/// A project in which the broker `file` has given up on these events of [`CONVERSATION`].
fn project_with_dead_letters(dead: &'static [Offset]) -> TempDir {
    let directory = project(&CONVERSATION);
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: file}\n").unwrap();
    with_journal(directory.path(), |journal| async move {
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

/// A running gateway; killed at the end of the test that started it.
struct Served {
    child: Child,
    url: String,
}

impl Served {
    fn start(directory: &Path) -> Self {
        let mut command = command(directory, &["serve", "--port", "0", "--interface", "127.0.0.1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.by_ref().find_map(|line| line.unwrap().split_once("listening").map(|(_, url)| url.trim().to_owned())).unwrap();
        Self { child, url }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_commands_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run(directory.path(), &["--help"]).done(), @"");
}

#[test]
fn check_names_every_mistake_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
event_broker:
  - type: file
    paht: events.log
    start: yesterday
  - type: kafka
  - type: sql
    db: 5
    port: 99999
    filter: {typs: [user]}
";
    fs::write(directory.path().join("endpoints.yml"), text).unwrap();
    let ran = run(directory.path(), &["check"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.err, @"");
    insta::assert_snapshot!(ran.out, @"");
    let problems: Value = serde_json::from_str(&run(directory.path(), &["check", "--json"]).out).unwrap();
    assert_eq!(problems.as_array().unwrap().len(), 5);
    assert!(problems.as_array().unwrap().iter().all(|problem| problem["line"].is_number() && problem["column"].is_number()));
}

#[test]
fn a_new_project_is_checked_talked_to_and_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["init", "my pizzeria"]).done();
    insta::assert_snapshot!(made, @"");
    let project = directory.path().join("my pizzeria");
    assert!(run(&project, &["check"]).done().contains("0 errors, 0 warnings"));
    assert_eq!(run_with(&project, &["shell", "--conversation", "ann"], "hello\n\n/quit\nnever said\n").done(), "hello\n");
    let stats: Value = serde_json::from_str(&run(&project, &["journal", "stats", "--json"]).done()).unwrap();
    let published = fs::read_to_string(project.join("rasa_event.log")).unwrap().lines().count();
    assert_eq!(stats["head"], published);
    let subscriptions: Vec<_> = stats["subscriptions"].as_array().unwrap().iter().map(|it| (&it["name"], &it["lag"], &it["unsettled"])).collect();
    assert_eq!(format!("{subscriptions:?}"), r#"[(String("assistant"), Number(0), Number(0)), (String("file"), Number(0), Number(0))]"#);
    assert!(run(&project, &["journal", "stats"]).done().contains("SUBSCRIPTION  POSITION  LAG  UNSETTLED  ACTIVE"));
    assert!(run(&project, &["journal", "verify"]).done().contains(": sound"));
    let conversations = json_lines(&run(&project, &["conversations", "--json"]).done());
    assert_eq!((conversations.len(), &conversations[0]["conversation"], &conversations[0]["last_text"]), (1, &"ann".into(), &"hello".into()));
    assert!(run(directory.path(), &["conversations", "-C", "my pizzeria"]).done().contains("LAST TEXT"));
}

#[test]
fn init_overwrites_nothing() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("credentials.yml"), "mine").unwrap();
    let error = run(directory.path(), &["init", directory.path().to_str().unwrap()]).failed();
    assert!(error.contains("credentials.yml is there already, and nothing was changed"), "{error}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(fs::read_to_string(directory.path().join("credentials.yml")).unwrap(), "mine");
}

#[test]
fn the_example_project_has_no_mistakes() {
    let diagnostics = Diagnostics::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pizzeria");
    let plan = Project::new(example, Overrides::default()).plan(&diagnostics);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
    let brokers: Vec<_> = plan.unwrap().brokers.into_iter().map(|broker| (broker.name, broker.kind)).collect();
    assert_eq!(brokers, [("kitchen".to_owned(), "file"), ("reports".to_owned(), "sql")]);
}

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
    assert_eq!(run(directory.path(), &["journal", "dump", "--from", "5"]).done().lines().collect::<Vec<_>>(), [printed.lines().last().unwrap()]);
}

#[test]
fn tail_selects_and_begins_where_it_is_told() {
    let events: Vec<_> = (1..=30).map(|number| format!(r#"{{"sender_id": "c{}", "event": "user", "text": "n{number}"}}"#, number % 3)).collect();
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
fn dead_letters_are_listed_shown_and_decided_upon_in_the_journal() {
    let directory = project_with_dead_letters(&[1, 3, 4]);
    let ran = |arguments: &[&str]| run(directory.path(), &[&["dead-letters"], arguments].concat());
    let list = json_lines(&ran(&["list", "--json"]).done());
    let ids: Vec<_> = list.iter().map(|letter| (letter["id"].as_i64().unwrap(), letter["offset"].as_i64().unwrap())).collect();
    assert_eq!(ids, [(1, 1), (2, 3), (3, 4)]);
    assert!(ran(&["list"]).done().lines().nth(1).unwrap().ends_with("the disk was on fire"));
    assert_eq!(ran(&["list", "--subscription", "other"]).done(), "There are no dead letters.\n");
    let shown = ran(&["show", "1"]).done();
    assert!(shown.contains("two pizzas") && shown.contains("after 3 attempts"), "{shown}");
    assert!(ran(&["show", "1", "--json"]).done().contains(&format!("\"event\":{}", CONVERSATION[0])));

    assert!(ran(&["replay", "2", "77", "78"]).failed().contains("there is no dead letter 77, 78"));
    assert!(ran(&["replay", "2"]).done().contains("1 dead letter will be delivered again at the next `trunkline serve`"));
    assert_eq!(ran(&["--json", "drop", "3"]).done(), "{\"id\":3,\"state\":\"dropped\"}\n");
    assert_eq!(ran(&["replay", "--all", "--json"]).done(), "{\"id\":1,\"state\":\"replay\"}\n");
    let states: Vec<_> = json_lines(&ran(&["list", "--json"]).done()).iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["replay", "replay"]);
    assert_eq!(ran(&["replay", "--all"]).done(), "There are no dead letters to replay.\n");
    assert_eq!(run(directory.path(), &["dead-letters", "replay"]).code, Some(2));
}

#[test]
fn dead_letters_are_decided_upon_by_a_running_gateway() {
    let directory = project_with_dead_letters(&[1, 3, 4]);
    let served = Served::start(directory.path());
    let ran = |arguments: &[&str]| run(directory.path(), &[&["dead-letters"], arguments].concat());
    assert_eq!(ran(&["drop", "3"]).done(), "1 dead letter dropped.\n");
    assert_eq!(ran(&["replay", "--all"]).done(), "2 dead letters will be delivered again now.\n");
    // The replayed events are delivered before anything that comes later.
    assert_eq!(run_with(directory.path(), &["shell"], "hello\n").done(), "hello\n");
    drop(served);
    let log = fs::read_to_string(directory.path().join("rasa_event.log")).unwrap_or_default();
    assert!(log.contains("two pizzas") && log.contains("\"number\"") && !log.contains("Which?"), "{log}");
}

#[test]
fn what_is_missing_is_said_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in [&["tail"][..], &["conversations"], &["dead-letters", "list"], &["dead-letters", "replay", "1"], &["journal", "stats"]] {
        let error = run(directory.path(), arguments).failed();
        assert!(error.contains("there is no journal in ./.trunkline; `trunkline serve` makes one"), "{error}");
    }
    assert!(!directory.path().join(".trunkline").exists());
    assert!(run(directory.path(), &["tail", "-C", "nowhere"]).failed().contains("nowhere is no directory"));
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
fn a_shell_says_when_it_is_alone() {
    let directory = tempfile::tempdir().unwrap();
    let _other = with_held_journal(directory.path());
    let error = run(directory.path(), &["shell"]).failed();
    assert!(error.contains("another process has the journal"), "{error}");
}

/// A journal that is open in this process, which is no gateway.
fn with_held_journal(directory: &Path) -> Arc<Journal> {
    Arc::new(Journal::open(&directory.join(".trunkline"), Options::default()).unwrap())
}
