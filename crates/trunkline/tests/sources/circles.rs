//! A source must not read what a broker of the same gateway writes, where nothing tells its events from others.

use std::os::unix::fs::symlink;

use trunkline::gateway::Contradiction;
use trunkline::{Gateway, Overrides, Project as Files, StartError};
use trunkline_config::{Diagnostics, Style};
use trunkline_testkit::Project;

use super::plan;

#[test]
fn a_source_that_reads_what_a_broker_writes_is_refused() {
    let brokers = "\
event_broker:
  - {name: log, type: file, path: events.log}
  - {name: table, type: sql, db: events.db}
  - {name: list, type: redis, url: \"redis://localhost\", key: out, structure: list}
  - {name: stream, type: redis, url: \"redis://localhost\", key: news}
";
    let sources = "\
sources:
  - {name: a, type: file, path: logs/../events.log}
  - {name: b, type: sql, db: ./events.db}
  - {name: c, type: redis, url: \"redis://localhost\", key: out, structure: list}
  - {name: d, type: file, path: logs/events.log}
  - {name: e, type: sql, db: events.db, table: others}
  - {name: f, type: redis, url: \"redis://localhost\", key: in, structure: list}
  - {name: g, type: redis, url: \"redis://localhost\", key: news}
";
    let project = Project::new().file("endpoints.yml", brokers).file("trunkline.yml", sources);
    let diagnostics = Diagnostics::new();
    assert!(Files::new(project.directory(), Overrides::default(), trunkline::adapters()).plan(&diagnostics).is_none());
    let text = diagnostics.render(Style::Plain).replace(&format!("{}/", project.directory().display()), "");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    let expected = [
        "trunkline.yml:2:15: sources[0].type: broker `log` writes to the file events.log; every event would be appended again, for ever",
        "trunkline.yml:3:15: sources[1].type: broker `table` writes to the table events in the SQLite database `events.db`; every",
        "trunkline.yml:4:15: sources[2].type: broker `list` writes to the list `out` of ",
    ];
    assert_eq!(errors.len(), expected.len(), "{text}");
    for (error, expected) in errors.iter().zip(expected) {
        assert!(error.starts_with(&format!("error: {expected}")), "{error}\nis not\n{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_under_two_names_is_found_out_at_the_start() {
    let sources = "sources: {name: in, type: file, path: link.log}\n";
    let project = Project::with_brokers().file("trunkline.yml", sources).file("events.log", "");
    symlink("events.log", project.path("link.log")).unwrap();
    let error = Gateway::start(plan(project.directory())).await.unwrap_err();
    assert!(matches!(&error, StartError::Contradiction(Contradiction::Circle { .. })), "{error}");
    assert!(error.to_string().starts_with("source `in` reads the file that broker `file` writes; "), "{error}");
}
