//! `--help`, `check`, `init`, and a project from its beginning.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use trunkline::{Overrides, Project};
use trunkline_config::{Diagnostics, Style};
use trunkline_journal::{Journal, Options};

use crate::common::{command, json_lines, run, run_with};

#[test]
fn the_commands_are_explained() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(run(directory.path(), &["--help"]).done(), @r"
    The event gateway for conversational assistants

    Usage: trunkline <COMMAND>

    Commands:
      serve          Run the gateway
      check          Read the files of a project and say what is wrong
      init           Make a project with commented files
      shell          Talk to the assistant in the terminal
      tail           Follow the journal
      conversations  List the conversations, those with the newest events first
      dead-letters   Look at the events that a subscription gave up on, and decide about them
      export         Replay events of the past to one broker
      consume        Follow a broker: print the events that it gives
      journal        Look at the journal itself
      completions    Print a script that completes commands in a shell
      help           Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version
    ");
}

#[test]
fn check_names_every_mistake_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
event_broker:
  - type: file
    paht: events.log
    start: yesterday
  - type: redis
  - type: sql
    db: 5
    port: 99999
    filter: {typs: [user]}
";
    fs::write(directory.path().join("endpoints.yml"), text).unwrap();
    let ran = run(directory.path(), &["check"]);
    assert_eq!(ran.code, Some(1));
    insta::assert_snapshot!(ran.err, @r#"
    error: endpoints.yml:3:5: event_broker[0].paht: unknown key `paht`
      3 |     paht: …
        |     ^^^^
      hint: did you mean `path`?

    error: endpoints.yml:4:12: event_broker[0].start: expected one of now, beginning, found "yesterday"
      4 |     start: yesterday
        |            ^^^^^^^^^

    error: endpoints.yml:5:5: event_broker[1].url: required key is missing
      5 |   - type: …
        |     ^^^^
      hint: add `url: …`

    error: endpoints.yml:8:11: event_broker[2].port: expected a port number from 1 to 65535, found 99999
      8 |     port: 99999
        |           ^^^^^

    error: endpoints.yml:9:14: event_broker[2].filter.typs: unknown key `typs`
      9 |     filter: {typs: …
        |              ^^^^
      hint: did you mean `types`?
    "#);
    insta::assert_snapshot!(ran.out, @"5 errors, 0 warnings");
    let problems: Value = serde_json::from_str(&run(directory.path(), &["check", "--json"]).out).unwrap();
    assert_eq!(problems.as_array().unwrap().len(), 5);
    assert!(problems.as_array().unwrap().iter().all(|problem| problem["line"].is_number() && problem["column"].is_number()));
}

#[test]
fn names_waits_and_sizes_are_those_that_can_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let text = "\
event_broker:
  - {type: file, name: assistant}
  - {type: file, name: ''}
  - {type: file, name: a b}
  - {type: file, name: z, batch: {bytes: 1}, retry: {initial: 0, timeout: 0}}
  - {type: file, name: x, batch: {bytes: 1 GiB}, retry: {initial: 2h, most: 2d, timeout: 2h}}
  - {type: file, name: y, batch: {bytes: 1 KiB}, retry: {initial: 1ms, most: 24h, timeout: 100ms}}
";
    fs::write(directory.path().join("endpoints.yml"), text).unwrap();
    let ran = run(directory.path(), &["check"]);
    let errors: Vec<_> = ran.err.lines().filter(|line| line.starts_with("error: ")).collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    error: endpoints.yml:2:18: event_broker[0].name: no broker can be called `assistant`
    error: endpoints.yml:3:24: event_broker[1].name: expected 1 to 64 letters, digits, `-`, `_` and `.`, the first not a `.`, found ""
    error: endpoints.yml:4:24: event_broker[2].name: expected 1 to 64 letters, digits, `-`, `_` and `.`, the first not a `.`, found "a b"
    error: endpoints.yml:5:42: event_broker[3].batch.bytes: expected a size from 1 KiB to 64 MiB, found 1
    error: endpoints.yml:5:63: event_broker[3].retry.initial: expected a duration from 1 ms to 1 h, found 0
    error: endpoints.yml:5:75: event_broker[3].retry.timeout: expected a duration from 100 ms to 1 h, found 0
    error: endpoints.yml:6:42: event_broker[4].batch.bytes: expected a size from 1 KiB to 64 MiB, found "1 GiB"
    error: endpoints.yml:6:67: event_broker[4].retry.initial: expected a duration from 1 ms to 1 h, found "2h"
    error: endpoints.yml:6:77: event_broker[4].retry.most: expected a duration from 1 ms to 24 h, found "2d"
    error: endpoints.yml:6:90: event_broker[4].retry.timeout: expected a duration from 100 ms to 1 h, found "2h"
    "#);
    assert!(ran.err.contains("hint: the assistant's own cursor is stored under it; give the broker another name"), "{ran:?}");
    assert!(ran.err.contains("hint: the cursor of a broker is stored under it"), "{ran:?}");
}

#[test]
fn a_type_that_nobody_knows_is_a_warning_and_its_broker_gets_what_it_missed_later() {
    let directory = tempfile::tempdir().unwrap();
    let endpoints = |text: &str| fs::write(directory.path().join("endpoints.yml"), text).unwrap();
    let active = || {
        let stats: Value = serde_json::from_str(&run(directory.path(), &["journal", "stats", "--json"]).out).unwrap();
        let subscriptions = stats["subscriptions"].as_array().unwrap().iter();
        let active = subscriptions.filter(|it| it["active"] == true).map(|it| it["name"].as_str().unwrap().to_owned());
        active.collect::<Vec<_>>()
    };
    // It starts a gateway for the time, and stops it.
    let serve = || assert_eq!(run(directory.path(), &["shell"]).code, Some(0));
    endpoints("event_broker: [{type: file}, {type: sql, name: audit, db: audit.db}, {type: file, name: old, path: old.log}]\n");
    serve();
    assert_eq!(active(), ["assistant", "audit", "file", "old"]);
    endpoints("event_broker: [{type: fiel}, {type: slq, name: audit, db: audit.db}]\n");
    serve();
    // Nothing that they have not got is removed from the journal.
    assert_eq!(active(), ["assistant", "audit", "file"]);

    let ran = run(directory.path(), &["check"]);
    assert_eq!((ran.code, ran.out.lines().last()), (Some(0), Some("0 errors, 2 warnings")), "{ran:?}");
    assert!(ran.err.contains("unknown broker type `slq`; did you mean `sql`?"), "{ran:?}");
    assert_eq!(run(directory.path(), &["check", "--strict"]).code, Some(1));
    assert_eq!(run(directory.path(), &["check", "--strict", "--connect", "--json"]).code, Some(1));
    endpoints("event_broker: {type: file}\n");
    run(directory.path(), &["check", "--strict"]).done();
}

#[test]
fn a_verdict_does_not_need_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("endpoints.yml"), "event_broker: {type: file, paht: x}\n").unwrap();
    for arguments in [&["check"][..], &["check", "--json"]] {
        let mut child = command(directory.path(), arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(1), "{arguments:?}");
    }
}

#[test]
fn a_new_project_is_checked_talked_to_and_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let made = run(directory.path(), &["init", "my pizzeria"]).done();
    insta::assert_snapshot!(made, @r"
    Made a project in my pizzeria:
      endpoints.yml    where events are published
      credentials.yml  where people write
      trunkline.yml    all else
    Next:
      trunkline check 'my pizzeria'  says what is wrong with the files
      trunkline serve 'my pizzeria'  runs the gateway
      trunkline shell 'my pizzeria'  talks to the assistant in the terminal
    ");
    let project = directory.path().join("my pizzeria");
    assert!(run(&project, &["check"]).done().contains("0 errors, 0 warnings"));
    assert_eq!(run_with(&project, &["shell", "--conversation", "ann"], "hello\n\n/quit\nnever said\n").done(), "hello\n");
    let stats: Value = serde_json::from_str(&run(&project, &["journal", "stats", "--json"]).done()).unwrap();
    assert_eq!(stats["head"], run(&project, &["journal", "dump"]).done().lines().count());
    let subscriptions: Vec<_> =
        stats["subscriptions"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(subscriptions, ["assistant", "file"]);
    assert!(run(&project, &["journal", "stats"]).done().contains("SUBSCRIPTION  POSITION  LAG  UNSETTLED  ACTIVE"));
    assert!(run(&project, &["journal", "verify"]).done().contains(": sound"));
    let conversations = json_lines(&run(&project, &["conversations", "--json"]).done());
    assert_eq!(
        (conversations.len(), &conversations[0]["conversation"], &conversations[0]["last_text"]),
        (1, &"ann".into(), &"hello".into())
    );
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
    let plan = Project::new(example, Overrides::default(), trunkline::adapters()).plan(&diagnostics);
    assert!(diagnostics.is_empty(), "{}", diagnostics.render(Style::Plain));
    let brokers: Vec<_> = plan.unwrap().brokers.into_iter().map(|broker| (broker.subscription.name, broker.kind)).collect();
    assert_eq!(brokers, [("kitchen".to_owned(), "file"), ("reports".to_owned(), "sql")]);
}

#[test]
fn the_examples_of_the_manual_have_no_mistakes() {
    for (page, file) in [("export.md", "endpoints.yml"), ("sources.md", "trunkline.yml")] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page)).unwrap();
        let examples: Vec<_> = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!examples.is_empty());
        for example in examples {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(file), example).unwrap();
            let mut check = command(directory.path(), &["check"]);
            let output = check.env("DB_PASSWORD", "x").env("RABBIT_PASSWORD", "x").output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert!(printed.ends_with("0 errors, 0 warnings\n"), "{page}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

#[test]
fn what_is_missing_is_said_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    for arguments in
        [&["tail"][..], &["conversations"], &["dead-letters", "list"], &["dead-letters", "replay", "1"], &["journal", "stats"]]
    {
        let error = run(directory.path(), arguments).failed();
        assert!(error.contains("there is no journal in ./.trunkline; `trunkline serve` makes one"), "{error}");
    }
    assert!(!directory.path().join(".trunkline").exists());
    assert!(run(directory.path(), &["tail", "-C", "nowhere"]).failed().contains("nowhere is no directory"));
}

#[test]
fn a_journal_that_another_program_has_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    // This process has it, and is no gateway.
    let _other = Journal::open(&directory.path().join(".trunkline"), Options::default()).unwrap();
    let error = run(directory.path(), &["shell"]).failed();
    assert!(error.contains("another process has the journal"), "{error}");
}
