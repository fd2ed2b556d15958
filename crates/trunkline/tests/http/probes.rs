//! Probes and metrics.

use trunkline_testkit::Project;

use crate::support::{start_on, start_with};

#[tokio::test]
async fn the_probes_answer_with_and_without_the_api() {
    let project = Project::with_brokers();
    let program = start_with(&project, &[]).await;
    assert_eq!(program.get("/status/live").await.json(), serde_json::json!({"status": "live"}));
    let ready = program.get("/status/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &"ready".into()));
    let names: Vec<_> = ready.json()["subscriptions"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["assistant", "file", "sql"]);
}

#[tokio::test]
async fn metrics_are_open_metrics_text_with_the_promised_families() {
    let (_project, program) = start_on("").await;
    program.say("u", "hello").await;
    program.settled().await;
    let answer = program.get("/metrics").await;
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = &answer.body;
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut families = Vec::new();
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(described) = line.strip_prefix("# ") {
            let mut words = described.splitn(3, ' ');
            let (what, family) = (words.next().unwrap(), words.next().unwrap());
            assert!(matches!(what, "HELP" | "TYPE" | "UNIT") && words.next().is_some(), "{line}");
            if what == "TYPE" {
                families.push(family);
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(series.starts_with(families.last().unwrap()), "{line} stands outside its family");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
    }
    for family in [
        "trunkline_journal_appended_events",
        "trunkline_journal_commit_events",
        "trunkline_journal_commit_seconds",
        "trunkline_journal_head_offset",
        "trunkline_subscription_lag_events",
        "trunkline_subscription_delivered_events",
        "trunkline_subscription_retried_events",
        "trunkline_subscription_dead_events",
        "trunkline_http_request_seconds",
    ] {
        assert!(families.contains(&family), "{family}: {families:?}");
    }
    for series in [
        "trunkline_journal_appended_events_total 6",
        "trunkline_subscription_delivered_events_total{subscription=\"file\"} 6",
        "trunkline_subscription_lag_events{subscription=\"sql\"} 0",
        "trunkline_http_request_seconds_count{route=\"/webhooks\",status=\"200\"} 1",
    ] {
        assert!(text.lines().any(|line| line == series), "{series}: {text}");
    }
}
