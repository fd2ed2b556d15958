//! What retention removes, and what it keeps.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tempfile::TempDir;
use trunkline_journal::{Append, By, Options, Progress, Retention, Status};

use super::common::{Opened, event, eventually, known, many, several, standing_clock};

#[tokio::test(flavor = "multi_thread")]
async fn retention_by_age_stops_at_the_slowest_active_subscription() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let retention = Retention { max_age: Some(Duration::from_mins(1)), ..Retention::default() };
    let opened = Opened::with(directory.path(), Options { clock, retention, ..Options::default() });
    let journal = &opened.journal;
    for number in 0..100 {
        opened.append(Append::one(event("a", number))).await;
    }
    journal.save_progress("slow", Progress::at(41)).await.unwrap();
    journal.save_progress("gone", Progress::at(11)).await.unwrap();
    journal.keep_active(vec!["slow".to_owned()]).await.unwrap();
    millis.fetch_add(120_000, Ordering::Relaxed);
    opened.append(Append::one(event("a", 100))).await;
    eventually(async || journal.stats().await.unwrap().first == 41).await;
    journal.save_progress("slow", Progress::at(102)).await.unwrap();
    eventually(async || journal.stats().await.unwrap().first == 101).await;
    millis.fetch_add(120_000, Ordering::Relaxed);
    eventually(async || journal.stats().await.unwrap().first == 102).await;
    opened.close().await;
    // Offsets go on although no record is left to tell them.
    let opened = Opened::at(directory.path());
    assert_eq!(opened.append(Append::one(event("a", 0))).await.first, 102);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_hides_nothing_that_is_left() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let retention = Retention { max_age: Some(Duration::from_mins(1)), ..Retention::default() };
    let options = Options { clock, retention, deduplication_window: Duration::from_hours(1), ..Options::default() };
    let opened = Opened::with(directory.path(), options);
    for number in 0..100 {
        opened.append(known("a", number, &format!("id-{number}"))).await;
    }
    millis.fetch_add(120_000, Ordering::Relaxed);
    opened.append(known("a", 100, "id-100")).await;
    eventually(async || opened.journal.stats().await.unwrap().first == 101).await;
    // The index still lists them.
    let page = opened.journal.read_by(By::Conversation("a"), 1, many(10)).await.unwrap();
    assert_eq!((page.events.len(), page.events[0].offset, page.next), (1, 101, 102));
    let mut before = 1000;
    let mut found = Vec::new();
    while before > 0 {
        let page = opened.journal.conversation_back("a", before, many(10)).await.unwrap();
        found.extend(page.events.iter().map(|event| event.offset));
        before = page.next;
    }
    assert_eq!(found, [101]);
    assert_eq!(opened.journal.find("a", "id-50").await.unwrap(), None);
    assert!(!opened.append(known("a", 50, "id-50")).await.duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_full_of_undelivered_events_refuses_more_until_they_are_delivered() {
    let directory = TempDir::new().unwrap();
    let retention = Retention { max_bytes: 400_000, ..Retention::default() };
    let opened = Opened::with(directory.path(), Options { retention, ..Options::default() });
    let journal = &opened.journal;
    journal.save_progress("dead", Progress::at(1)).await.unwrap();
    let mut appended = 0;
    eventually(async || match opened.try_append(several("a", 200)).await {
        Ok(_) => {
            appended += 200;
            false
        }
        Err(error) => error.reason.contains("`dead`") && !error.maybe_recorded,
    })
    .await;
    assert!(matches!(journal.status(), Status::Unavailable(_)));
    assert_eq!(journal.head(), appended);
    assert_eq!(opened.bodies().await.len() as u64, appended);
    journal.save_progress("dead", Progress::at(appended + 1)).await.unwrap();
    eventually(async || journal.status() == Status::Available).await;
    opened.append(several("a", 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_past_a_subscription_only_when_told_to() {
    let directory = TempDir::new().unwrap();
    let (clock, millis) = standing_clock();
    let retention = Retention { max_age: Some(Duration::from_mins(1)), past_subscriptions: true, ..Retention::default() };
    let opened = Opened::with(directory.path(), Options { clock, retention, ..Options::default() });
    opened.append(several("a", 10)).await;
    opened.journal.save_progress("slow", Progress::at(1)).await.unwrap();
    millis.fetch_add(120_000, Ordering::Relaxed);
    eventually(async || opened.journal.stats().await.unwrap().first == 11).await;
    let mut registry = prometheus_client::registry::Registry::default();
    opened.journal.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("journal_removed_undelivered_events_total 10"), "{text}");
}
