//! Sources of a gateway: what they give is appended once, in order, and settled only when it is durable.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod channels;
mod circles;
mod faults;
mod queue;
mod rabbitmq;
mod redis;
mod settings;

use std::future::pending;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use trunkline::{Gateway, Overrides, Plan, Project as Files, SourcePlan, Stopped};
use trunkline_config::Diagnostics;
use trunkline_testkit::{Project, file_events, journal_bodies};

use queue::{Queue, Trouble};

const FIXTURE: &str = include_str!("../fixtures/rasa-3.6.21-events.jsonl");

fn plan(directory: &Path) -> Plan {
    let overrides = Overrides { interface: Some("127.0.0.1".to_owned()), port: Some(0), ..Overrides::default() };
    Files::new(directory, overrides, trunkline::adapters()).plan(&Diagnostics::new()).unwrap()
}

/// A gateway on `project` that reads `queue` under the name `rabbit`.
async fn start(project: &Project, queue: &Queue) -> Gateway {
    let mut plan = plan(project.directory());
    plan.sources.push(SourcePlan { name: "rabbit".to_owned(), kind: "test", source: Arc::new(queue.clone()) });
    Gateway::start(plan).await.unwrap()
}

async fn stop(gateway: Gateway) {
    assert_eq!(gateway.stop(pending()).await, Stopped::Drained);
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let watch = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while !is_so().await {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), watch).await.unwrap_or_else(|_| panic!("not so after a minute: {what}"));
}

async fn get(gateway: &Gateway, path: &str) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("http://{}{path}", gateway.address())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.text().await.unwrap()
}

/// What `/status/ready` says of the source. The gateway is ready whatever the source does.
async fn status(gateway: &Gateway) -> Value {
    let answer: Value = serde_json::from_str(&get(gateway, "/status/ready").await).unwrap();
    assert_eq!(answer["sources"].as_array().unwrap().len(), 1);
    answer["sources"][0].clone()
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = get(gateway, "/metrics").await;
    let name = format!("trunkline_source_{name}{{source=\"rabbit\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("{name} in {text}"));
    line.parse().unwrap()
}

fn event(number: usize) -> String {
    format!(r#"{{"sender_id": "c{}", "event": "user", "timestamp": {number}.5, "text": "n{number}"}}"#, number % 3)
}

/// How many lines of a file are complete; one may just be written.
fn written(log: &Path) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().matches('\n').count()
}

fn bodies(project: &Project) -> Vec<String> {
    journal_bodies(&project.path(".trunkline"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_rasa_published_is_appended_as_it_is_and_published_again() {
    let (project, queue) = (Project::with_brokers(), Queue::default());
    let lines: Vec<_> = FIXTURE.lines().map(str::to_owned).collect();
    for (number, line) in lines.iter().enumerate() {
        queue.push(Some(&format!("m{number}")), line.clone());
    }
    let gateway = start(&project, &queue).await;
    until("everything is settled", async || queue.settled() == lines.len()).await;
    // Settled means durable, whatever happens next.
    assert_eq!(bodies(&project), lines);
    let status = status(&gateway).await;
    assert_eq!((&status["name"], &status["connected"], &status["problem"]), (&"rabbit".into(), &true.into(), &Value::Null));
    assert_eq!(status["received"], lines.len());
    assert_eq!((metric(&gateway, "received_events_total").await, metric(&gateway, "connected").await), (1_106, 1));
    assert_eq!((metric(&gateway, "appended_events_total").await, metric(&gateway, "duplicate_events_total").await), (1_106, 0));
    let log = project.path("events.log");
    until("the broker has it", async || written(&log) == lines.len()).await;
    assert_eq!(file_events(&log), lines);
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_again_is_appended_once() {
    let (project, queue) = (Project::new(), Queue::default());
    let events: Vec<_> = (0..250).map(event).collect();
    for (number, event) in events.iter().enumerate() {
        queue.push(Some(&format!("m{number}")), event.clone());
    }
    // The second time it was appended and not settled, the third time the connection broke first.
    queue.trouble([Trouble::Open, Trouble::Settle, Trouble::Settle, Trouble::Receive, Trouble::Panic, Trouble::Settle]);
    let gateway = start(&project, &queue).await;
    until("everything is settled", async || queue.settled() == events.len()).await;
    assert_eq!(bodies(&project), events);
    assert_eq!(queue.opened(), 7);
    assert_eq!(metric(&gateway, "appended_events_total").await, 250);
    assert_eq!(metric(&gateway, "duplicate_events_total").await, 300);
    // After a restart it is still known.
    stop(gateway).await;
    queue.push(Some("m7"), events[7].clone());
    queue.push(Some("m250"), event(250));
    let gateway = start(&project, &queue).await;
    until("both are settled", async || queue.settled() == 252).await;
    stop(gateway).await;
    assert_eq!(bodies(&project), [events, vec![event(250)]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_an_event_is_known_by_its_content_when_its_time_is_exact() {
    let (project, queue) = (Project::new(), Queue::default());
    let (exact, rounded) = (event(1), event(1).replace("1.5", "1"));
    // As `rasa export` writes it, with the sender at the end.
    let exported = r#"{"event": "user", "timestamp": 1.5, "text": "n1", "sender_id": "c1"}"#;
    let again = r#"{"sender_id": "c1", "event": "user", "timestamp": 1.5, "text": "n1"}"#;
    assert_eq!(exact, again);
    for body in [&exact, &rounded, exported, &event(2)] {
        queue.push(None, body.to_owned());
    }
    queue.trouble([Trouble::Settle]);
    let gateway = start(&project, &queue).await;
    until("they are settled", async || queue.settled() == 4).await;
    assert_eq!(metric(&gateway, "duplicate_events_total").await, 4);
    stop(gateway).await;
    assert_eq!(bodies(&project), [exact, rounded.clone(), event(2), rounded]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_in_a_file_and_holds_up_nothing() {
    let (project, queue) = (Project::new(), Queue::default());
    queue.push(Some("a"), event(1));
    queue.push(Some("b"), "no JSON");
    queue.push(None, r#"{"event": "user"}"#);
    queue.push(None, &b"\xff\xfe"[..]);
    queue.push(Some("c"), event(2));
    let gateway = start(&project, &queue).await;
    until("everything is settled", async || queue.settled() == 5).await;
    assert_eq!(metric(&gateway, "rejected_events_total").await, 3);
    stop(gateway).await;
    assert_eq!(bodies(&project), [event(1), event(2)]);
    let text = std::fs::read_to_string(project.path(".trunkline/rejected/rabbit.jsonl")).unwrap();
    let kept: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&kept[0]["origin"], &kept[0]["id"], &kept[0]["body"]), (&"message 2".into(), &"b".into(), &"no JSON".into()));
    assert!(kept[1]["reason"].as_str().unwrap().contains("`sender_id`"), "{text}");
    assert_eq!((&kept[2]["body_base64"], kept.len()), (&"//4=".into(), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_down_is_reported_and_tried_again() {
    let (project, queue) = (Project::new(), Queue::default());
    queue.trouble([Trouble::Open; 4]);
    let gateway = start(&project, &queue).await;
    until("it is reported", async || status(&gateway).await["problem"] == "the queue is shut").await;
    queue.push(Some("a"), event(1));
    until("it is settled", async || queue.settled() == 1).await;
    let last = status(&gateway).await;
    assert_eq!((&last["connected"], &last["problem"]), (&true.into(), &Value::Null));
    queue.end();
    until("it has ended", async || status(&gateway).await["connected"] == false).await;
    assert_eq!(status(&gateway).await["problem"], Value::Null);
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_journal_is_full_nothing_is_settled_and_nothing_is_lost() {
    let project = Project::with_brokers().file("trunkline.yml", "journal:\n  max_size: 1MiB\n");
    let queue = Queue::default();
    let gateway = start(&project, &queue).await;
    queue.push(Some("first"), event(0));
    let database = project.path("events.db");
    until("the brokers have the first", async || {
        database.exists() && Connection::open(&database).unwrap().query_row("SELECT 1 FROM events", (), |_| Ok(())).is_ok()
    })
    .await;
    // A dead broker keeps the journal from deleting anything.
    let lock = Connection::open(&database).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let filler = "x".repeat(2_000);
    let mut events: Vec<String> = Vec::new();
    let push = |events: &mut Vec<String>| {
        for number in events.len() + 1..=events.len() + 200 {
            let event = event(number).replace("\"n", &format!("\"{filler} n"));
            queue.push(Some(&format!("m{number}")), event.clone());
            events.push(event);
        }
    };
    let problem = async || {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/status/ready", gateway.address())).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["sources"][0]["problem"].as_str().unwrap_or_default().to_owned()
    };
    until("the journal is full", async || {
        push(&mut events);
        // At first it may name another broker, whose cursor was not stored yet.
        let problem = problem().await;
        problem.contains("takes no events") && problem.contains("`sql`")
    })
    .await;
    // The first is gone by then, so it is the offset that counts.
    let (settled, appended) = (queue.settled(), usize::try_from(gateway.partitions().home().journal().head()).unwrap());
    assert!(settled <= appended && appended <= events.len(), "{settled} settled, {appended} appended of {}", events.len());
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    until("everything is settled", async || queue.settled() == events.len() + 1).await;
    let log = project.path("events.log");
    until("the broker has it", async || written(&log) == events.len() + 1).await;
    assert_eq!(file_events(&log)[1..], events);
    stop(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_leaves_nothing_between_the_source_and_the_journal() {
    let (project, queue) = (Project::new(), Queue::default());
    for number in 0..5_000 {
        queue.push(Some(&format!("m{number}")), event(number));
    }
    let gateway = start(&project, &queue).await;
    until("it has begun", async || queue.settled() > 0).await;
    stop(gateway).await;
    assert_eq!(bodies(&project).len(), queue.settled());
    let gateway = start(&project, &queue).await;
    until("everything is settled", async || queue.settled() == 5_000).await;
    stop(gateway).await;
    assert_eq!(bodies(&project), (0..5_000).map(event).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_published_itself_makes_no_circle() {
    let (project, queue) = (Project::new(), Queue::default());
    let gateway = start(&project, &queue).await;
    queue.push(Some("m"), event(1));
    until("it is settled", async || queue.settled() == 1).await;
    let own = gateway.partitions().home().journal().event(1).await.unwrap().unwrap();
    queue.push(Some(&own.id.to_string()), own.body.clone());
    queue.push(Some("n"), event(2));
    until("everything is settled", async || queue.settled() == 3).await;
    assert_eq!(metric(&gateway, "duplicate_events_total").await, 1);
    stop(gateway).await;
    assert_eq!(bodies(&project), [event(1), event(2)]);
}
