//! Sources: what they give is appended once, and where they were is known.

use std::sync::Arc;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use trunkline_conversation::sources::{self, Metrics, RunningSource};
use trunkline_journal::{Options, Status};

use crate::common::{Answered, Batches, Parrot, event, eventually, received, user};

fn start(answered: &Answered, source: &Batches) -> (RunningSource, CancellationToken) {
    start_counted(answered, source, &Metrics::default())
}

fn start_counted(answered: &Answered, source: &Batches, metrics: &Metrics) -> (RunningSource, CancellationToken) {
    let stop = CancellationToken::new();
    let running = sources::start("log".into(), Arc::new(source.clone()), answered.partitions.clone(), metrics, stop.clone());
    (running, stop)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_is_kept_with_what_was_read_and_given_back() {
    let (answered, source) = (Answered::in_memory(Options::default(), Parrot::default()).await.0, Batches::default());
    source.push(vec![received(Some("1"), &user("ann", "1")), received(Some("2"), "no event")]);
    let (running, stop) = start(&answered, &source);
    eventually(async || source.settled() == 2).await;
    stop.cancel();
    running.ended().await;
    assert_eq!(answered.journal().position("log").await.unwrap().as_deref(), Some("2"));
    let (running, stop) = start(&answered, &source);
    eventually(async || source.opened_at().len() == 2).await;
    assert_eq!(source.opened_at(), [None, Some("2".to_owned())]);
    stop.cancel();
    running.ended().await;
    assert_eq!(answered.journal().head(), 1);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_recorded_is_handed_in_again_and_recorded_once() {
    for is_recorded in [true, false] {
        let (answered, faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
        let source = Batches::default();
        faults.lose_sight(is_recorded);
        source.push((1..=3).map(|number| received(Some(&number.to_string()), &user("ann", &number.to_string()))).collect());
        let (running, stop) = start(&answered, &source);
        eventually(async || source.settled() == 3).await;
        stop.cancel();
        running.ended().await;
        assert_eq!((answered.journal().head(), answered.journal().status()), (3, Status::Available));
        answered.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nested_event_without_an_id_of_the_source_is_known_by_its_own() {
    let (answered, source) = (Answered::in_memory(Options::default(), Parrot::default()).await.0, Batches::default());
    let nested = |order: &str| match order {
        "one" => r#"{"conversation_id": "ann", "timestamp": 1.5, "event_id": "e-1", "user": {"text": "hi"}, "user_id": "al"}"#,
        _ => r#"{"user_id": "al", "conversation_id": "ann", "user": {"text": "hi"}, "event_id": "e-1", "timestamp": 1.5}"#,
    };
    let anonymized =
        r#"{"conversation_id": "ann", "timestamp": 1.5, "event_id": "e-1", "user": {"text": "h", "anonymized_at": 2.0}}"#;
    source.push(vec![received(None, nested("one")), received(None, nested("other")), received(None, anonymized)]);
    let (running, stop) = start(&answered, &source);
    eventually(async || source.settled() == 3).await;
    stop.cancel();
    running.ended().await;
    let events = answered.events().await;
    let bodies: Vec<_> = events.iter().map(|event| event.body_str()).collect();
    assert_eq!(bodies, [nested("one"), anonymized]);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_one_batch_has_the_channel_that_comes_behind_it() {
    let (answered, source) = (Answered::in_memory(Options::default(), Parrot::default()).await.0, Batches::default());
    source.push(vec![
        received(Some("1"), &event("ann", "session_started", "")),
        received(Some("2"), &event("bob", "session_started", "")),
        received(Some("3"), &user("ann", "hi")),
    ]);
    let (running, stop) = start(&answered, &source);
    eventually(async || source.settled() == 3).await;
    stop.cancel();
    running.ended().await;
    let channels: Vec<_> = answered.events().await.iter().map(|event| event.channel.clone().unwrap_or_default()).collect();
    assert_eq!(channels, ["rest", "", "rest"]);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_here_is_left_out_when_it_comes_back() {
    let (answered, source) = (Answered::in_memory(Options::default(), Parrot::default()).await.0, Batches::default());
    answered.carry(&[user("ann", "hi")], None).await;
    let own = answered.events().await[0].id.to_string();
    // The id of an event that is not here is that of another.
    let other = answered.events().await[0].clone();
    let other = trunkline_core::EventId::derive(answered.journal().id(), other.time, 99).to_string();
    source.push(vec![received(Some(&own), &user("ann", "hi")), received(Some(&other), &user("ann", "new"))]);
    let (running, stop) = start(&answered, &source);
    eventually(async || source.settled() == 2).await;
    let status = running.status();
    assert_eq!((status.name.as_str(), status.connected, status.received, status.problem), ("log", true, 2, None));
    stop.cancel();
    running.ended().await;
    assert_eq!(answered.journal().head(), 2);
    assert!(!running.status().connected);
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_waits_while_nothing_can_be_recorded_and_says_why() {
    let (answered, faults) = Answered::in_memory(Options::default(), Parrot::default()).await;
    let source = Batches::default();
    faults.refuse();
    source.push(vec![received(Some("1"), &user("ann", "hi"))]);
    let (running, stop) = start(&answered, &source);
    let problem = || running.status().problem;
    eventually(async || problem().as_deref().is_some_and(|problem| problem.contains("the disk is full"))).await;
    assert_eq!((source.settled(), running.status().connected), (0, true));
    faults.mend();
    eventually(async || source.settled() == 1).await;
    assert_eq!((problem(), answered.journal().head()), (None, 1));
    stop.cancel();
    running.ended().await;
    answered.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_is_kept_and_everything_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (answered, source, metrics) = (Answered::at(directory.path()).await, Batches::default(), Metrics::default());
    // Two events to the second may be two that look alike; two to the last digit of it are one.
    let (whole, exact) = (user("ann", "hi").replace("1.5", "1.0"), user("ann", "hi"));
    source.push([&whole, &whole, &whole, &exact, &exact].map(|body| received(None, body)).into());
    source.push(vec![received(Some("6"), "no event")]);
    let (running, stop) = start_counted(&answered, &source, &metrics);
    eventually(async || source.settled() == 6).await;
    let mut registry = Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for (name, value) in [
        ("received_events_total", 6),
        ("appended_events_total", 4),
        ("duplicate_events_total", 1),
        ("rejected_events_total", 1),
        ("connected", 1),
    ] {
        assert!(text.contains(&format!("source_{name}{{source=\"log\"}} {value}\n")), "{name}: {text}");
    }
    stop.cancel();
    running.ended().await;
    answered.stop().await;
    let kept = std::fs::read_dir(directory.path().join("rejected")).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(kept.contains("no event") && kept.contains("a batch"), "{kept}");
}
